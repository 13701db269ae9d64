"""An earlier version of a file: what lay where, chunks found again, spans with trims, a window that moves along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from blake3 import blake3

from shared.errors import DamagedError
from shared.tree import HOLE
from siteagent.store import oldversion
from siteagent.store.catalog import Catalog
from siteagent.store.chunklist import ListLeaf, Piece
from siteagent.store.delta import BaseChunk
from siteagent.store.names import segment_name
from siteagent.store.oldversion import OldVersion
from tests.support.stores import RUN, entry

SEGMENT = segment_name(RUN, 1)
PAGE = BaseChunk(SEGMENT, b"page" * 8)


def _id(number: int) -> bytes:
    return blake3(number.to_bytes(4, "big")).digest()


class Leaves:
    """A catalog that knows one file."""

    def __init__(self, leaves: list[list[Piece]], fails_at: int = -1) -> None:
        self._leaves, self._fails_at, self.read = leaves, fails_at, 0

    def leaves_of(self, _: object) -> Iterator[ListLeaf]:
        at = 0
        for number, pieces in enumerate(self._leaves):
            if number == self._fails_at:
                raise DamagedError("a page does not read")
            self.read += 1
            yield ListLeaf(at, pieces, PAGE)
            at += sum(piece.length for piece in pieces)


def _version(leaves: list[list[Piece]], fails_at: int = -1) -> OldVersion:
    size = sum(piece.length for pieces in leaves for piece in pieces)
    return OldVersion(cast(Catalog, Leaves(leaves, fails_at)), entry(b"", b"file", size=size))


def _pieces(first: int, count: int, length: int = 100) -> list[Piece]:
    return [Piece(_id(number), length, SEGMENT) for number in range(first, first + count)]


THREE = [_pieces(0, 2), [*_pieces(2, 1), Piece(HOLE, 50, b""), *_pieces(3, 1)]]


def test_what_lay_where() -> None:
    version = _version(THREE)
    first, last_before_hole, hole, last = (version.at(offset) for offset in (0, 200, 300, 350))
    assert first is not None and first.is_followed and first.piece.chunk_id == _id(0) and first.page == PAGE
    assert last_before_hole is not None and not last_before_hole.is_followed
    assert hole is not None and hole.piece.chunk_id == HOLE
    assert last is not None and not last.is_followed
    assert [version.at(offset) for offset in (-5, 1, 340, 450, 10_000)] == [None] * 5


def test_a_piece_at_the_end_of_a_page_knows_what_follows_on_the_next() -> None:
    place = _version(THREE).at(100)
    assert place is not None and place.is_followed


def test_chunks_are_found_by_their_content() -> None:
    version = _version(THREE)
    found = version.find(_id(3), 0)
    assert found is not None and found.offset == 350
    assert version.find(_id(9), 0) is None


@pytest.mark.parametrize(
    ("low", "high", "chunks", "head", "tail"),
    [(0, 100, [0], 0, 0), (0, 101, [0, 1], 0, 99), (150, 250, [1, 2], 50, 50), (-70, 40, [0], 0, 60),
     (250, 400, [2, 3], 50, 50), (310, 400, [3], 0, 50), (400, 9999, [3], 50, 0), (450, 500, [], 0, 0),
     (100, 100, [], 0, 0)],
)  # fmt: skip
def test_spans(low: int, high: int, chunks: list[int], head: int, tail: int) -> None:
    span = _version(THREE).span(low, high)
    assert ([one.chunk_id for one in span.chunks], span.head_trim, span.tail_trim) == (
        [_id(number) for number in chunks], head, tail,
    )  # fmt: skip


def test_a_list_that_does_not_read_just_ends() -> None:
    version = _version(THREE, fails_at=1)
    assert version.at(0) is not None
    assert version.at(200) is None
    assert version.find(_id(3), 0) is None


def test_the_window_moves_along_and_memory_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oldversion, "_PIECES_MAX", 64)
    monkeypatch.setattr(oldversion, "_AHEAD_BYTES", 1000)
    monkeypatch.setattr(oldversion, "_BEHIND_BYTES", 500)
    version = _version([_pieces(10 * page, 10) for page in range(100)])
    for number in range(1000):
        place = version.at(number * 100)
        assert place is not None and place.piece.chunk_id == _id(number)
        assert len(version._pieces) == len(version._starts) == len(version._pages) <= 100
        assert len(version._places) <= 100
    assert version.at(0) is None
