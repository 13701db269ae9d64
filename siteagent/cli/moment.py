"""Moments as people and programs write them.

RFC 3339 in UTC with as many groups of three decimals as are needed, for any year (years beyond 9999 get a sign, as in
ISO 8601). Days are converted by the proleptic Gregorian calendar (algorithm of era, day of era, year of era).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from shared.errors import UsageError

_SECOND_NS = 1_000_000_000
_DAY_S = 86400
_ERA_DAYS = 146_097
_LOCAL = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?")
_ZONED = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)")
_HOW = "write RFC 3339 (2026-11-23T07:37:47Z) or local time (2026-11-23, 2026-11-23T07:37, 2026-11-23T07:37:47)"


def rfc3339(time_ns: int) -> str:
    """A moment (nanoseconds since 1970) in UTC, exactly."""
    seconds, rest_ns = divmod(time_ns, _SECOND_NS)
    days, second = divmod(seconds, _DAY_S)
    year, month, day = _date_of(days)
    text = f"{_year(year)}-{month:02}-{day:02}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return text + _decimals(rest_ns) + "Z"


def local_time(time_ns: int) -> str:
    """A moment in the zone of this machine, to the second, for tables."""
    try:
        return f"{datetime.fromtimestamp(time_ns // _SECOND_NS, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return rfc3339(time_ns)


def parse_moment(text: str) -> int:
    """The last nanosecond (since 1970) of the moment that `text` names; raises UsageError.

    What is left out widens the moment: a day means its end, a minute its last second, a second its last nanosecond. So
    "the last one at or before" a time copied from a table finds the snapshot that was shown there.
    """
    zoned, local = _ZONED.fullmatch(text), _LOCAL.fullmatch(text)
    try:
        if zoned is not None:
            return _zoned(zoned)
        if local is not None:
            return _local(local)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"this is no time: {error}", subject=text, next_step=_HOW) from error
    raise UsageError("this is no time", subject=text, next_step=_HOW)


def _zoned(match: re.Match[str]) -> int:
    year, month, day, hour, minute, second = (int(match[place]) for place in range(1, 7))
    offset_s = 0
    if match[8] not in "Zz":
        offset_s = (int(match[8][1:3]) * 3600 + int(match[8][4:6]) * 60) * (-1 if match[8][0] == "-" else 1)
    moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    return (_seconds(moment) - offset_s) * _SECOND_NS + _last_ns(match[7])


def _local(match: re.Match[str]) -> int:
    year, month, day = (int(match[place]) for place in range(1, 4))
    if match[4] is None:
        end = datetime(year, month, day) + timedelta(days=1)
        return _seconds(end.astimezone(UTC)) * _SECOND_NS - 1
    hour, minute = int(match[4]), int(match[5])
    second = 59 if match[6] is None else int(match[6])
    moment = datetime(year, month, day, hour, minute, second, fold=1)
    return _seconds(moment.astimezone(UTC)) * _SECOND_NS + _last_ns(match[7])


def _last_ns(decimals: str | None) -> int:
    return _SECOND_NS - 1 if decimals is None else int(decimals.ljust(9, "0"))


def _seconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))


def _decimals(rest_ns: int) -> str:
    if not rest_ns:
        return ""
    text = f"{rest_ns:09}"
    while text.endswith("000"):
        text = text[:-3]
    return "." + text


def _year(year: int) -> str:
    return f"{year:04}" if 0 <= year <= 9999 else f"{year:+05}"


def _date_of(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a number of days since 1970-01-01."""
    era, day_of_era = divmod(days + 719_468, _ERA_DAYS)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return era * 400 + year_of_era + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1
