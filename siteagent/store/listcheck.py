"""Checking chunk lists: pages decode, lengths add up, chunks are where they should be, and which segments they need.

Pages shared by several files or snapshots are checked once; what they need is kept in bitmaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from shared.errors import DamagedError, FarkeepError
from siteagent.store.chunklist import Piece
from siteagent.store.columns import Columns, encode_columns
from siteagent.store.nameruns import decode_names, encode_names
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.page import CHUNK_INDEX, LEVELS_MAX, Child, decode_chunks, decode_index, side_segments
from siteagent.store.reader import SegmentReader

UNKNOWN = -1
_KNOWN = frozenset((1, 2, 3))


class ListFacts(NamedTuple):
    """What a page of a chunk list stands for: bytes of file (UNKNOWN when not all of it reads), segments (encoded)."""

    size_bytes: int
    needs: bytes

    def segments(self) -> set[SegmentName]:
        """The segments of all pages and chunks below, and of the page itself."""
        return set(decode_names(Columns(memoryview(self.needs), _KNOWN), 1))


class ListCheck:
    """Checks the chunk lists of one home. `blame` is told which segment is at fault, and why."""

    def __init__(self, reader: SegmentReader, blame: Callable[[SegmentName, FarkeepError], None]) -> None:
        self._reader, self._blame = reader, blame
        self._known: dict[tuple[bytes, SegmentName], ListFacts] = {}

    def check(self, tree: bytes, segment: SegmentName) -> ListFacts:
        """Check a chunk list by the `tree` value of its entry; trouble is blamed, never raised."""
        return self._page(Child(b"", tree[1:], 0, 0, segment), tree[0])

    def _page(self, row: Child, level: int) -> ListFacts:
        key = row.page_id, row.segment
        if key not in self._known:
            try:
                self._known[key] = self._new_page(row, level)
            except FarkeepError as error:
                self._blame(row.segment, error)
                self._known[key] = _facts(UNKNOWN, (row.segment,))
        return self._known[key]

    def _new_page(self, row: Child, level: int) -> ListFacts:
        page, side = self._reader.chunk(row.segment, row.page_id), self._reader.side(row.segment, row.page_id)
        needs = {row.segment, *side_segments(side), *self._reader.frame_closure(row.segment, row.page_id)}
        if level == 0:
            pieces = [Piece._make(piece) for piece in decode_chunks(page, side)]
            if not self.are_there(pieces):
                raise _wrong("a chunk list names a piece that is not in the segment that should hold it", row)
            if not self._reader.successors.are_within(self._closures(pieces), needs):
                raise _wrong("a chunk list does not name all segments it needs", row)
            return _facts(sum(piece.length for piece in pieces), needs)
        kind, found, children = decode_index(page, side)
        if kind != CHUNK_INDEX or found != level or level > LEVELS_MAX:
            raise _wrong("a chunk list is not level", row)
        below = [self._page(child, level - 1) for child in children]
        for facts in below:
            needs |= facts.segments()
        sizes = [facts.size_bytes for facts in below]
        if UNKNOWN in sizes:
            return _facts(UNKNOWN, needs)
        if sizes != [child.size_bytes for child in children]:
            raise _wrong("the lengths in a chunk list are not those of the pages below", row)
        return _facts(sum(sizes), needs)

    def _closures(self, pieces: Iterable[Piece]) -> set[SegmentName]:
        """What the pieces rest on, as far as that reads: what does not was blamed before."""
        needed: set[SegmentName] = set()
        for piece in pieces:
            with suppress(FarkeepError):
                needed |= self._reader.frame_closure(piece.segment, piece.chunk_id) if piece.segment else frozenset()
        return needed

    def are_there(self, pieces: Iterable[Piece]) -> bool:
        """True when every piece is in the table of its segment with its length; tables that do not read are blamed."""
        result = True
        for piece in pieces:
            if not piece.segment:
                continue
            try:
                result = self._is_there(piece) and result
            except FarkeepError as error:
                self._blame(piece.segment, error)
        return result

    def _is_there(self, piece: Piece) -> bool:
        if piece.segment in self._reader.successors:
            opened, place = self._reader.locate(piece.segment, piece.chunk_id)
        else:
            opened = self._reader.table(piece.segment)
            if (found := opened.places.get(piece.chunk_id)) is None:
                return False
            place = found
        return opened.table.lengths[place] == piece.length


def _facts(size_bytes: int, needs: Iterable[SegmentName]) -> ListFacts:
    return ListFacts(size_bytes, encode_columns(encode_names(1, needs)))


def _wrong(what: str, row: Child) -> DamagedError:
    return DamagedError(what, subject=shown_segment(row.segment), next_step="run `farkeep verify --read-data`")
