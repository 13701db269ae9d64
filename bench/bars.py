"""The bars farkeep has to clear against Debian 12's restic 0.14, and how a run stands to them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from bench.results import COPY, SetResult
from bench.startup import UNCHANGED, VERSION

OURS = "farkeep"
BASE = "restic"


@dataclass(frozen=True)
class Bar:
    """One demand: `figures` of `data_set` have to reach (or, for a ceiling, stay below) `limit`.

    The median decides; where `is_for_all` every single figure has to clear the bar.
    """

    data_set: str
    title: str
    limit: float
    unit: str
    figures: Callable[[SetResult], list[float]]
    is_ceiling: bool = False
    is_for_all: bool = False


@dataclass(frozen=True)
class Verdict:
    """How one bar was cleared; `state` is "met", "missed" or "not measured"."""

    data_set: str
    title: str
    limit: str
    state: str
    median: float | None = None
    worst: float | None = None


def _faster(phase: str, peer: str = BASE) -> Callable[[SetResult], list[float]]:
    return lambda result: result.times_faster(OURS, phase, peer)


def _share_of_copy(result: SetResult) -> list[float]:
    return [1 / ratio for ratio in result.times_faster(OURS, "restore", COPY)]


def _size_ratios(result: SetResult) -> list[float]:
    return result.size_ratios(OURS, BASE)


def _peaks(result: SetResult) -> list[float]:
    return result.peaks(OURS)


def _walls(phase: str) -> Callable[[SetResult], list[float]]:
    return lambda result: [usage.wall_s for usage in result.usages(OURS, phase).values()]


def _set_bars(data_set: str, first: float, unchanged: float, restore: float, size: float) -> tuple[Bar, ...]:
    return (
        Bar(data_set, "first backup, times faster than restic", first, "x", _faster("first")),
        Bar(data_set, "unchanged backup, times faster than restic", unchanged, "x", _faster("unchanged")),
        Bar(data_set, "full restore, times faster than restic", restore, "x", _faster("restore")),
        Bar(data_set, "repository against restic's", size, "", _size_ratios, is_ceiling=True),
        Bar(data_set, "peak memory of any run", 220, "MB", _peaks, is_ceiling=True, is_for_all=True),
    )


BARS = (
    *_set_bars("small", 2.4, 5.0, 3.5, 0.85),
    Bar("small", "full restore against cp -a", 1.0, "x", _share_of_copy, is_ceiling=True),
    *_set_bars("big", 2.1, 2.5, 1.8, 0.97),
    Bar("startup", "farkeep version", 0.1, "s", _walls(VERSION), is_ceiling=True),
    Bar("startup", "unchanged backup of a small folder", 0.25, "s", _walls(UNCHANGED), is_ceiling=True),
)


def judge(results: Mapping[str, SetResult]) -> list[Verdict]:
    """Judge every bar by the results, given by data set's name (those measured in tmpfs)."""
    return [_judge_bar(bar, results.get(bar.data_set)) for bar in BARS]


def _judge_bar(bar: Bar, result: SetResult | None) -> Verdict:
    limit = f"{'<=' if bar.is_ceiling else '>='} {bar.limit:g} {bar.unit}".rstrip()
    figures = bar.figures(result) if result else []
    if not figures:
        return Verdict(bar.data_set, bar.title, limit, "not measured")
    middle = median(figures)
    worst = max(figures) if bar.is_ceiling else min(figures)
    deciding = worst if bar.is_for_all else middle
    is_met = deciding <= bar.limit if bar.is_ceiling else deciding >= bar.limit
    return Verdict(bar.data_set, bar.title, limit, "met" if is_met else "missed", middle, worst)
