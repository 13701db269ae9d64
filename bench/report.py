"""Turns results into the printed report and into JSON."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.bars import BASE, Verdict
from bench.results import PHASES, SetResult
from bench.startup import UNCHANGED, VERSION

ABSENT = "-"
RUN_HEADS = ("runs", "wall s", "min", "max", "CPU s", "peak MB", "x restic", "worst pair")
SIZE_HEADS = ("repository", "MB", "on disk MB", "index MB", "of restic's", "growth: unchanged MB", "next MB")


@dataclass(frozen=True)
class Report:
    """One whole run: the tools' own version lines by name, what was missing, the figures and the verdicts."""

    versions: dict[str, str]
    missing: tuple[str, ...]
    results: tuple[SetResult, ...]
    verdicts: tuple[Verdict, ...]
    machine: str

    @property
    def failures(self) -> list[str]:
        """Return every failure of every set."""
        return [failure for result in self.results for failure in result.failures]

    def to_text(self) -> str:
        """Return the report as it is printed."""
        parts = [self.machine]
        parts += [f"{name}: {line}" for name, line in self.versions.items()]
        if self.missing:
            parts.append("not on this machine, so not measured: " + ", ".join(self.missing))
        for result in self.results:
            parts += ["", *_set_lines(result)]
        parts += ["", "Bars (the median decides, the peak memory of every run):", *_verdict_lines(self.verdicts)]
        parts += ["", *(f"FAILED {failure}" for failure in self.failures)]
        return "\n".join(parts).rstrip() + "\n"

    def to_json(self) -> str:
        """Return every single run, size and verdict as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def _set_lines(result: SetResult) -> list[str]:
    title = f"== {result.data_set} on {result.medium}: {result.files} files, {result.size_bytes / 1e6:.0f} MB"
    if result.generation_s:
        title += f", made in {result.generation_s:.1f} s"
    phases: tuple[str, ...] = (VERSION, UNCHANGED) if result.data_set == "startup" else PHASES
    lines = [title]
    for phase in phases:
        rows = [_run_row(result, tool, phase) for tool in result.tools(phase)]
        if rows:
            lines += _table((phase, *RUN_HEADS), rows)
    rows = [_size_row(result, tool) for tool in result.tools("first")]
    if rows:
        lines += _table(SIZE_HEADS, rows)
    return lines


def _run_row(result: SetResult, tool: str, phase: str) -> list[str]:
    usages = list(result.usages(tool, phase).values())
    walls = [usage.wall_s for usage in usages]
    ratios = result.times_faster(tool, phase, BASE)
    return [
        tool,
        str(len(usages)),
        f"{median(walls):.3f}",
        f"{min(walls):.3f}",
        f"{max(walls):.3f}",
        f"{median(usage.cpu_s for usage in usages):.2f}",
        f"{max(usage.peak_bytes for usage in usages) / 1e6:.0f}",
        f"{median(ratios):.2f}" if ratios else ABSENT,
        f"{min(ratios):.2f}" if ratios else ABSENT,
    ]


def _size_row(result: SetResult, tool: str) -> list[str]:
    sizes = result.sizes(tool, "first")
    ratios = result.size_ratios(tool, BASE)
    return [
        tool,
        _megabytes(size.content_bytes for size in sizes.values()),
        _megabytes(size.allocated_bytes for size in sizes.values()),
        _megabytes(size.index_bytes for size in sizes.values()),
        f"{median(ratios):.3f}" if ratios else ABSENT,
        _growth(result, tool, "first", "unchanged"),
        _growth(result, tool, "unchanged", "next"),
    ]


def _growth(result: SetResult, tool: str, before: str, after: str) -> str:
    """Return the growth between two phases; `next` follows the last round."""
    starts, ends = result.sizes(tool, before), result.sizes(tool, after)
    if not starts or not ends:
        return ABSENT
    return f"{(ends[max(ends)].content_bytes - starts[max(starts)].content_bytes) / 1e6:.2f}"


def _megabytes(sizes: Iterable[int]) -> str:
    return f"{median(sizes) / 1e6:.1f}"


def _verdict_lines(verdicts: Sequence[Verdict]) -> list[str]:
    rows = [
        [
            verdict.data_set,
            verdict.state,
            verdict.limit,
            ABSENT if verdict.median is None else f"{verdict.median:.3g}",
            ABSENT if verdict.worst is None else f"{verdict.worst:.3g}",
            verdict.title,
        ]
        for verdict in verdicts
    ]
    return _table(("set", "state", "bar", "median", "worst", "what"), rows, right_from=3, right_to=5)


def _table(heads: Sequence[str], rows: list[list[str]], right_from: int = 1, right_to: int = 99) -> list[str]:
    widths = [max(len(row[column]) for row in [list(heads), *rows]) for column in range(len(heads))]
    lines = []
    for row in [list(heads), *rows]:
        cells = [
            cell.rjust(width) if right_from <= column < right_to else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines
