"""The index: where chunks and segments lie. Only a cache: lost, stale or lying it causes work, never loss.

RocksDB in H/index, raw keys and values (little endian):
```
b"c" || chunk id (32)      -> segment name (20), place in its table u32, depth of its frame u8
b"s" || segment name (20)  -> pack id (16), offset u64, length u32, length of its sealed table u32
b"p" || pack id (16)       -> number of segments u32      (this pack's rows are complete)
b"v"                       -> format version u8
b"x"                       -> present once a look-up failed: the next owner starts with an empty index
```
Pages are found like chunks. Every hit is confirmed against the segment's sealed table before it is believed
(siteagent.store.reader); a pack whose `p` row is missing is read again from its trailer and tables.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from collections.abc import Iterable, Iterator

from msgspec import Struct
from rocksdict import BlockBasedOptions, DBCompressionType, Options, Rdict, WriteBatch

from shared.errors import ExhaustedError
from siteagent.store.names import NAME_BYTES, SegmentName
from siteagent.store.pack import Row

FOLDER = "index"
_VERSION = b"\x01"
_PLACE = struct.Struct("<20sIB")
_SPOT = struct.Struct("<16sQII")
_COUNT = struct.Struct("<I")
_WRITE_BUFFER_BYTES = 8 << 20
_NO_SPACE = "No space left"


class Place(Struct, frozen=True):
    """Where a chunk is said to lie."""

    segment: SegmentName
    place: int
    depth: int


class Spot(Struct, frozen=True):
    """Where a segment is said to lie."""

    pack_id: bytes
    offset: int
    length: int
    table_length: int


_TEMPLATE = os.path.join(os.path.dirname(__file__), "rocksdb")
"""Keeps the name of this machine out of every table: RocksDB takes that option from a file only."""


def _opened(folder: str) -> Rdict:
    rows = Rdict(folder, _options())
    # Its own log tells the machine's name and the home's path to whoever gets hold of the disk, and nobody reads it.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, "LOG"))
    return rows


def _options() -> Options:
    options = Options.load_latest(_TEMPLATE, ignore_unknown_options=True)[0]
    options.create_if_missing(True)
    options.set_paranoid_checks(True)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(1)
    options.set_max_open_files(128)
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options


class Index:
    """The open index of one home.

    RocksDB raises bare `Exception` for every kind of damage; here that means: nothing is known. `is_broken` is then
    set, look-ups find nothing, and the next owner starts with an empty index.
    """

    def __init__(self, folder: str) -> None:
        """Open or make the index; one that cannot be opened or has another version is thrown away."""
        self._folder = folder
        self.is_broken = False
        self._rows: Rdict | None = None
        try:
            self._rows = _opened(folder)
            is_usable = self._rows.get(b"v", _VERSION) == _VERSION and self._rows.get(b"x") is None
        except Exception as error:
            if _NO_SPACE in str(error):
                raise _exhausted(folder) from error
            is_usable = False
        if is_usable and self._rows is not None:
            self._rows.put(b"v", _VERSION)
        else:
            self.reset()

    def reset(self) -> None:
        """Throw all rows away and start empty."""
        with contextlib.suppress(Exception):
            self._release()
        shutil.rmtree(self._folder, ignore_errors=True)
        if os.path.lexists(self._folder) and not os.path.isdir(self._folder):
            os.unlink(self._folder)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        try:
            self._rows = _opened(self._folder)
            self._rows.put(b"v", _VERSION)
        except Exception as error:
            if _NO_SPACE in str(error):
                raise _exhausted(self._folder) from error
            raise
        self.is_broken = False

    def _get(self, key: bytes, size_bytes: int) -> bytes | None:
        try:
            row = self._rows.get(key) if self._rows is not None else None
        except Exception:
            self._give_up()
            return None
        return row if isinstance(row, bytes) and len(row) == size_bytes else None

    def _give_up(self) -> None:
        self.is_broken = True
        with contextlib.suppress(Exception):
            if self._rows is not None:
                self._rows.put(b"x", b"broken")

    def find(self, chunk_id: bytes) -> Place | None:
        """Where a chunk is said to lie, or None."""
        row = self._get(b"c" + chunk_id, _PLACE.size)
        return Place(*_PLACE.unpack(row)) if row is not None else None

    def spot(self, segment: SegmentName) -> Spot | None:
        """Where a segment is said to lie, or None."""
        row = self._get(b"s" + segment, _SPOT.size)
        return Spot(*_SPOT.unpack(row)) if row is not None else None

    def is_empty(self) -> bool:
        """True when no chunk has a row."""
        return next(self._keys(b"c"), None) is None

    def packs(self) -> set[bytes]:
        """Ids of the packs whose rows are complete."""
        return {key[1:] for key in self._keys(b"p")}

    def segments(self) -> Iterator[SegmentName]:
        """Names of all segments with a row, in order."""
        return (key[1:] for key in self._keys(b"s") if len(key) == 1 + NAME_BYTES)

    def _keys(self, prefix: bytes) -> Iterator[bytes]:
        try:
            if self._rows is not None:
                yield from _with_prefix(self._rows, prefix)
        except Exception:
            self._give_up()

    def add_pack(self, pack_id: bytes, rows: list[Row], chunks: Iterable[tuple[SegmentName, bytes, list[int]]]) -> None:
        """Add a pack's rows: its segments, and per segment the joined chunk ids and the depth of each chunk.

        The row that says a pack is complete is written last; a pack without it is read again by the next owner.
        """
        try:
            for name, ids, depths in chunks:
                batch = WriteBatch(raw_mode=True)
                for place, depth in enumerate(depths):
                    batch.put(b"c" + ids[place * 32 : place * 32 + 32], _PLACE.pack(name, place, depth))
                self._write(batch)
            batch = WriteBatch(raw_mode=True)
            for row in rows:
                batch.put(b"s" + row.name, _SPOT.pack(pack_id, row.offset, row.length, row.table_length))
            batch.put(b"p" + pack_id, _COUNT.pack(len(rows)))
            self._write(batch)
        except Exception:
            self._give_up()

    def _write(self, batch: WriteBatch) -> None:
        if self._rows is not None:
            self._rows.write(batch)

    def move(self, spots: dict[SegmentName, Spot]) -> None:
        """Note where segments lie now."""
        batch = WriteBatch(raw_mode=True)
        for name, spot in spots.items():
            batch.put(b"s" + name, _SPOT.pack(spot.pack_id, spot.offset, spot.length, spot.table_length))
        try:
            self._write(batch)
        except Exception:
            self._give_up()

    def drop_segments(self, names: Iterable[SegmentName]) -> None:
        """Forget where segments lie (their chunk rows are refused when a hit is confirmed)."""
        batch = WriteBatch(raw_mode=True)
        for name in names:
            batch.delete(b"s" + name)
        try:
            self._write(batch)
        except Exception:
            self._give_up()

    def drop_pack(self, pack_id: bytes) -> None:
        """Forget that a pack's rows are complete (its chunk rows are refused when a hit is confirmed)."""
        with contextlib.suppress(Exception):
            if self._rows is not None:
                self._rows.delete(b"p" + pack_id)

    def close(self) -> None:
        """Close the database; what cannot even be closed is thrown away, for nothing rests on it."""
        try:
            self._release()
        except Exception:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _release(self) -> None:
        rows, self._rows = self._rows, None
        if rows is not None:
            rows.close()


def _exhausted(folder: str) -> ExhaustedError:
    return ExhaustedError("no space left for the index", subject=folder,
                          next_step="free space on the disk of the home, then run the command again")


def _with_prefix(rows: Rdict, prefix: bytes) -> Iterator[bytes]:
    for key in rows.keys(from_key=prefix):
        if not isinstance(key, bytes) or key[:1] != prefix:
            return
        yield key
