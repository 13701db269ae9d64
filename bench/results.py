"""What a benchmark found: single runs and repository sizes, and the paired ratios made from them."""

from dataclasses import dataclass, field

from bench.measure import Usage
from bench.place import RepositorySize

PHASES = ("first", "unchanged", "restore", "next")
COPY = "cp"


@dataclass(frozen=True)
class Run:
    """One measured process of `tool` in round `number` (from 0)."""

    tool: str
    phase: str
    number: int
    usage: Usage


@dataclass(frozen=True)
class Stored:
    """The size of `tool`'s repository in round `number` after `phase`."""

    tool: str
    phase: str
    number: int
    size: RepositorySize


@dataclass
class SetResult:
    """Everything found with one data set on one medium ("tmpfs" or "disk"); `failures` are ready to print."""

    data_set: str
    medium: str
    files: int = 0
    size_bytes: int = 0
    generation_s: float = 0.0
    runs: list[Run] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def tools(self, phase: str) -> list[str]:
        """Return the tools measured in `phase`, in the order they first ran."""
        return list(dict.fromkeys(run.tool for run in self.runs if run.phase == phase))

    def usages(self, tool: str, phase: str) -> dict[int, Usage]:
        """Return the usage of `tool` in `phase` by round."""
        return {run.number: run.usage for run in self.runs if (run.tool, run.phase) == (tool, phase)}

    def sizes(self, tool: str, phase: str) -> dict[int, RepositorySize]:
        """Return the repository size of `tool` after `phase` by round."""
        return {entry.number: entry.size for entry in self.stored if (entry.tool, entry.phase) == (tool, phase)}

    def times_faster(self, tool: str, phase: str, peer: str) -> list[float]:
        """Return, round by round, how many times faster `tool` was than `peer` (wall clock)."""
        own, other = self.usages(tool, phase), self.usages(peer, phase)
        return [other[number].wall_s / own[number].wall_s for number in sorted(own.keys() & other.keys())]

    def size_ratios(self, tool: str, peer: str) -> list[float]:
        """Return, round by round, the repository of `tool` after the first backup against that of `peer`."""
        own, other = self.sizes(tool, "first"), self.sizes(peer, "first")
        return [own[number].content_bytes / other[number].content_bytes for number in sorted(own.keys() & other.keys())]

    def peaks(self, tool: str) -> list[float]:
        """Return the peak memory of every run of `tool`, in MB."""
        return [run.usage.peak_bytes / 1e6 for run in self.runs if run.tool == tool]
