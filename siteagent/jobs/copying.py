"""Copying what is used of segments into new ones: plain chunks, delta frames as they are, heavy ones made lighter.

A chunk never gets deeper by being copied: what rests on it says how deep it may be. A delta keeps the names of what it
rests on, for pages have these names in their own sets; only a frame that rests on something else from now on brings new
ones, which are recorded among those that supersede its segment.
"""

from __future__ import annotations

import zstandard
from msgspec import Struct, field

from shared.errors import DamagedError, FarkeepError
from shared.sealing import keyed_id
from siteagent.home import Home
from siteagent.jobs.heavy import Heavy
from siteagent.store.delta import BaseChunk, compress_delta, decode_base, dictionary_of
from siteagent.store.frame import ZSTD_DELTA
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.oldversion import Span
from siteagent.store.opened import OpenSegment
from siteagent.store.segment import DATA
from siteagent.store.writer import FoundBase, StoreWriter

_LIGHT_LEVEL = 1


class Part(Struct, frozen=True):
    """A chunk or page of a frame: id, content, and the side record of a page."""

    chunk_id: bytes
    data: memoryview
    side: bytes | None


class _Plan(Struct, frozen=True):
    """How a frame is to be stored: plain (`found` is None), or as delta frame `packed`."""

    parts: list[Part]
    packed: bytes = b""
    found: FoundBase | None = None
    is_lighter: bool = False


class Copied(Struct):
    """Where the used content of a segment is now. `lighter`: how many frames were written otherwise than they were."""

    segments: set[SegmentName] = field(default_factory=set)
    lighter: int = 0


class Copying:
    """Copies the segments of one batch. A page is in it with one side record only: by its id and the names of the new
    segments it would else be found with references that another snapshot does not need."""

    def __init__(self, home: Home, writer: StoreWriter, heavy: Heavy) -> None:
        self._reader, self._writer, self._heavy = home.reader, writer, heavy
        self._domain = home.keyring.default_domain
        self._placed: dict[bytes, tuple[SegmentName, bytes | None]] = {}

    def copy(self, name: SegmentName, bits: int, *, is_worth_it: bool) -> Copied | None:
        """Copy the chunks at these places.

        None when another copy of a page stands in the way, or when no frame gets lighter and copying the segment as it
        is would not be worth it. Raises DamagedError or HostileError when something does not read.
        """
        if not bits:
            return Copied()
        opened = self._reader.segment(name)
        plans = [self._plan(opened, number, bits) for number in _frames(opened, bits)]
        lighter = sum(plan.is_lighter for plan in plans)
        if any(self._is_in_the_way(part) for plan in plans for part in plan.parts) or not (is_worth_it or lighter):
            return None
        copied = Copied(lighter=lighter)
        for plan in plans:
            self._put(plan, copied)
        return copied

    def _plan(self, opened: OpenSegment, number: int, bits: int) -> _Plan:
        parts = self._parts(opened, number, bits)
        row = opened.head.table.frames[number]
        if row.codec != ZSTD_DELTA:
            return _Plan(parts)
        plain, key = b"".join(part.data for part in parts), (opened.head.header.name, number)
        if (held := self._heavy.held.get(key)) is not None:
            limit_bytes = row.stored_bytes + held
            for span in self._heavy.spans.get(key, ()):
                found = self._lighter_base(span, row.depth - 1)
                packed = self._packed(plain, found) if found is not None else None
                if packed is not None and len(packed) < limit_bytes:
                    return _Plan(parts, packed, found, is_lighter=True)
            if len(zstandard.ZstdCompressor(level=_LIGHT_LEVEL).compress(plain)) < limit_bytes:
                return _Plan(parts, is_lighter=True)
        return _Plan(parts, bytes(opened.stored(number)), self._found(opened, number))

    def _parts(self, opened: OpenSegment, number: int, bits: int) -> list[Part]:
        """What is wanted of a frame, hashed again: all of a delta frame, else what `bits` names."""
        head, table = opened.head, opened.head.table
        is_data = head.header.kind == DATA
        key = self._domain.chunk_id_key if is_data else self._domain.page_id_key
        is_delta = table.frames[number].codec == ZSTD_DELTA
        plain = memoryview(self._reader.frame(head.header.name, number))
        parts = []
        for place, frame in enumerate(table.chunk_frames):
            if frame == number and (is_delta or bits >> place & 1):
                data = plain[head.offsets[place] : head.offsets[place] + table.lengths[place]]
                if keyed_id(key, data) != table.chunk_id(place):
                    raise DamagedError("a chunk is not what its id says", subject=shown_segment(head.header.name))
                parts.append(Part(table.chunk_id(place), data, None if is_data else table.sides[place]))
        return parts

    def _is_in_the_way(self, part: Part) -> bool:
        place = self._placed.get(part.chunk_id)
        return place is not None and place[1] != part.side

    def _put(self, plan: _Plan, copied: Copied) -> None:
        if plan.found is None:
            for part in plan.parts:
                if part.chunk_id not in self._placed:
                    name = self._writer.put_copy(part.chunk_id, part.data, part.side)
                    self._placed[part.chunk_id] = name, part.side
        elif not all(part.chunk_id in self._placed for part in plan.parts):
            ids, lengths = [part.chunk_id for part in plan.parts], [len(part.data) for part in plan.parts]
            side = plan.parts[0].side
            name = self._writer.put_delta_copy(ids, lengths, plan.packed, plan.found, side)
            self._placed.update((chunk_id, (name, side)) for chunk_id in ids)
            if plan.is_lighter:
                copied.segments |= plan.found.closure
        copied.segments.update(self._placed[part.chunk_id][0] for part in plan.parts)

    def _found(self, opened: OpenSegment, number: int) -> FoundBase:
        """What a frame rests on, by the names it has."""
        table = opened.head.table
        row = table.frames[number]
        base, closure = decode_base(row.bases, table.bases, row.depth), set[SegmentName]()
        for chunk in base.chunks:
            closure |= {chunk.segment, *self._reader.frame_closure(chunk.segment, chunk.chunk_id)}
        return FoundBase(base, closure)

    def _lighter_base(self, span: Span, depth_max: int) -> FoundBase | None:
        """The chunks of a span as a base by the names of the segments that hold them now, if none is heavy itself."""
        chunks = [BaseChunk(self._reader.locate(chunk.segment, chunk.chunk_id)[0].header.name, chunk.chunk_id)
                  for chunk in span.chunks]  # fmt: skip
        if any(map(self._is_heavy, chunks)):
            return None
        self._writer.base_depth = depth_max
        return self._writer.base_of(chunks, span.head_trim, span.tail_trim)

    def _is_heavy(self, chunk: BaseChunk) -> bool:
        opened, place = self._reader.locate(chunk.segment, chunk.chunk_id)
        return (opened.header.name, opened.table.chunk_frames[place]) in self._heavy.held

    def _packed(self, plain: bytes, found: FoundBase) -> bytes | None:
        try:
            return compress_delta(plain, dictionary_of(found.base, self._reader.base_plains(found.base)))
        except FarkeepError:
            return None


def _frames(opened: OpenSegment, bits: int) -> list[int]:
    """The frames that hold something at these places."""
    frames = opened.head.table.chunk_frames
    return sorted({frame for place, frame in enumerate(frames) if bits >> place & 1})
