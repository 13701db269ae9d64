"""Moments as people and programs write them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UsageError
from siteagent.cli.moment import local_time, parse_moment, rfc3339

SECOND_NS = 10**9


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone east of Greenwich with summer time."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("time_ns", "text"), [
    (0, "1970-01-01T00:00:00Z"), (1, "1970-01-01T00:00:00.000000001Z"), (-1, "1969-12-31T23:59:59.999999999Z"),
    (1_500_000_000, "1970-01-01T00:00:01.500Z"), (1_000_001_000, "1970-01-01T00:00:01.000001Z"),
    (-62_167_219_200 * SECOND_NS, "0000-01-01T00:00:00Z"), (-62_167_219_201 * SECOND_NS, "-0001-12-31T23:59:59Z"),
    (253_402_300_800 * SECOND_NS, "+10000-01-01T00:00:00Z"), (951_782_400 * SECOND_NS, "2000-02-29T00:00:00Z"),
    (4_107_542_400 * SECOND_NS, "2100-03-01T00:00:00Z"),
])  # fmt: skip
def test_a_moment_is_written_exactly(time_ns: int, text: str) -> None:
    assert rfc3339(time_ns) == text


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_the_calendar_is_that_of_datetime(seconds: int) -> None:
    assert rfc3339(seconds * SECOND_NS) == f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}".rjust(20, "0")


@given(st.integers(0, 253_402_300_799 * SECOND_NS))
def test_what_is_written_with_decimals_is_read_back_exactly(time_ns: int) -> None:
    text = rfc3339(time_ns)
    assert parse_moment(text) == (time_ns if "." in text else time_ns + SECOND_NS - 1)


@pytest.mark.parametrize(("text", "time_ns"), [
    ("1970-01-01T00:00:00Z", SECOND_NS - 1), ("1970-01-01T00:00:00.5Z", SECOND_NS // 2),
    ("1970-01-01T01:00:00+01:00", SECOND_NS - 1), ("1969-12-31t23:00:00-01:00", SECOND_NS - 1),
    ("1970-01-01T00:00:00.000000007z", 7),
])  # fmt: skip
def test_a_zoned_moment_is_read(text: str, time_ns: int) -> None:
    assert parse_moment(text) == time_ns


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(("text", "end"), [
    ("2026-01-15", "2026-01-15T22:59:59.999999999Z"), ("2026-07-15", "2026-07-15T21:59:59.999999999Z"),
    ("2026-01-15T10:00", "2026-01-15T09:00:59.999999999Z"), ("2026-01-15T10:00:07", "2026-01-15T09:00:07.999999999Z"),
    ("2026-01-15 10:00:07.25", "2026-01-15T09:00:07.250Z"), ("2026-03-29", "2026-03-29T21:59:59.999999999Z"),
])  # fmt: skip
def test_a_local_moment_means_the_end_of_what_it_says(text: str, end: str) -> None:
    assert rfc3339(parse_moment(text)) == end


@pytest.mark.usefixtures("zone")
def test_a_local_time_copied_from_a_table_covers_the_moment_it_shows() -> None:
    moment_ns = 1_790_000_000_987_654_321
    assert 0 <= parse_moment(local_time(moment_ns)) - moment_ns < SECOND_NS


def test_a_time_beyond_every_calendar_is_shown_all_the_same() -> None:
    assert local_time(10**9 * SECOND_NS * 1000) == rfc3339(10**9 * SECOND_NS * 1000)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-02-30", "2026-01-01T25:00", "26-01-01",
                                  "2026-01-01T10", "2026-01-01T10:00:00 Z", "9999-12-31T10:00:00+99:99x"])
def test_anything_else_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_moment(text)
    assert "RFC 3339" in caught.value.next_step
