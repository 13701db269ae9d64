"""Changes: what facts say of superseded and swept segments, repeated beside the packs, so a lost log can be made again.

Without it a log that was lost would leave names in reaches that nothing leads on from, and swept snapshots would look
lost. Files H/changes/<numbers of rows up to and including this file, four of 8 hex digits, joined by dashes>, each with
the rows since the one before it, or since an earlier one that this stands in for: where it begins follows from how many
rows it has. A file is written after the facts and before anything is removed because of them; it takes in the files
before it that are no more than twice as large, and these go once it is durable.
```
offset size
0      4     magic "FKch"
4      1     format version, 1
5      3     reserved, 0
8      16    site
24     4     key epoch (little endian)
28     ...   MessagePack of `Changes`
last 32      keyed BLAKE3 of everything before; key = BLAKE3 derive-key "farkeep 2026 changes v1" of the manifest key
```
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from blake3 import blake3
from msgspec import Struct, field

from shared.codec import decode, encode
from shared.errors import DamagedError, NewerFormatError
from shared.sealing import derive
from siteagent.disk.disk import Disk
from siteagent.disk.durable import read_whole, remove_quietly, write_durably
from siteagent.store.reader import Keys

FOLDER = "changes"
MAGIC, VERSION = b"FKch", 1
BYTES_MAX = 256 << 20
_HEAD = struct.Struct("<4sB3s16sI")
_TAG_BYTES = 32
_CONTEXT = "farkeep 2026 changes v1"
_FIELDS, _ASIDE = 4, ".aside"
_TAKEN_IN = 2


class Changes(Struct, forbid_unknown_fields=True):
    """(new, old) sets of superseding, sets of swept segments (both siteagent.store.nameruns.pack_names), swept
    snapshots, and packs that were given up: each in the order of the log."""

    superseded: list[tuple[bytes, bytes]] = field(default_factory=list)
    segments: list[bytes] = field(default_factory=list)
    snapshots: list[bytes] = field(default_factory=list)
    packs: list[bytes] = field(default_factory=list)

    def counts(self) -> tuple[int, int, int, int]:
        """How many rows of each kind."""
        return len(self.superseded), len(self.segments), len(self.snapshots), len(self.packs)

    def since(self, counts: tuple[int, ...]) -> Changes:
        """The rows after these."""
        return Changes(self.superseded[counts[0] :], self.segments[counts[1] :], self.snapshots[counts[2] :],
                       self.packs[counts[3] :])  # fmt: skip

    def until(self, counts: tuple[int, ...]) -> Changes:
        """The rows up to these."""
        return Changes(self.superseded[: counts[0]], self.segments[: counts[1]], self.snapshots[: counts[2]],
                       self.packs[: counts[3]])  # fmt: skip

    def add(self, other: Changes) -> None:
        """Append another's rows."""
        self.superseded += other.superseded
        self.segments += other.segments
        self.snapshots += other.snapshots
        self.packs += other.packs


class ChangeFiles:
    """The changes of one home."""

    def __init__(self, disk: Disk, keys: Keys, site: bytes) -> None:
        self._disk, self._keys, self._site = disk, keys, site

    def written(self) -> tuple[int, ...]:
        """How many rows of each kind are in files."""
        return max(self._names(), default=(0,) * _FIELDS)

    def write(self, changes: Changes, key_epoch: int) -> None:
        """Write what is not in a file yet; it is durable when this returns."""
        if (counts := changes.counts()) == self.written():
            return
        if not self._disk.list(FOLDER):
            self._disk.make_folder(FOLDER)
            self._disk.sync_folder("")
        kept, merged = _split(sorted(self._names()), counts)
        body = _HEAD.pack(MAGIC, VERSION, bytes(3), self._site, key_epoch) + encode(changes.since(kept))
        write_durably(self._disk, _path(counts), body + self._tag(body, key_epoch))
        for other in merged:
            remove_quietly(self._disk, _path(other))

    def replace(self, changes: Changes, key_epoch: int) -> None:
        """Write one file with all changes, after setting those aside that say something else."""
        if changes.counts() == self.written():
            return
        for counts in list(self._names()):
            self._disk.rename(_path(counts), _path(counts) + _ASIDE)
        self.write(changes, key_epoch)

    def read(self) -> Changes:
        """All changes; raises DamagedError or HostileError when a file does not read."""
        found = Changes()
        for counts in sorted(self._names()):
            rows, have = self._read(_path(counts)), found.counts()
            known = tuple(had - (stop - count) for had, stop, count in zip(have, counts, rows.counts(), strict=True))
            if min(known) < 0:
                raise _damaged(_path(counts), "files of changes are missing before this one")
            found.add(rows.since(known))
        return found

    def _read(self, path: str) -> Changes:
        data = read_whole(self._disk, path, limit_bytes=BYTES_MAX)
        if len(data) < _HEAD.size + _TAG_BYTES or data[:4] != MAGIC:
            raise _damaged(path)
        _, version, _, site, key_epoch = _HEAD.unpack(data[: _HEAD.size])
        if version > VERSION:
            raise NewerFormatError(f"a file of changes has format {version}, newer than this version knows",
                                   subject=path, next_step="update Farkeep on this machine")
        if site != self._site or self._tag(data[:-_TAG_BYTES], key_epoch) != data[-_TAG_BYTES:]:
            raise _damaged(path)
        return decode(data[_HEAD.size : -_TAG_BYTES], Changes, limit_bytes=BYTES_MAX, subject=path)

    def _tag(self, body: bytes, key_epoch: int) -> bytes:
        return blake3(body, key=derive(_CONTEXT, self._keys.epoch(key_epoch).manifest_key)).digest()

    def _names(self) -> Iterator[tuple[int, ...]]:
        for name in self._disk.list(FOLDER):
            parts = name.split("-")
            if len(parts) == _FIELDS and all(len(part) == 8 and set(part) <= set("0123456789abcdef") for part in parts):
                yield tuple(int(part, 16) for part in parts)


def _path(counts: tuple[int, ...]) -> str:
    return f"{FOLDER}/" + "-".join(f"{count:08x}" for count in counts)


def _split(files: list[tuple[int, ...]], counts: tuple[int, ...]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """(rows that stay in earlier files, files that a new one up to `counts` takes in)."""
    stops, first = [(0,) * _FIELDS, *files], len(files)
    while first and sum(stops[first]) - sum(stops[first - 1]) <= _TAKEN_IN * (sum(counts) - sum(stops[first])):
        first -= 1
    return stops[first], files[first:]


def _damaged(path: str, what: str = "a file of changes is not what was written") -> DamagedError:
    return DamagedError(what, subject=path,
                        next_step="restore this file from a copy or a partner")
