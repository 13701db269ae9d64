"""Lengths of time as people write them: `30min`, `12h`, `30d`, `8w`, `2y`."""

from __future__ import annotations

import re

from shared.errors import UsageError

_SECOND_NS = 1_000_000_000
_DAY_S = 86_400
_UNITS_S = {"min": 60, "h": 3600, "d": _DAY_S, "w": 7 * _DAY_S, "y": 365 * _DAY_S}
_LONGEST_NS = 100 * 365 * _DAY_S * _SECOND_NS
_DURATION = re.compile(r"([0-9]{1,9}) ?(min|h|d|w|y)", re.IGNORECASE)


def parse_duration(text: str) -> int:
    """Nanoseconds of a length of time, 0 to 100 years (a year has 365 days); raises UsageError."""
    match = _DURATION.fullmatch(text.strip())
    duration_ns = int(match[1]) * _UNITS_S[match[2].lower()] * _SECOND_NS if match else -1
    if not 0 <= duration_ns <= _LONGEST_NS:
        raise UsageError("this is no length of time", subject=text,
                         next_step="write a whole number of min, h, d, w or y (30d, 12h), up to 100 years")
    return duration_ns
