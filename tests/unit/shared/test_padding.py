"""Padding: never shorter, seldom much longer, and few different sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.padding import FLOOR_BYTES, padded_size


@given(st.integers(0, 1 << 40))
def test_the_padded_size_holds_the_content_at_little_cost(size: int) -> None:
    padded = padded_size(size)
    assert padded >= max(size, FLOOR_BYTES)
    assert padded <= max(FLOOR_BYTES, size * 1.12)


@given(st.integers(0, 1 << 40))
def test_padding_twice_changes_nothing(size: int) -> None:
    assert padded_size(padded_size(size)) == padded_size(size)


@given(st.integers(0, 1 << 30), st.integers(0, 1 << 20))
def test_longer_content_is_never_padded_to_less(size: int, more: int) -> None:
    assert padded_size(size + more) >= padded_size(size)


@pytest.mark.parametrize(
    ("size", "padded"),
    [(0, 512), (512, 512), (513, 544), (1000, 1024), (1025, 1088), (65_537, 67_584), (1 << 20, 1 << 20),
     ((1 << 20) + 1, (1 << 20) + (1 << 15))],
)  # fmt: skip
def test_sizes_of_the_paper(size: int, padded: int) -> None:
    """Padme keeps as many leading bits as the exponent has; worked out by hand."""
    assert padded_size(size) == padded


def test_few_sizes_up_to_a_megabyte() -> None:
    assert len({padded_size(size) for size in range(0, 1 << 20, 97)}) < 330


def test_another_floor() -> None:
    assert padded_size(10, floor_bytes=64) == 64
    assert padded_size(100, floor_bytes=64) == 104
