"""The columnar container: what goes in comes out, equal values give equal bytes, and no bytes make it allocate."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DamagedError, HostileError
from siteagent.store.columns import (
    BLOBS,
    FIXED,
    INTEGERS,
    MUST_KNOW,
    Columns,
    blobs,
    encode_columns,
    fixed,
    integers,
    read_blobs,
    read_fixed,
    read_integers,
    split_items,
)

WIDE = st.integers(min_value=-(2**126), max_value=2**126)
NARROW = st.integers(min_value=-300, max_value=300)


@given(st.lists(st.one_of(NARROW, WIDE, st.integers(min_value=-(2**63), max_value=2**63))))
def test_integers_come_back(values: list[int]) -> None:
    assert read_integers(memoryview(integers(values)), len(values)) == values


@pytest.mark.parametrize(
    ("values", "width"),
    [([5, 5], 0), ([0, 255], 1), ([0, 256], 2), ([-1, 65535], 4), ([0, 2**32], 8), ([-(2**63), 2**63], 16)],
)
def test_the_width_is_the_smallest_that_holds_the_span(values: list[int], width: int) -> None:
    assert integers(values)[0] == width
    assert read_integers(memoryview(integers(values)), len(values)) == values


def test_golden_bytes_of_each_column_type() -> None:
    assert integers([]).hex() == "0000"
    assert integers([7, 7, 7]).hex() == "000107"
    assert integers([-1, 1]).hex() == "0101ff0002"
    assert integers([128, 128]).hex() == "00028000"
    assert blobs([b"a", b"bcd"]).hex() == "05000000" + "01010100" + "02" + "61626364"
    assert fixed(2, b"abcd").hex() == "0200" + "61626364"
    container = encode_columns([(2, FIXED, 0, b"xy"), (1, BLOBS, 1, b"z")])
    assert container.hex() == "0200" + "0100020101000000" + "0200030002000000" + "7a" + "7879"


@pytest.mark.parametrize("data", [b"", b"\0", b"\1\0\5\5", b"\3\0\1\2\3", b"\1\x20" + bytes(33), b"\x10\0" + bytes(15)])
def test_integers_of_another_shape_are_damage(data: bytes) -> None:
    with pytest.raises(DamagedError):
        read_integers(memoryview(data), 1)


@given(st.lists(st.binary(max_size=40)))
def test_blobs_come_back(values: list[bytes]) -> None:
    assert read_blobs(memoryview(blobs(values)), len(values)) == values


def test_blobs_with_negative_or_too_long_lengths_are_damage() -> None:
    for lengths in ([-1, 3], [1, 2], [2**40, 0]):
        head = integers(lengths)
        data = len(head).to_bytes(4, "little") + head + b"ab"
        with pytest.raises(DamagedError):
            read_blobs(memoryview(data), 2)
    with pytest.raises(DamagedError):
        read_blobs(memoryview(blobs([]) + b"x"), 0)


def test_fixed_items_have_their_size() -> None:
    assert split_items(read_fixed(memoryview(fixed(3, b"abcdef")), 3), 3) == [b"abc", b"def"]
    for data, size in ((fixed(3, b"abcdef"), 2), (fixed(3, b"abcde"), 3), (b"\3", 3)):
        with pytest.raises(DamagedError):
            read_fixed(memoryview(data), size)


@given(st.dictionaries(st.integers(0, 65535), st.binary(max_size=20), max_size=8))
def test_a_container_comes_back_in_any_order(parts: dict[int, bytes]) -> None:
    rows = [(column, BLOBS, 0, data) for column, data in parts.items()]
    assert encode_columns(rows) == encode_columns(reversed(rows))
    columns = Columns(memoryview(encode_columns(rows)), frozenset(parts))
    assert {column: bytes(columns.raw(column)) for column in parts} == parts


def test_an_unknown_column_is_skipped_unless_it_must_be_known() -> None:
    skippable = encode_columns([(1, INTEGERS, 0, integers([4])), (9, BLOBS, 0, b"later")])
    columns = Columns(memoryview(skippable), frozenset((1,)))
    assert columns.integers(1, 1) == [4]
    assert columns.unknown(frozenset((1,))) == [(9, BLOBS)]
    needed = encode_columns([(9, BLOBS, MUST_KNOW, b"later")])
    with pytest.raises(HostileError, match="not known"):
        Columns(memoryview(needed), frozenset((1,)))


def test_malformed_containers_are_damage() -> None:
    good = encode_columns([(1, BLOBS, 0, b"abc")])
    twice = b"\2\0" + good[2:10] * 2 + b"abcabc"
    many = struct.pack("<H", 65) + struct.pack("<HBBI", 1, 1, 0, 0) * 65
    for data in (b"", b"\1", good[:-1], good + b"x", twice, many, b"\xff\xff"):
        with pytest.raises(DamagedError):
            Columns(memoryview(data), frozenset((1,)))
    with pytest.raises(DamagedError, match="missing"):
        Columns(memoryview(good), frozenset((1,))).raw(2)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_typed_error_or_columns(data: bytes) -> None:
    try:
        columns = Columns(memoryview(data), frozenset(range(8)))
        for column in range(8):
            if column in columns:
                assert len(columns.integers(column, 5)) == len(columns.blobs(column, 5)) == 5
                assert len(columns.fixed(column, 16)) % 16 == 0
    except (DamagedError, HostileError):
        return
