"""Clearing packs: only what is found elsewhere or retired goes, and holes never touch what stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siteagent.store.clearing import Clearing
from siteagent.store.holes import BLOCK_BYTES, hole_bytes, holes
from siteagent.store.index import Index, Spot
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.pack import Row
from siteagent.store.segment import SealedSegment, Sealer
from siteagent.store.table import Frame, Table, encode_table
from tests.support.stores import RUN, MemoryPacks, keyring, make_pack

KEYS = keyring()
P, Q, R = b"p" * 16, b"q" * 16, b"s" * 16


def sealed(number: int, size_bytes: int = 20_000) -> SealedSegment:
    sealer = Sealer(KEYS.site_id, KEYS.default_domain.id, KEYS.current, RUN)
    table = Table([Frame(0, size_bytes, size_bytes)], bytes(32), [0], [size_bytes])
    return sealer.seal(1, number, encode_table(table), [bytes(size_bytes)])


ONE, TWO, THREE = sealed(1), sealed(2), sealed(3)


@pytest.fixture
def packs() -> MemoryPacks:
    return MemoryPacks()


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(str(tmp_path / "index"))


def put(packs: MemoryPacks, pack_id: bytes, *segments: SealedSegment) -> list[Row]:
    packs.kept[pack_id], _, rows = make_pack(KEYS, pack_id, segments)
    return rows


def clearing(packs: MemoryPacks, index: Index, *gone: bytes, retired: set[SegmentName] | None = None) -> Clearing:
    return Clearing(packs, index, gone, retired or set())


def test_a_pack_goes_when_all_of_it_is_elsewhere_or_retired(packs: MemoryPacks, index: Index) -> None:
    put(packs, P, ONE, TWO, THREE)
    rows = put(packs, Q, TWO), put(packs, R, THREE)
    assert clearing(packs, index, P, retired={ONE.name}).delete_gone() == [P]
    assert packs.finished() == [Q, R]
    for pack_id, (row,) in zip((Q, R), rows, strict=True):
        assert index.spot(row.name) == Spot(pack_id, row.offset, row.length, row.table_length)


def test_a_pack_with_something_that_is_nowhere_else_stays_whatever_a_fact_says(packs: MemoryPacks,
                                                                                index: Index) -> None:
    put(packs, P, ONE, TWO)
    put(packs, Q, TWO)
    found = clearing(packs, index, P)
    assert found.delete_gone() == []
    assert packs.finished() == [P, Q]
    assert "is kept: 1 of its segments" in found.notes[0]


def test_another_pack_that_was_given_up_is_no_refuge(packs: MemoryPacks, index: Index) -> None:
    put(packs, P, ONE)
    put(packs, Q, ONE)
    assert clearing(packs, index, P, Q).delete_gone() == []
    assert packs.finished() == [P, Q]


def test_an_index_that_lies_is_not_believed(packs: MemoryPacks, index: Index) -> None:
    put(packs, P, ONE)
    put(packs, Q, TWO)
    index.move({ONE.name: Spot(Q, 128, ONE.length, 10)})
    assert clearing(packs, index, P).delete_gone() == []


def test_a_pack_that_does_not_read_stays(packs: MemoryPacks, index: Index) -> None:
    put(packs, P, ONE)
    packs.kept[P].data[-1] ^= 1
    found = clearing(packs, index, P, retired={ONE.name})
    assert found.delete_gone() == []
    assert "does not read" in found.notes[0]


def test_a_pack_without_a_trailer_is_no_refuge_for_itself(packs: MemoryPacks, index: Index) -> None:
    """Its segments still read where the index says: that is where they are about to go from."""
    (row,) = put(packs, P, ONE)
    index.move({row.name: Spot(P, row.offset, row.length, row.table_length)})
    assert not clearing(packs, index, P).delete_unreadable(P, {ONE.name})
    assert packs.finished() == [P]
    put(packs, Q, ONE)
    assert clearing(packs, index, P).delete_unreadable(P, {ONE.name})
    assert packs.finished() == [Q]


def test_what_is_retired_is_punched_and_the_rest_is_as_it_was(packs: MemoryPacks, index: Index) -> None:
    rows = put(packs, P, ONE, TWO, THREE)
    before = bytes(packs.kept[P].data)
    assert clearing(packs, index, retired={TWO.name}).punch_all() == [P]
    after = bytes(packs.kept[P].data)
    assert after[: rows[1].offset] == before[: rows[1].offset]
    assert after[rows[2].offset :] == before[rows[2].offset :]
    assert after.count(b"\0") > before.count(b"\0") + hole_bytes([rows[1]]) - 1000


def test_segments_are_forgotten_by_the_index(index: Index) -> None:
    index.move({ONE.name: Spot(P, 1, 2, 3), TWO.name: Spot(P, 4, 5, 6)})
    index.drop_segments([ONE.name])
    assert index.spot(ONE.name) is None
    assert index.spot(TWO.name) == Spot(P, 4, 5, 6)


@given(st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), max_size=12))
def test_holes_are_whole_blocks_inside_of_what_goes(parts: list[tuple[int, bool]]) -> None:
    rows, going, at = [], set[int](), 128
    for number, (length, goes) in enumerate(parts):
        rows.append((Row(segment_name(RUN, number), at, length, 0, b""), goes))
        going.update(range(at, at + length) if goes else ())
        at += length
    found = holes(row for row, goes in rows if goes)
    assert all(start % BLOCK_BYTES == length % BLOCK_BYTES == 0 < length for start, length in found)
    assert all(place in going for start, length in found for place in range(start, start + length))
    whole = [block for block in range(at // BLOCK_BYTES + 1)
             if all(block * BLOCK_BYTES + offset in going for offset in range(BLOCK_BYTES))]  # fmt: skip
    assert sum(length for _, length in found) == len(whole) * BLOCK_BYTES
