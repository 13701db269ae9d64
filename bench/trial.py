"""Runs all tools over one data set: rounds in alternating order, then one backup of the changed set.

Within a round the phases go over all tools before the next phase starts, so the runs that are compared lie close
together in time: a neighbour that slows the machine down hits both sides of a pair.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.compare import differences
from bench.measure import Command, CommandError, measure
from bench.place import Job, Place
from bench.results import COPY, Run, SetResult, Stored
from bench.tools import Tool
from bench.warm import read_all, touch_memory

PROCESS_BYTES = 300_000_000
ALLOCATION_SHARE = 1.4


class Trial:
    """One data set, one medium, several tools; what is found goes into `result`.

    A tool that fails or restores something else than it was given is noted in `result.failures` and left out of the
    rest. On a disk, writing is flushed before each run and restored trees stay until the end: an ext4 allocator that
    steps over freshly deleted inodes makes the next restore several times slower, whoever runs it.
    """

    def __init__(
        self, folder: Path, data: Path, tools: Sequence[Tool], result: SetResult, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._data = data
        self._tools = list(tools)
        self._result = result
        self._say = say
        self._is_disk = result.medium == "disk"
        self._places: dict[str, Place] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def run_rounds(self, rounds: int) -> None:
        """Measure first backup, unchanged backup and restore `rounds` times; the last round's repositories stay."""
        for number in range(rounds):
            for place in self._places.values():
                shutil.rmtree(place.root)
            self._run_round(number)

    def run_next(self) -> None:
        """Measure one more backup of the data set, changed meanwhile, with each repository of the last round."""
        self._for_each(self._tools, self._back_up, 0, "next")
        self._for_each(self._tools, self._restore, 0, "next")

    def _run_round(self, number: int) -> None:
        step = -1 if number % 2 else 1
        order = self._tools[::step]
        self._places = {tool.name: Place(self._folder / f"round-{number}-{tool.name}") for tool in order}
        self._for_each(order, self._initialise)
        self._for_each(order, self._back_up, number, "first")
        self._for_each(order, self._back_up, number, "unchanged")
        restores: tuple[Callable[[], None], ...] = (
            lambda: self._copy(number),
            lambda: self._for_each(order, self._restore, number, "unchanged"),
        )
        for restore in restores[::step]:
            restore()

    def _for_each(self, tools: Sequence[Tool], step: Callable[..., None], *arguments: object) -> None:
        for tool in list(tools):
            if tool not in self._tools:
                continue
            try:
                step(tool, *arguments)
            except CommandError as failure:
                self._fail(tool.name, str(failure))
                self._tools.remove(tool)

    def _initialise(self, tool: Tool) -> None:
        place = self._places[tool.name]
        place.prepare()
        measure(tool.initialise(place), self._output)

    def _back_up(self, tool: Tool, number: int, phase: str) -> None:
        place = self._places[tool.name]
        read_all(self._data)
        self._measure(tool.name, phase, number, tool.backup(Job(place, self._data, phase)))
        self._result.stored.append(Stored(tool.name, phase, number, tool.repository_size(place)))

    def _restore(self, tool: Tool, number: int, label: str) -> None:
        """Restore the backup `label` and compare it; only that of the unchanged backup is a figure of the report."""
        job = Job(self._places[tool.name], self._data, label)
        job.target.mkdir()
        read_all(job.place.repository)
        if label == "next":
            measure(tool.restore(job), self._output)
        else:
            self._measure(tool.name, "restore", number, tool.restore(job))
        self._check(tool.name, job.target, tool.restored_root(job))

    def _copy(self, number: int) -> None:
        target = self._folder / f"copied-{number}"
        target.mkdir()
        read_all(self._data)
        command = Command(("cp", "-a", f"{self._data}/.", str(target)), {"PATH": os.environ["PATH"]})
        try:
            self._measure(COPY, "restore", number, command)
            self._check(COPY, target, target)
        except CommandError as failure:
            self._fail(COPY, str(failure))

    @property
    def _output(self) -> Path:
        return self._folder / "output"

    def _measure(self, name: str, phase: str, number: int, command: Command) -> None:
        if self._is_disk:
            os.sync()
        touch_memory(PROCESS_BYTES + round(ALLOCATION_SHARE * self._result.size_bytes))
        usage = measure(command, self._output)
        self._result.runs.append(Run(name, phase, number, usage))
        self._say(
            f"{self._result.data_set:7} {self._result.medium:5} round {number + 1} {phase:9} {name:10} "
            f"{usage.wall_s:8.2f} s {usage.cpu_s:8.2f} s CPU {usage.peak_bytes / 1e6:6.0f} MB"
        )

    def _check(self, name: str, target: Path, root: Path) -> None:
        found = differences(self._data, root)
        if not self._is_disk:
            shutil.rmtree(target)
        if found:
            raise CommandError("the restored tree differs: " + "; ".join(found))
        self._say(f"{self._result.data_set:7} {self._result.medium:5} restored tree of {name} is equal")

    def _fail(self, name: str, reason: str) -> None:
        failure = f"{self._result.data_set} on {self._result.medium}: {name}: {reason}"
        self._result.failures.append(failure)
        self._say("FAILED " + failure)
