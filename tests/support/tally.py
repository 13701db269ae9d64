"""Counting what a run tried, so that its end can say how many crash points, flips or names there were and at what cost.

A test's counts travel with its report (pytest-xdist hands those over); counts of one name are added up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import pytest

Tally = Callable[[str, int], None]
_PREFIX = "tally "


def counting(record_property: Callable[[str, object], None]) -> Tally:
    """A function that counts `points` of a name for the test whose `record_property` this is."""

    def count(name: str, points: int) -> None:
        assert points > 0, f"no {name} at all were tried"
        record_property(_PREFIX + name, points)

    return count


def tallied(reports: Iterable[pytest.TestReport]) -> Iterator[str]:
    """A line per name: how many in how many tests, and what one of them took."""
    points, seconds, tests = defaultdict[str, int](int), defaultdict[str, float](float), defaultdict[str, int](int)
    for report in reports:
        names = {name.removeprefix(_PREFIX) for name, _ in report.user_properties if name.startswith(_PREFIX)}
        for name, value in report.user_properties:
            if name.startswith(_PREFIX) and isinstance(value, int):
                points[name.removeprefix(_PREFIX)] += value
        for name in names:
            seconds[name] += report.duration / len(names)
            tests[name] += 1
    for name in sorted(points):
        cost_ms = seconds[name] * 1000 / points[name]
        yield f"{name}: {points[name]} in {tests[name]} tests, {cost_ms:.2f} ms each"
