"""Chunk lists of large files: the catalog's structure in file order, with lengths instead of offsets.

Lengths with byte totals in the parents let an insertion at the head shift nothing: only pages near a change differ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol

from shared.errors import HostileError
from shared.tree import HOLE
from siteagent.store.boundary import Gatherer
from siteagent.store.delta import BaseChunk
from siteagent.store.names import SegmentName
from siteagent.store.page import (
    CHUNK_INDEX,
    LEVELS_MAX,
    Child,
    decode_chunks,
    decode_index,
    encode_chunks,
    encode_index,
    encode_side,
    side_segments,
)

_ROW_BYTES = 36


class Piece(NamedTuple):
    """A stretch of a file: a chunk in a segment, or a hole (id HOLE, no segment)."""

    chunk_id: bytes
    length: int
    segment: SegmentName


class PageSink(Protocol):
    """Where pages are stored."""

    def put_page(self, page: bytes, side: bytes, earlier: BaseChunk | None = None) -> tuple[bytes, SegmentName]:
        """Store a page, `earlier` being the one that stood in its place before; returns its id and segment."""

    def has_deltas(self, segment: SegmentName) -> bool:
        """True when a segment holds delta frames."""

    def closure(self, segment: SegmentName, chunk_id: bytes) -> Collection[SegmentName]:
        """What a chunk or page rests on, closed; empty for plain ones."""


class PageSource(Protocol):
    """Where pages are read."""

    def chunk(self, name: SegmentName, chunk_id: bytes) -> memoryview:
        """A page's bytes."""

    def side(self, name: SegmentName, page_id: bytes) -> bytes:
        """A page's side record."""

    def frame_closure(self, name: SegmentName, chunk_id: bytes) -> frozenset[SegmentName]:
        """What a chunk or page rests on, closed; empty for plain ones."""


class ListBuilder:
    """Builds the chunk list of one file."""

    def __init__(self, sink: PageSink, boundary_key: bytes) -> None:
        self._sink, self._key = sink, boundary_key
        self._leaves = Gatherer[Piece](boundary_key, 0, self._store_leaf)
        self._levels: list[Gatherer[Child]] = []
        self._last: list[tuple[bytes, SegmentName]] = []
        self._counts: list[int] = []
        self._closures: dict[SegmentName, set[SegmentName]] = {}
        self._plain: set[SegmentName] = set()
        self._earlier: BaseChunk | None = None
        self.segments: set[SegmentName] = set()

    def add(self, piece: Piece, earlier: BaseChunk | None = None) -> None:
        """Add the next stretch of the file; `earlier`: the page that named what was in its place before."""
        self._earlier = self._earlier or earlier
        if piece.segment and piece.segment not in self._plain:
            self._note(piece)
        self._leaves.add(piece, piece.chunk_id, _ROW_BYTES)

    def _note(self, piece: Piece) -> None:
        """A segment that was not seen before in this file, or one with deltas."""
        self.segments.add(piece.segment)
        if not self._sink.has_deltas(piece.segment):
            self._plain.add(piece.segment)
        elif closure := self._sink.closure(piece.segment, piece.chunk_id):
            self._closures.setdefault(piece.segment, set()).update(closure)
            self.segments.update(closure)

    def _store_leaf(self, pieces: list[Piece]) -> None:
        page = encode_chunks([piece.chunk_id for piece in pieces], [piece.length for piece in pieces])
        segments = [piece.segment for piece in pieces if piece.chunk_id != HOLE]
        further = set[SegmentName]().union(*(self._closures.get(segment, ()) for segment in set(segments)))
        earlier, self._earlier = self._earlier, None
        self._pass_up(0, page, encode_side(segments, further), sum(piece.length for piece in pieces), earlier)

    def _pass_up(self, level: int, page: bytes, side: bytes, size_bytes: int,
                 earlier: BaseChunk | None = None) -> None:
        page_id, segment = self._sink.put_page(page, side, earlier)
        self.segments.update(self._sink.closure(segment, page_id))
        if level == len(self._levels):
            self._levels.append(Gatherer(self._key, level + 1, lambda rows: self._store_index(level + 1, rows)))
            self._last.append((b"", b""))
            self._counts.append(0)
        self.segments.add(segment)
        self._last[level] = (page_id, segment)
        self._counts[level] += 1
        self._levels[level].add(Child(b"", page_id, 0, size_bytes, segment), page_id, _ROW_BYTES)

    def _store_index(self, level: int, rows: list[Child]) -> None:
        page = encode_index(CHUNK_INDEX, level, rows)
        self._pass_up(level, page, encode_side([row.segment for row in rows]), sum(row.size_bytes for row in rows))

    def finish(self) -> tuple[bytes, SegmentName]:
        """The root as an entry's `tree` value (level byte and page id) and its segment."""
        self._leaves.finish()
        level = 0
        while self._counts[level] > 1:
            self._levels[level].finish()
            level += 1
            if level > LEVELS_MAX:
                raise HostileError("a file has too many chunks for one chunk list", next_step="exclude this file")
        page_id, segment = self._last[level]
        return bytes((level,)) + page_id, segment


class ListLeaf(NamedTuple):
    """One page of chunks: the offset of the first in the file, the chunks and holes, and where the page lies (None:
    they stand in the entry itself)."""

    offset: int
    pieces: list[Piece]
    page: BaseChunk | None


def read_leaves(source: PageSource, tree: bytes, segment: SegmentName, start: int = 0) -> Iterator[ListLeaf]:
    """The pages of chunks in order, from the first that reaches beyond `start`. Raises DamagedError or
    HostileError."""
    yield from _read(source, tree[1:], segment, tree[0], 0, start)


def _read(source: PageSource, page_id: bytes, segment: SegmentName, level: int, at: int,
          start: int) -> Iterator[ListLeaf]:
    if level > LEVELS_MAX:
        raise HostileError(f"a chunk list is {level} levels deep", next_step="run `farkeep verify --read-data`")
    page, side = source.chunk(segment, page_id), source.side(segment, page_id)
    if level == 0:
        yield ListLeaf(at, list(map(Piece._make, decode_chunks(page, side))), BaseChunk(segment, page_id))
        return
    kind, found, children = decode_index(page, side)
    if kind != CHUNK_INDEX or found != level:
        raise HostileError("a chunk list is not level", next_step="run `farkeep verify --read-data`")
    for child in children:
        # A page that stands for nothing may stand there any number of times.
        if child.size_bytes > 0 and at + child.size_bytes > start:
            yield from _read(source, child.page_id, child.segment, level - 1, at, start)
        at += child.size_bytes


def list_segments(source: PageSource, tree: bytes, segment: SegmentName) -> set[SegmentName]:
    """Every segment that a chunk list needs: its pages' and its chunks'."""
    needed = set()
    for page_id, page_segment, _ in list_pages(source, tree, segment):
        needed.add(page_segment)
        needed |= source.frame_closure(page_segment, page_id)
        needed.update(side_segments(source.side(page_segment, page_id)))
    return needed


def list_pages(source: PageSource, tree: bytes, segment: SegmentName) -> Iterator[tuple[bytes, SegmentName, int]]:
    """(page id, segment, level) of every page of a chunk list, parents first, each once however often it is named."""
    if tree[0] > LEVELS_MAX:
        raise HostileError(f"a chunk list is {tree[0]} levels deep", next_step="run `farkeep verify --read-data`")
    waiting, seen = [(tree[1:], segment, tree[0])], {(tree[1:], segment): tree[0]}
    while waiting:
        page_id, page_segment, level = waiting.pop()
        yield page_id, page_segment, level
        if level == 0:
            continue
        _, found, children = decode_index(source.chunk(page_segment, page_id), source.side(page_segment, page_id))
        if found != level:
            raise HostileError("a chunk list is not level", next_step="run `farkeep verify --read-data`")
        for child in reversed(children):
            key = child.page_id, child.segment
            if seen.get(key, level - 1) != level - 1:
                raise HostileError("a chunk list is not level", next_step="run `farkeep verify --read-data`")
            if key not in seen:
                seen[key] = level - 1
                waiting.append((*key, level - 1))
