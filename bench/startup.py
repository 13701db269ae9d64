"""Measures what a user waits for when there is next to nothing to do: start-up and a small unchanged backup."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.measure import Command, CommandError, measure
from bench.place import Job, Place
from bench.results import Run, SetResult
from bench.tools import Tool

VERSION = "version"
UNCHANGED = "unchanged"
SMALL_FOLDER_FILES = 20


def measure_startup(folder: Path, tools: Sequence[Tool], repeats: int, say: Callable[[str], None]) -> SetResult:
    """Measure `repeats` times the version command and the unchanged backup of 20 files."""
    result = SetResult("startup", "tmpfs", SMALL_FOLDER_FILES, SMALL_FOLDER_FILES * 1000)
    data = folder / "few-files"
    data.mkdir(parents=True)
    for number in range(SMALL_FOLDER_FILES):
        (data / f"file-{number}.txt").write_text("line\n" * 200)
    places = {tool.name: Place(folder / tool.name) for tool in tools}
    for tool in tools:
        try:
            _measure_tool(tool, places[tool.name], data, repeats, result)
        except CommandError as failure:
            result.failures.append(f"startup: {tool.name}: {failure}")
            say("FAILED " + result.failures[-1])
    return result


def _measure_tool(tool: Tool, place: Place, data: Path, repeats: int, result: SetResult) -> None:
    place.prepare()
    output = place.root / "output"
    measure(tool.initialise(place), output)
    measure(tool.backup(Job(place, data, "first")), output)
    for number in range(repeats):
        commands: tuple[tuple[str, Command], ...] = (
            (VERSION, tool.version(place)),
            (UNCHANGED, tool.backup(Job(place, data, f"unchanged-{number}"))),
        )
        for phase, command in commands:
            result.runs.append(Run(tool.name, phase, number, measure(command, output)))
