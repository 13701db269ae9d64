"""Sizes, durations and shares as people write and read them."""

import pytest

from shared.errors import UsageError
from siteagent.cli.sizes import parse_share, parse_size, shown_count, shown_duration, shown_size


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (150 << 20, "150 MiB"),
                                            (3 << 40, "3.0 TiB"), (9 << 60, "9216 PiB")])
def test_a_size_is_shown(size: int, text: str) -> None:
    assert shown_size(size) == text


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("500", 500), ("10K", 10240), ("10k", 10240), ("1.5M", 3 << 19),
                                            ("2GiB", 2 << 30), ("2GB", 2 << 30), ("7B", 7), (" 1T ", 1 << 40)])
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "10X", "1,5M", "0x10", "1e9"])
def test_a_senseless_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no size"):
        parse_size(text)


@pytest.mark.parametrize(("seconds", "text"), [(0.25, "0.2 s"), (42.9, "42 s"), (200, "3 min 20 s"),
                                               (7500, "2 h 5 min")])
def test_a_duration_is_shown(seconds: float, text: str) -> None:
    assert shown_duration(seconds) == text


def test_a_count_is_shown_in_groups() -> None:
    assert shown_count(1234567) == "1 234 567"


def test_a_share_is_read() -> None:
    assert parse_share("2/3", "number of shares") == (2, 3)
    assert parse_share("1/1", "share") == (1, 1)


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "a/b", "1/", "-1/3", "1/99999"])
def test_a_senseless_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no share"):
        parse_share(text, "share")
