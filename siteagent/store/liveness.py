"""Which chunks and pages of some segments are still used, found by walking the catalogs that stay.

One bit per chunk. Pages that several snapshots share are looked at once (a bit per page, too), and pages whose side
record names none of the segments in question are not decoded. Names that were superseded are followed to the segment
that holds a chunk now. What the delta frames that are used rest on counts by itself: `based`, not `live`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shared.errors import DamagedError
from siteagent.store.catalog import Root
from siteagent.store.delta import decode_base
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.opened import OpenTable
from siteagent.store.page import EntryPage, decode_chunks, decode_index, side_segments
from siteagent.store.reader import SegmentReader

_UseLeaf = Callable[[bytes | memoryview, bytes], None]


class Liveness:
    """Bit i of `live[name]` (and `based[name]`) stands for the chunk or page at place i of a segment's table.

    `deltas`: delta frames with chunks of files (not pages) that catalogs lead to, whatever segment they are in: bit i
    stands for frame i. Of those of pages that name none of the segments in question not all are there.
    """

    def __init__(self, reader: SegmentReader, candidates: Iterable[SegmentName]) -> None:
        self._reader = reader
        self.live: dict[SegmentName, int] = dict.fromkeys(candidates, 0)
        self.based: dict[SegmentName, int] = dict.fromkeys(self.live, 0)
        self._watched = set(self.live) | reader.successors.before(self.live)
        self._seen: dict[SegmentName, int] = {}
        self.deltas: dict[SegmentName, int] = {}
        self._with_bases: dict[SegmentName, int] = {}

    def follow(self, root: Root) -> None:
        """Count in what one catalog uses; raises DamagedError or HostileError when a page does not read."""
        if root.page_id:
            self._page(root.segment, root.page_id, root.level, self._use_entries)

    def _page(self, segment: SegmentName, page_id: bytes, level: int, use_leaf: _UseLeaf) -> None:
        """A page of a catalog or a chunk list and all below it; `use_leaf` counts in what a leaf names."""
        if (side := self._enter(segment, page_id)) is None:
            return
        if level:
            for child in decode_index(self._reader.chunk(segment, page_id), side)[2]:
                self._page(child.segment, child.page_id, level - 1, use_leaf)
        elif not self._watched.isdisjoint(side_segments(side)):
            use_leaf(self._reader.chunk(segment, page_id), side)

    def _use_entries(self, page: bytes | memoryview, side: bytes) -> None:
        for entry in EntryPage(page, side).rows():
            for name, chunk_id in entry.references():
                self._use(name, chunk_id)
            if entry.tree:
                at = sum(stored[:1] == b"\1" for stored in (entry.target, entry.xattrs))
                segment = entry.segments[len(entry.segments) - 1 - at]
                self._page(segment, entry.tree[1:], entry.tree[0], self._use_chunks)

    def _use_chunks(self, page: bytes | memoryview, side: bytes) -> None:
        for chunk_id, _, name in decode_chunks(page, side):
            if name:
                self._use(name, chunk_id)

    def _enter(self, segment: SegmentName, page_id: bytes) -> bytes | None:
        """Count a page as used; returns its side record, or None when it was followed before."""
        opened, place = self._reader.locate(segment, page_id)
        name, bit = opened.header.name, 1 << place
        if self._seen.get(name, 0) & bit:
            return None
        self._seen[name] = self._seen.get(name, 0) | bit
        self._mark(opened, place)
        if place >= len(opened.table.sides):
            raise DamagedError("a page has no side record", subject=shown_segment(name),
                               next_step="run `farkeep verify --read-data`")
        return opened.table.sides[place]

    def _use(self, segment: SegmentName, chunk_id: bytes) -> None:
        opened, place = self._reader.locate(segment, chunk_id)
        self._mark(opened, place)
        number = opened.table.chunk_frames[place]
        if opened.table.frames[number].bases:
            self.deltas[opened.header.name] = self.deltas.get(opened.header.name, 0) | 1 << number

    def _mark(self, opened: OpenTable, place: int) -> None:
        name = opened.header.name
        if name in self.live:
            self.live[name] |= 1 << place
        self._mark_bases(opened, opened.table.chunk_frames[place])

    def _mark_bases(self, opened: OpenTable, number: int) -> None:
        """Count in all that a frame rests on."""
        name, table = opened.header.name, opened.table
        row, known = table.frames[number], self._with_bases.get(name, 0)
        if not row.bases or known >> number & 1:
            return
        self._with_bases[name] = known | 1 << number
        for chunk in decode_base(row.bases, table.bases, row.depth).chunks:
            base, place = self._reader.locate(chunk.segment, chunk.chunk_id)
            if base.header.name in self.based:
                self.based[base.header.name] |= 1 << place
            self._mark_bases(base, base.table.chunk_frames[place])
