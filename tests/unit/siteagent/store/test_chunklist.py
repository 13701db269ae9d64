"""Chunk lists: file order, lengths and holes; an insertion touches only pages near it; lists that lie are refused."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DamagedError, HostileError
from shared.tree import HOLE
from siteagent.store.chunklist import ListBuilder, Piece, list_pages, list_segments, read_leaves
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.page import CHUNK_INDEX, Child, encode_index, encode_side
from tests.support.homes import incompressible
from tests.support.stores import BOUNDARY_KEY, RUN, PageMemory

SEGMENT = segment_name(RUN, 900)


def _pieces(count: int, label: str = "pieces") -> list[Piece]:
    ids = incompressible(label, 32 * count)
    return [Piece(ids[at * 32 : at * 32 + 32], 1000 + at % 7, segment_name(RUN, 900 + at // 100))
            for at in range(count)]  # fmt: skip


def _build(pieces: list[Piece], memory: PageMemory) -> tuple[bytes, SegmentName, ListBuilder]:
    builder = ListBuilder(memory, BOUNDARY_KEY)
    for piece in pieces:
        builder.add(piece)
    return *builder.finish(), builder


def _read(memory: PageMemory, tree: bytes, segment: SegmentName, start: int = 0) -> list[tuple[int, Piece]]:
    found = []
    for offset, pieces, page in read_leaves(memory, tree, segment, start):
        assert page is not None and memory.places[page.chunk_id] == page.segment
        starts = accumulate((piece.length for piece in pieces), initial=offset)
        found += list(zip(starts, pieces, strict=False))
    return found


IDS = st.binary(min_size=32, max_size=32).filter(HOLE.__ne__)
PIECES = st.lists(
    st.one_of(
        st.builds(Piece, IDS, st.integers(1, 2**40), st.just(SEGMENT)),
        st.builds(Piece, st.just(HOLE), st.integers(1, 2**50), st.just(b"")),
    ),
    min_size=1, max_size=300,
)  # fmt: skip


@given(PIECES)
def test_a_list_comes_back_with_its_offsets(pieces: list[Piece]) -> None:
    memory = PageMemory()
    tree, segment, _ = _build(pieces, memory)
    found = _read(memory, tree, segment)
    assert [piece for _, piece in found] == pieces
    offsets = [sum(piece.length for piece in pieces[:number]) for number in range(len(pieces))]
    assert [offset for offset, _ in found] == offsets


def test_reading_from_the_middle_leaves_out_only_what_ends_before() -> None:
    pieces, memory = _pieces(40_000), PageMemory()
    tree, segment, _ = _build(pieces, memory)
    assert tree[0] >= 1
    whole = _read(memory, tree, segment)
    memory.reads = 0
    start = whole[30_000][0]
    found = _read(memory, tree, segment, start)
    assert found == whole[len(whole) - len(found) :]
    assert found[0][0] <= start
    assert whole[30_000] in found
    assert memory.reads < len(list(list_pages(memory, tree, segment))) / 2


def test_an_insertion_at_the_head_touches_the_head_only() -> None:
    pieces, memory = _pieces(20_000), PageMemory()
    _build(pieces, memory)
    known = set(memory.pages)
    tree, segment, _ = _build([Piece(b"n" * 32, 5, SEGMENT), *pieces], memory)
    assert [piece for _, piece in _read(memory, tree, segment)][1:] == pieces
    assert len(set(memory.pages) - known) <= 2 + tree[0]


def test_the_segments_of_a_list_are_those_of_its_pages_and_chunks() -> None:
    pieces, memory = _pieces(5000), PageMemory()
    tree, segment, builder = _build(pieces, memory)
    expected = {piece.segment for piece in pieces} | set(memory.places.values())
    assert list_segments(memory, tree, segment) == expected
    assert builder.segments == expected


def test_a_list_whose_levels_lie_is_refused() -> None:
    memory = PageMemory()
    tree, segment, _ = _build(_pieces(10), memory)
    page = encode_index(CHUNK_INDEX, 1, [Child(b"", tree[1:], 0, 10, segment)])
    page_id, index_segment = memory.put_page(page, encode_side([segment]))
    for level in (0, 2, 9, 255):
        with pytest.raises((HostileError, DamagedError)):
            _read(memory, bytes((level,)) + page_id, index_segment)
