"""An earlier version of a file, walked alongside the new one: what lay where, and where a chunk was."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from shared.errors import DamagedError, HostileError
from shared.tree import HOLE
from siteagent.store.catalog import Catalog
from siteagent.store.chunklist import ListLeaf, Piece
from siteagent.store.delta import DICTIONARY_BYTES_MAX, BaseChunk
from siteagent.store.entry import Entry

MARGINS = 64 << 10, 192 << 10
NO_MARGINS = 0, 0
"""Bytes before and after a run's old place that belong to its dictionary. In a file that kept its length content has
mostly stayed where it was: then runs begin where they began before, and rest on one frame instead of several."""
_AHEAD_BYTES = 64 << 20
_BEHIND_BYTES = 16 << 20
_PIECES_MAX = 1 << 14


class Place(NamedTuple):
    """A piece, where it begins, the list page that names it, and whether data follows without a gap."""

    offset: int
    piece: Piece
    page: BaseChunk | None
    is_followed: bool


class Span(NamedTuple):
    """The chunks that cover a stretch, and how much of the first and last lies outside."""

    chunks: list[BaseChunk]
    head_trim: int
    tail_trim: int


class OldVersion:
    """A window over the pieces of one version; memory does not grow with the file."""

    def __init__(self, catalog: Catalog, entry: Entry) -> None:
        self._leaves: Iterator[ListLeaf] = catalog.leaves_of(entry)
        self._starts: list[int] = []
        self._pieces: list[Piece] = []
        self._pages: list[BaseChunk | None] = []
        self._places: dict[bytes, int] = {}
        self._loaded = self._newest = 0
        self._is_whole = False
        self.size = entry.size

    def at(self, offset: int) -> Place | None:
        """The piece that begins at `offset`."""
        following = self._newest + 1
        if following + 1 < len(self._starts) and self._starts[following] == offset:
            # One after the other, as long as nothing changes.
            self._newest = following
            is_followed = self._pieces[following + 1].chunk_id != HOLE
            return Place(offset, self._pieces[following], self._pages[following], is_followed)
        number = self._number(offset)
        if number is None or self._starts[number] != offset:
            return None
        # Whether data follows is known once the next piece is; reading on may move the window.
        self._load(offset + self._pieces[number].length)
        number = self._newest = bisect_right(self._starts, offset) - 1
        follows = self._pieces[number + 1] if number + 1 < len(self._pieces) else None
        is_followed = follows is not None and follows.chunk_id != HOLE
        return Place(offset, self._pieces[number], self._pages[number], is_followed)

    def find(self, chunk_id: bytes, near: int) -> Place | None:
        """Where a chunk is, not far from `near`."""
        self._load(near + _AHEAD_BYTES)
        offset = self._places.get(chunk_id)
        return None if offset is None else self.at(offset)

    def span(self, low: int, high: int) -> Span:
        """The chunks that cover the bytes from `low` to `high` as far as there are any (holes are left out)."""
        low = max(0, low)
        high = min(high, low + DICTIONARY_BYTES_MAX, self.size)
        number = self._number(low) if low < high else None
        chunks: list[BaseChunk] = []
        head = tail = 0
        while number is not None and number < len(self._pieces) and self._starts[number] < high:
            start, piece = self._starts[number], self._pieces[number]
            if piece.chunk_id != HOLE:
                head = max(0, low - start) if not chunks else head
                tail = max(0, start + piece.length - high)
                chunks.append(BaseChunk(piece.segment, piece.chunk_id))
            number += 1
            self._load(high)
        return Span(chunks, head, tail)

    def _number(self, offset: int) -> int | None:
        """The number of the piece that covers an offset and is in the window."""
        self._load(offset + 1)
        number = bisect_right(self._starts, offset) - 1
        if number < 0 or offset >= self._starts[number] + self._pieces[number].length:
            return None
        return number

    def _load(self, until: int) -> None:
        """Read list pages until one piece beyond `until` is known."""
        while not self._is_whole and self._loaded <= until:
            try:
                leaf = next(self._leaves, None)
            except (DamagedError, HostileError):
                leaf = None
            if leaf is None:
                self._is_whole = True
                return
            self._take(leaf)
        if len(self._pieces) > _PIECES_MAX:
            self._drop(until - _AHEAD_BYTES - _BEHIND_BYTES)

    def _take(self, leaf: ListLeaf) -> None:
        at = leaf.offset
        for piece in leaf.pieces:
            self._starts.append(at)
            self._pieces.append(piece)
            self._pages.append(leaf.page)
            if piece.chunk_id != HOLE:
                self._places[piece.chunk_id] = at
            at += piece.length
        self._loaded = at

    def _drop(self, before: int) -> None:
        count = bisect_right(self._starts, before) - 1
        if count < _PIECES_MAX // 4:
            return
        for start, piece in zip(self._starts[:count], self._pieces[:count], strict=True):
            if self._places.get(piece.chunk_id) == start:
                del self._places[piece.chunk_id]
        del self._starts[:count], self._pieces[:count], self._pages[:count]
        self._newest = 0
