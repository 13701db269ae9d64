"""Appending sealed segments to packs from several threads; a full pack is finished while the next one fills."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from msgspec import Struct, field

from shared.errors import BugError, DamagedError, FarkeepError
from shared.facts import PackRef
from shared.randomness import Randomness
from siteagent.disk.disk import Buffer
from siteagent.store.index import Index
from siteagent.store.names import SegmentName
from siteagent.store.pack import (
    HEADER_BYTES,
    PACK_BYTES,
    Cited,
    PackHeader,
    Row,
    encode_trailer,
    pack_root,
    read_trailer,
)
from siteagent.store.packs import Packs, PackSink
from siteagent.store.segment import KIND_NAMES


class StoredSegment(Struct, frozen=True):
    """What the index wants to know of a segment: its joined chunk ids and the delta depth of each chunk."""

    name: SegmentName
    digest: bytes
    ids: bytes
    depths: list[int]


class OpenPack(Struct):
    """A pack being filled. One in which a write or a check failed is never finished: the job fails in that thread."""

    header: PackHeader
    sink: PackSink
    size_bytes: int = HEADER_BYTES
    users: int = 0
    is_sound: bool = True
    rows: list[Row] = field(default_factory=list)
    segments: list[StoredSegment] = field(default_factory=list)


class PackWriter:
    """Writes the packs of one kind for one run."""

    def __init__(self, packs: Packs, index: Index, site: bytes, kind: int, cited: Callable[[], Cited],
                 randomness: Randomness, pack_bytes: int = PACK_BYTES) -> None:
        self._packs, self._index, self._site, self._kind = packs, index, site, kind
        self._cited, self._randomness, self._pack_bytes = cited, randomness, pack_bytes
        self._current: OpenPack | None = None
        self._changed = threading.Condition()
        self._written: list[PackRef] = []
        self.stored_bytes = 0

    def add(self, segment: StoredSegment, parts: Sequence[Buffer], check: Callable[[bytes], None]) -> None:
        """Append a segment (header, table, body), read it back and hand that to `check`, which may raise."""
        length = sum(map(len, parts))
        with self._changed:
            pack = self._current or self._begin()
            try:
                offset = pack.sink.append(parts)
            except BaseException:
                pack.is_sound = False
                raise
            pack.users += 1
            pack.size_bytes += length
            pack.rows.append(Row(segment.name, offset, length, len(parts[1]), segment.digest))
            pack.segments.append(segment)
            is_full = pack.size_bytes >= self._pack_bytes
            if is_full:
                self._current = None
        failure = None
        try:
            check(pack.sink.read_at(offset, length))
        except BaseException as error:
            pack.is_sound, failure = False, error
        with self._changed:
            pack.users -= 1
            self._changed.notify_all()
        if is_full:
            self._finish(pack)
        if failure is not None:
            raise failure

    def _begin(self) -> OpenPack:
        header = PackHeader(self._kind, self._site, self._randomness.bits(16), self._cited())
        pack = OpenPack(header, self._packs.begin(header.pack_id))
        try:
            pack.sink.append([header.encode()])
        except BaseException:
            _discard(pack)
            raise
        self._current = pack
        return pack

    def _finish(self, pack: OpenPack) -> None:
        with self._changed:
            self._changed.wait_for(lambda: pack.users == 0)
        if not pack.is_sound:
            _discard(pack)
            return
        trailer = encode_trailer(pack.header, pack.rows)
        try:
            pack.sink.append([trailer])
            _check_trailer(pack, len(trailer))
            pack.sink.finish()
        except BaseException:
            _discard(pack)
            raise
        self._index.add_pack(
            pack.header.pack_id, pack.rows,
            ((segment.name, segment.ids, segment.depths) for segment in pack.segments),
        )  # fmt: skip
        size_bytes = pack.size_bytes + len(trailer)
        reference = PackRef(id=pack.header.pack_id, kind=KIND_NAMES[self._kind], size_bytes=size_bytes,
                            root=pack_root(pack.rows), segments=len(pack.rows))
        with self._changed:
            self._written.append(reference)
            self.stored_bytes += size_bytes

    def flush(self) -> None:
        """Finish the pack that is being filled; no other thread may be adding."""
        pack, self._current = self._current, None
        if pack is not None:
            if pack.users:
                raise BugError("a pack was flushed while it was being written")
            self._finish(pack)

    def take(self) -> list[PackRef]:
        """The packs finished since the last call."""
        with self._changed:
            taken, self._written = self._written, []
        return taken

    def discard(self) -> None:
        """Give up the pack that is being filled (the job failed)."""
        pack, self._current = self._current, None
        if pack is not None:
            _discard(pack)


class _Written(Struct):
    """A pack that was written and is not finished, readable like one."""

    sink: PackSink
    size_bytes: int

    def read_at(self, offset: int, length: int) -> bytes:
        """A range."""
        return self.sink.read_at(offset, length)


def _check_trailer(pack: OpenPack, trailer_bytes: int) -> None:
    """Read header and trailer back; raises DamagedError when they are not those of this pack."""
    subject = f"packs/{pack.header.pack_id.hex()}.pack"
    if read_trailer(_Written(pack.sink, pack.size_bytes + trailer_bytes), subject) != (pack.header, pack.rows):
        raise DamagedError("a pack's trailer is not what was to be written: memory or disk is at fault",
                           subject=subject, next_step="test this machine's memory, then back up again")


def _discard(pack: OpenPack) -> None:
    with contextlib.suppress(FarkeepError, FileNotFoundError):
        pack.sink.discard()
