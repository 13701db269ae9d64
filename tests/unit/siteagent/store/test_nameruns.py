"""Sets of segment names as bitmaps: small, exact, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import HostileError
from siteagent.store.columns import BLOBS, FIXED, INTEGERS, Columns, blobs, encode_columns, fixed, integers
from siteagent.store.nameruns import NAMES_MAX, decode_names, encode_names
from siteagent.store.names import SegmentName, number_of, run_of, segment_name, shown_segment
from siteagent.store.nameset import NameSet

KNOWN = frozenset((1, 2, 3))
NUMBERS = st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1))
NAMES = st.frozensets(st.builds(segment_name, st.sampled_from([bytes(16), b"\xff" * 16, b"r" * 16]), NUMBERS))


def _decoded(data: bytes) -> list[SegmentName]:
    return list(decode_names(Columns(memoryview(data), KNOWN), 1))


@given(NAMES)
def test_names_come_back_in_order(names: frozenset[SegmentName]) -> None:
    assert _decoded(encode_columns(encode_names(1, names))) == sorted(names)


def test_a_run_costs_a_bit_per_segment() -> None:
    names = [segment_name(b"r" * 16, number) for number in range(1, 1_000_001)]
    data = encode_columns(encode_names(1, names))
    assert len(data) < 126_000
    assert len(_decoded(data)) == 1_000_000


def test_distant_numbers_do_not_make_wide_bitmaps() -> None:
    names = [segment_name(b"r" * 16, number) for number in (0, 2**31, 2**32 - 1)]
    assert len(encode_columns(encode_names(1, names))) < 120


def _columns(low: int, bits: bytes) -> bytes:
    return encode_columns([
        (1, FIXED, 1, fixed(16, bytes(16))), (2, INTEGERS, 1, integers([low])), (3, BLOBS, 1, blobs([bits])),
    ])  # fmt: skip


@pytest.mark.parametrize(("low", "bits"), [(-1, b"\1"), (2**32, b"\1"), (2**32 - 1, b"\2"), (2**40, b"\1")])
def test_numbers_that_no_segment_has_are_refused(low: int, bits: bytes) -> None:
    with pytest.raises(HostileError):
        _decoded(_columns(low, bits))


def test_the_last_number_of_all_is_allowed() -> None:
    assert _decoded(_columns(2**32 - 1, b"\1")) == [segment_name(bytes(16), 2**32 - 1)]


def test_a_dense_bitmap_is_refused_before_names_are_made() -> None:
    with pytest.raises(HostileError, match="more segments"):
        _decoded(_columns(0, b"\xff" * (NAMES_MAX // 8 + 1)))


@given(NAMES, NAMES)
def test_a_name_set_has_what_was_added(added: frozenset[SegmentName], others: frozenset[SegmentName]) -> None:
    names = NameSet()
    for name in added:
        names.add(name)
        names.add(name)
    assert len(names) == len(added)
    assert all((name in names) == (name in added) for name in added | others)


def test_a_name_is_run_and_number() -> None:
    name = segment_name(b"0123456789abcdef", 258)
    assert name == b"0123456789abcdef\0\0\1\2"
    assert (run_of(name), number_of(name)) == (b"0123456789abcdef", 258)
    assert shown_segment(name) == b"0123456789abcdef".hex() + "-258"
