"""Lengths of time as people write them."""

import pytest

from shared.durations import parse_duration
from shared.errors import UsageError

SECOND_NS = 10**9


@pytest.mark.parametrize(("text", "seconds"), [
    ("30min", 1800), ("12h", 43_200), ("30d", 30 * 86_400), ("8w", 56 * 86_400), ("2y", 730 * 86_400), ("0d", 0),
    (" 7 D ", 7 * 86_400), ("100y", 36_500 * 86_400),
])  # fmt: skip
def test_units_count(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds * SECOND_NS


@pytest.mark.parametrize("text", ["", "d", "7", "7m", "7 days", "-1d", "1.5h", "101y", "9999999999d", "٣d", "7d 3h"])
def test_what_is_no_length_of_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="no length of time") as caught:
        parse_duration(text)
    assert caught.value.subject == text
    assert "30d" in caught.value.next_step
