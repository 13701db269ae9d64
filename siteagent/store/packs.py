"""Where packs are kept: one seam (put, get a range, list, delete, punch); an object store would be a sibling.

A pack under construction has another name (`.part`) than a finished one, so whatever lists as a pack was completed
and synced.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from shared.errors import DamagedError, FarkeepError
from siteagent.disk.disk import Buffer, Disk, FileReader, FileWriter

FOLDER = "packs"
_SUFFIX, _PART, _ASIDE = ".pack", ".part", ".aside"
_OPEN_MAX = 64
_PROBE_BYTES = 1 << 16


class PackSink(Protocol):
    """A pack being written."""

    def append(self, buffers: Sequence[Buffer]) -> int:
        """Write at the end; return the offset."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Read back what was appended."""

    def finish(self) -> None:
        """Make the pack durable and give it its name."""

    def discard(self) -> None:
        """Give the pack up."""


class Packs(Protocol):
    """The storage of packs."""

    def begin(self, pack_id: bytes) -> PackSink:
        """Start a pack."""

    def open(self, pack_id: bytes) -> FileReader:
        """Open a finished pack for reading ranges; raises DamagedError when it is not there."""

    def finished(self) -> list[bytes]:
        """Ids of the finished packs, sorted."""

    def size(self, pack_id: bytes) -> int | None:
        """Length of a finished pack in bytes, or None."""

    def unfinished(self) -> list[bytes]:
        """Ids of packs that were begun and neither finished nor removed."""

    def settle(self) -> None:
        """Make the names of all finished packs durable: a run that was cut off may not have come to that."""

    def delete(self, pack_id: bytes) -> None:
        """Remove a pack, finished or not; harmless when it is not there."""

    def allocated(self, pack_id: bytes) -> int:
        """Bytes that a finished pack takes where it is kept; 0 when it is not there."""

    def set_aside(self, pack_id: bytes) -> str:
        """Give a finished pack a name that stands for no pack; returns where it is then."""

    def can_punch(self, probe_id: bytes) -> bool:
        """True when ranges of packs can be given back; `probe_id`: an id that no pack has."""

    def punch(self, pack_id: bytes, offset: int, length: int) -> bool:
        """Give the bytes of a range back; False where that is not possible."""


class FolderSink:
    """A pack being written into a folder."""

    def __init__(self, disk: Disk, pack_id: bytes) -> None:
        self._disk, self._name = disk, f"{FOLDER}/{pack_id.hex()}"
        self._writer: FileWriter = disk.create(self._name + _PART)

    def append(self, buffers: Sequence[Buffer]) -> int:
        """Write at the end; return the offset."""
        return self._writer.append(buffers)

    def read_at(self, offset: int, length: int) -> bytes:
        """Read back what was appended."""
        return self._writer.read_at(offset, length)

    def finish(self) -> None:
        """Sync the content, give the pack its name, sync the name."""
        self._writer.sync()
        self._writer.close()
        self._disk.rename(self._name + _PART, self._name + _SUFFIX)
        try:
            self._disk.sync_folder(FOLDER)
        except FarkeepError:
            # A sync that failed may succeed when it is repeated, with nothing kept: nobody may rest on this pack.
            self._disk.remove(self._name + _SUFFIX)
            raise

    def discard(self) -> None:
        """Close and remove the unfinished file."""
        self._writer.close()
        if self._disk.size(self._name + _PART) is not None:
            self._disk.remove(self._name + _PART)


class FolderPacks:
    """Packs as files of one folder of the home. Open files are kept, the least recently used are closed first."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._open: OrderedDict[bytes, FileReader] = OrderedDict()
        self._lock = threading.Lock()
        self._can_punch: bool | None = None

    def begin(self, pack_id: bytes) -> FolderSink:
        """Start a pack."""
        return FolderSink(self._disk, pack_id)

    def open(self, pack_id: bytes) -> FileReader:
        """Open a finished pack, or hand out the one that is open."""
        with self._lock:
            reader = self._open.get(pack_id)
            if reader is None:
                reader = self._open[pack_id] = self._open_new(pack_id)
                if len(self._open) > _OPEN_MAX:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(pack_id)
            return reader

    def _open_new(self, pack_id: bytes) -> FileReader:
        try:
            return self._disk.open(_path(pack_id))
        except FileNotFoundError:
            raise DamagedError("a pack is missing", subject=_path(pack_id),
                               next_step="run `farkeep verify`; put the pack back from a copy or a partner") from None
        except OSError as error:
            raise DamagedError(f"a pack cannot be opened: {error.strerror}", subject=_path(pack_id),
                               next_step="check the disk and the rights of this user") from error

    def finished(self) -> list[bytes]:
        """Ids of the finished packs."""
        return _ids(self._disk.list(FOLDER), _SUFFIX)

    def size(self, pack_id: bytes) -> int | None:
        """Length of a finished pack."""
        return self._disk.size(_path(pack_id))

    def unfinished(self) -> list[bytes]:
        """Ids of packs that were begun only."""
        return _ids(self._disk.list(FOLDER), _PART)

    def settle(self) -> None:
        """Sync the names of the finished packs; their content was synced before they got them."""
        self._disk.sync_folder(FOLDER)

    def delete(self, pack_id: bytes) -> None:
        """Remove a pack, finished or not."""
        self._close(pack_id)
        for suffix in (_SUFFIX, _PART):
            path = f"{FOLDER}/{pack_id.hex()}{suffix}"
            if self._disk.size(path) is not None:
                self._disk.remove(path)

    def _close(self, pack_id: bytes) -> None:
        with self._lock:
            reader = self._open.pop(pack_id, None)
        if reader is not None:
            reader.close()

    def allocated(self, pack_id: bytes) -> int:
        """Bytes that a finished pack takes on the disk."""
        return self._disk.allocated(_path(pack_id))

    def set_aside(self, pack_id: bytes) -> str:
        """Rename a finished pack, durably."""
        self._close(pack_id)
        path = _path(pack_id)
        self._disk.rename(path, path + _ASIDE)
        self._disk.sync_folder(FOLDER)
        return path + _ASIDE

    def can_punch(self, probe_id: bytes) -> bool:
        """Try holes on a file of this id that is made and removed; what came out is remembered."""
        if self._can_punch is None:
            sink = self.begin(probe_id)
            try:
                sink.append([bytes(_PROBE_BYTES)])
                self._can_punch = self._disk.punch(f"{FOLDER}/{probe_id.hex()}{_PART}", 0, _PROBE_BYTES)
            finally:
                sink.discard()
        return self._can_punch

    def punch(self, pack_id: bytes, offset: int, length: int) -> bool:
        """Give the bytes of a range back."""
        return self._disk.punch(_path(pack_id), offset, length)

    def close(self) -> None:
        """Close all open packs."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def _path(pack_id: bytes) -> str:
    return f"{FOLDER}/{pack_id.hex()}{_SUFFIX}"


def _ids(names: list[str], suffix: str) -> list[bytes]:
    stems = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return [bytes.fromhex(stem) for stem in stems if len(stem) == 32 and set(stem) <= set("0123456789abcdef")]
