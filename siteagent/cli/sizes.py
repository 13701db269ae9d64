"""Sizes and durations as people write and read them."""

from __future__ import annotations

import re

from shared.errors import UsageError

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_TEXT_MAX = 40
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?B?)", re.IGNORECASE)


def shown_size(size_bytes: float) -> str:
    """Bytes with a binary unit: `0 B`, `1.4 MiB`."""
    value, unit = float(size_bytes), 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if not unit or value >= 100 else f"{value:.1f} {_UNITS[unit]}"


def parse_size(text: str) -> int:
    """Bytes of `500`, `10M`, `1.5GiB` (K, M, G, T, P count by 1024); raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(text) > _TEXT_MAX:
        raise UsageError("this is no size", subject=text, next_step="write a number of bytes, or 100K, 10M, 1.5G")
    power = " KMGTP".index(match[2].upper() or " ")
    return int(float(match[1]) * 1024**power)


def shown_count(count: int) -> str:
    """A number with thin groups: `12 345`."""
    return f"{count:,}".replace(",", " ")


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 file`, `12 345 files`; `plural` where an s is not enough."""
    return f"{shown_count(count)} {noun if count == 1 else plural or noun + 's'}"


def shown_duration(duration_s: float) -> str:
    """`0.3 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if duration_s < 10:
        return f"{duration_s:.1f} s"
    seconds = int(duration_s)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds // 60 % 60} min"


def parse_share(text: str, what: str) -> tuple[int, int]:
    """The two numbers of `2/3`; raises UsageError. `what` they are is said in the message."""
    first, slash, second = text.partition("/")
    are_numbers = slash and len(text) <= _TEXT_MAX and first.isdecimal() and second.isdecimal()
    if not (are_numbers and 1 <= int(first) <= int(second) <= 10_000):
        raise UsageError(f"this is no {what}", subject=text, next_step="write two numbers like 2/3, the smaller first")
    return int(first), int(second)
