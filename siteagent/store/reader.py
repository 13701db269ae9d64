"""Reading segments back: located by the index, checked against their seals, cached while they are near."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from shared.codec import decompress_head
from shared.epochkeys import EpochKeys
from shared.errors import FarkeepError, HostileError
from siteagent.store.delta import Base, decode_base, dictionary_of, expand_delta
from siteagent.store.frame import ZSTD, ZSTD_DELTA
from siteagent.store.index import Spot
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.opened import OpenSegment, OpenTable, missing
from siteagent.store.packs import Packs
from siteagent.store.segment import HEADER_BYTES, Header, open_segment, open_table, parse_header
from siteagent.store.successors import Successors
from siteagent.store.table import Frame, Table, decode_table

_Read = TypeVar("_Read")
_TABLES_MAX = 512
_FRAMES_MAX_BYTES = 16 << 20
_WORTH_CUTTING = 0.8
_CLOSURES_MAX = 1 << 14
_SEVERAL_MAX = 12


class Keys(Protocol):
    """What the store asks of a keyring for reading."""

    def epoch(self, number: int) -> EpochKeys:
        """The keys of one key epoch."""


class Locator(Protocol):
    """Who knows where segments lie: the index, or a table made from it."""

    def spot(self, segment: SegmentName) -> Spot | None:
        """Where a segment is said to lie, or None."""


def _too_deep(segment: SegmentName) -> HostileError:
    return HostileError("a delta frame rests on one that is no shallower", subject=shown_segment(segment),
                        next_step="do not trust this pack; restore it from a partner")


class SegmentReader:
    """Reads segments of one home; safe for several threads."""

    def __init__(self, packs: Packs, index: Locator, keys: Keys, successors: Successors | None = None) -> None:
        self._packs, self._index, self._keys = packs, index, keys
        self.successors = successors or Successors()
        self._tables: OrderedDict[SegmentName, OpenTable] = OrderedDict()
        self._frames: OrderedDict[tuple[SegmentName, int], bytes | memoryview] = OrderedDict()
        self._frames_bytes = 0
        self._closures: dict[tuple[SegmentName, int], frozenset[SegmentName]] = {}
        self._newest: OpenSegment | None = None
        self._several: OrderedDict[SegmentName, OpenSegment] = OrderedDict()
        self._lock, self._mending = threading.Lock(), threading.Lock()
        self.mend_index: Callable[[], object] | None = None
        """Corrects the index by the packs; called once, when a segment is not where the index says."""
        self.damaged: set[SegmentName] = set()
        """Segments that did not read in this process: nothing new may rest on them."""
        self.bytes_read = 0

    def spot(self, name: SegmentName) -> Spot:
        """Where a segment lies; raises DamagedError when the index knows no such segment."""
        spot = self._index.spot(name)
        if spot is None:
            raise missing(name)
        return spot

    def table(self, name: SegmentName) -> OpenTable:
        """A segment's header and table, checked; from the cache when it is there."""
        with self._lock:
            known = self._tables.get(name)
            if known is not None:
                self._tables.move_to_end(name)
                return known
        with self._noting(name):
            opened = self._sought(name, self._table_there)
        self._remember(opened)
        return opened

    def _sought(self, name: SegmentName, read: Callable[[SegmentName], _Read]) -> _Read:
        """Read where the index says; when that fails, again after the index was corrected."""
        try:
            return read(name)
        except FarkeepError:
            with self._mending:
                mend, self.mend_index = self.mend_index, None
                if mend is not None:
                    mend()
            return read(name)

    def _table_there(self, name: SegmentName) -> OpenTable:
        spot = self.spot(name)
        data = self._packs.open(spot.pack_id).read_at(spot.offset, HEADER_BYTES + spot.table_length)
        self.bytes_read += len(data)
        header = self._header(data, name)
        sealed = data[HEADER_BYTES : HEADER_BYTES + header.table_length]
        return OpenTable(header, decode_table(open_table(header, sealed, self._keys.epoch(header.key_epoch))))

    @contextmanager
    def _noting(self, name: SegmentName) -> Iterator[None]:
        try:
            yield
        except FarkeepError:
            self.damaged.add(name)
            raise

    def _header(self, data: bytes, name: SegmentName) -> Header:
        header = parse_header(data, shown_segment(name))
        if header.name != name:
            raise missing(name, "another segment lies where this one should be")
        return header

    def _remember(self, opened: OpenTable) -> None:
        with self._lock:
            self._tables[opened.header.name] = opened
            if len(self._tables) > _TABLES_MAX:
                self._tables.popitem(last=False)

    def open_whole(self, name: SegmentName) -> OpenTable:
        """The table of a segment of which most is wanted: it is read as one, for the calls of `frame` that follow."""
        with self._lock:
            known = self._tables.get(name)
            if known is not None and (name, 0) in self._frames:
                return known
        opened = self._newest = self.segment(name)
        self._remember(opened.head)
        return opened.head

    def segment(self, name: SegmentName) -> OpenSegment:
        """A whole segment, both seals opened and t compared."""
        with self._noting(name):
            return self._open_segment(name)

    def _open_segment(self, name: SegmentName) -> OpenSegment:
        return self._sought(name, self._segment_there)

    def _segment_there(self, name: SegmentName) -> OpenSegment:
        spot = self.spot(name)
        data = self._packs.open(spot.pack_id).read_at(spot.offset, spot.length)
        self.bytes_read += len(data)
        header = self._header(data, name)
        if header.length != len(data):
            raise missing(name, "a segment has another length than the index says")
        sealed = memoryview(data)[HEADER_BYTES:]
        table, body = open_segment(header, sealed, self._keys.epoch(header.key_epoch))
        return OpenSegment(OpenTable(header, decode_table(table)), body)

    def chunk(self, name: SegmentName, chunk_id: bytes) -> memoryview:
        """One chunk's plaintext; raises DamagedError when the segment does not hold it.

        The seal and t prove the bytes; ids are re-hashed by `verify --read-data`.
        """
        return self._placed_chunk(*self.locate(name, chunk_id))

    def _placed_chunk(self, opened: OpenTable, place: int) -> memoryview:
        plain = self.frame(opened.header.name, opened.table.chunk_frames[place])
        offset = opened.offsets[place]
        return memoryview(plain)[offset : offset + opened.table.lengths[place]]

    def locate(self, name: SegmentName, chunk_id: bytes) -> tuple[OpenTable, int]:
        """The table that holds a chunk of a segment, and its place there: the segment's own or that of a successor.

        Raises DamagedError when it is in none of them, or else what is wrong with those that do not read.
        """
        failure: FarkeepError | None = None
        instead = self.successors.of(name)
        for holder in (name,) if instead is None else instead:
            try:
                opened = self.table(holder)
            except FarkeepError as error:
                failure = error
                continue
            if (place := opened.places.get(chunk_id)) is not None:
                return opened, place
        raise failure or missing(name, "a chunk is not in the segment that should hold it")

    def frame(self, name: SegmentName, number: int) -> bytes | memoryview:
        """The plaintext of one frame, from the cache when it is there; raises DamagedError or HostileError."""
        with self._lock:
            newest = self._newest
            known = self._frames.get((name, number))
            if known is not None:
                self._frames.move_to_end((name, number))
                return known
        with self._noting(name):
            is_newest = newest is not None and newest.head.header.name == name
            opened = newest if newest is not None and is_newest else self._opened(name)
            plain = self.expand(opened, number)
        self._keep(name, number, plain)
        return plain

    def _opened(self, name: SegmentName) -> OpenSegment:
        """A whole segment; one of several frames (deltas are such) stays at hand for the next of them."""
        with self._lock:
            known = self._several.get(name)
        if known is None:
            known = self._open_segment(name)
            if len(known.head.table.frames) > 1:
                with self._lock:
                    self._several[name] = known
                    if len(self._several) > _SEVERAL_MAX:
                        self._several.popitem(last=False)
        return known

    def _keep(self, name: SegmentName, number: int, plain: bytes | memoryview) -> None:
        with self._lock:
            if (name, number) not in self._frames:
                self._frames[name, number] = plain
                self._frames_bytes += len(plain)
            while self._frames_bytes > _FRAMES_MAX_BYTES and len(self._frames) > 1:
                self._frames_bytes -= len(self._frames.popitem(last=False)[1])

    def expand(self, opened: OpenSegment, number: int) -> bytes | memoryview:
        """The plaintext of one frame of an opened segment, through its bases when it has some.

        Raises DamagedError or HostileError.
        """
        table = opened.head.table
        row = table.frames[number]
        if row.codec != ZSTD_DELTA:
            return opened.frame(number)
        base = decode_base(row.bases, table.bases, row.depth)
        dictionary = dictionary_of(base, self.base_plains(base))
        return expand_delta(opened.stored(number), row.plain_bytes, dictionary, shown_segment(opened.head.header.name))

    def base_plains(self, base: Base) -> list[memoryview]:
        """The plaintexts of a base's chunks, in order, those that lie side by side in one piece.

        Raises DamagedError, HostileError when the base is deeper than it says.
        """
        found = []
        for chunk in base.chunks:
            opened, place = self.locate(chunk.segment, chunk.chunk_id)
            if opened.table.frames[opened.table.chunk_frames[place]].depth > base.depth:
                raise _too_deep(chunk.segment)
            found.append((opened, place))
        if len(found) == 1:
            return [self._lone_chunk(*found[0])]
        return list(self._joined(found))

    def _joined(self, found: list[tuple[OpenTable, int]]) -> Iterator[memoryview]:
        """A run was mostly written as one frame: its chunks are one stretch of it, which nobody has to copy."""
        at = 0
        while at < len(found):
            opened, place = found[at]
            number, count = opened.table.chunk_frames[place], 1
            for following, next_place in found[at + 1 :]:
                if (following is not opened or next_place != place + count
                        or opened.table.chunk_frames[next_place] != number):  # fmt: skip
                    break
                count += 1
            plain, start = self.frame(opened.header.name, number), opened.offsets[place]
            size_bytes = sum(opened.table.lengths[place : place + count])
            yield memoryview(plain)[start : start + size_bytes]
            at += count

    def _lone_chunk(self, opened: OpenTable, place: int) -> memoryview:
        """One chunk of a frame of which nothing else is wanted: what lies behind it is not decompressed."""
        name, number, start = opened.header.name, opened.table.chunk_frames[place], opened.offsets[place]
        row, stop = opened.table.frames[number], start + opened.table.lengths[place]
        if row.codec != ZSTD or stop > row.plain_bytes * _WORTH_CUTTING or (name, number) in self._frames:
            return self._placed_chunk(opened, place)
        stored = self.segment(name).stored(number)
        return memoryview(decompress_head(stored, row.plain_bytes, stop, subject=shown_segment(name)))[start:]

    def depth(self, name: SegmentName, chunk_id: bytes) -> int:
        """How many deltas lie below a chunk; raises DamagedError."""
        return self._frame_row(name, chunk_id)[1].depth

    def base_of(self, name: SegmentName, chunk_id: bytes) -> Base | None:
        """What the frame of a chunk rests on, None for a plain one; raises DamagedError."""
        opened, row = self._frame_row(name, chunk_id)
        return decode_base(row.bases, opened.table.bases, row.depth) if row.codec == ZSTD_DELTA else None

    def _frame_row(self, name: SegmentName, chunk_id: bytes) -> tuple[OpenTable, Frame]:
        opened, place = self.locate(name, chunk_id)
        return opened, opened.table.frames[opened.table.chunk_frames[place]]

    def frame_closure(self, name: SegmentName, chunk_id: bytes) -> frozenset[SegmentName]:
        """What a chunk rests on, closed; empty for a plain one. Raises DamagedError, HostileError for a circle."""
        if self.successors.of(name) is None and not self.table(name).table.closure:
            return frozenset()
        opened, place = self.locate(name, chunk_id)
        number = opened.table.chunk_frames[place]
        known = self._closures.get((opened.header.name, number))
        if known is None:
            known = self._frame_closure(opened.table, opened.table.frames[number])
            if len(self._closures) >= _CLOSURES_MAX:
                self._closures.clear()
            self._closures[opened.header.name, number] = known
        return known

    def _frame_closure(self, table: Table, row: Frame) -> frozenset[SegmentName]:
        if row.codec != ZSTD_DELTA:
            return frozenset()
        base, needed = decode_base(row.bases, table.bases, row.depth), set[SegmentName]()
        for chunk in base.chunks:
            if self.depth(chunk.segment, chunk.chunk_id) > base.depth:
                raise _too_deep(chunk.segment)
            needed |= {chunk.segment, *self.frame_closure(chunk.segment, chunk.chunk_id)}
        return frozenset(needed)

    def closure(self, name: SegmentName) -> tuple[SegmentName, ...]:
        """The segments that the delta frames of a segment or its successors rest on, closed; empty for most.

        Raises DamagedError.
        """
        instead = self.successors.of(name)
        if instead is None:
            return self.table(name).table.closure
        return tuple({below for holder in instead for below in self.table(holder).table.closure})

    def side(self, name: SegmentName, page_id: bytes) -> bytes:
        """The side record of a page (siteagent.store.page)."""
        opened, place = self.locate(name, page_id)
        if place >= len(opened.table.sides):
            raise missing(name, "a page is not in the segment that should hold it")
        return opened.table.sides[place]
