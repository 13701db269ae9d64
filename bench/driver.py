"""Measures the installed farkeep script beside other backup tools and prints the report (`python -m bench.driver`).

Exits with 1 when a tool failed or a restored tree differed, with 2 when it could not start; a missed bar is reported
and changes nothing: what a shared machine measures is for a reader to judge.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bench.bars import BASE, OURS, judge
from bench.measure import CommandError, measure
from bench.place import Place, folder_size
from bench.plan import CannotStartError, Plan, file_system_type, read_plan
from bench.report import Report
from bench.results import SetResult
from bench.startup import measure_startup
from bench.tools import Tool, find_tools
from bench.trial import Trial

STARTUP_REPEATS = 10
DISK_TOOLS = (OURS, BASE)
REPOSITORY_ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark the command line asks for and return the exit status."""
    plan = read_plan(sys.argv[1:] if arguments is None else arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        report = _run(plan)
    except CannotStartError as reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 2
    print(report.to_text(), end="")
    if plan.json_file:
        plan.json_file.write_text(report.to_json())
    return 1 if report.failures else 0


def _run(plan: Plan) -> Report:
    tools, missing = _find(plan)
    plan.check_room()
    with _work_folder(plan.work, plan.is_kept) as work:
        versions = {tool.name: _version(tool, work / "versions") for tool in tools}
        results = {name: _measure_set(plan, work, name, tools) for name in plan.sets}
        startup_tools = [tool for tool in tools if tool.name in DISK_TOOLS]
        results["startup"] = measure_startup(work / "startup", startup_tools, STARTUP_REPEATS, _say)
        on_disk = [_measure_on_disk(plan, plan.disk, work, name, tools) for name in plan.sets if plan.disk]
    return Report(
        versions=versions,
        missing=tuple(missing),
        results=(*results.values(), *on_disk),
        verdicts=tuple(judge(results)),
        machine=_machine(plan),
    )


def _find(plan: Plan) -> tuple[list[Tool], list[str]]:
    """Find the tools; farkeep, restic and borg, when asked for, have to be there."""
    tools, missing = find_tools(plan.tools, plan.farkeep, os.environ)
    if OURS in missing:
        raise CannotStartError(f"{plan.farkeep} is not there: install farkeep, or name the script with --farkeep")
    if lacking := [name for name in ("restic", "borg") if name in missing]:
        raise CannotStartError(f"{' and '.join(lacking)} missing in /usr/bin: apt install restic borgbackup")
    return tools, missing


def _measure_set(plan: Plan, work: Path, data_set: str, tools: Sequence[Tool]) -> SetResult:
    """Make the data set, run all rounds and the next version; only the changed data stays, for the disk column."""
    data = work / "data" / data_set
    result = SetResult(data_set, "tmpfs")
    result.generation_s = _make(data_set, data, plan.scale(data_set))
    result.files, result.size_bytes = _count_files(data), folder_size(data).content_bytes
    trial = Trial(work / data_set, data, tools, result, _say)
    trial.run_rounds(plan.pairs)
    _make(f"{data_set}-next", data)
    trial.run_next()
    if not plan.is_kept:
        shutil.rmtree(work / data_set)
        if not plan.disk:
            shutil.rmtree(data)
    return result


def _measure_on_disk(plan: Plan, disk: Path, work: Path, data_set: str, tools: Sequence[Tool]) -> SetResult:
    """Run one round of farkeep and restic with data, repositories and restored trees on a disk."""
    source = work / "data" / data_set
    result = SetResult(data_set, "disk", _count_files(source), folder_size(source).content_bytes)
    with _work_folder(disk, plan.is_kept) as folder:
        data = folder / "data"
        subprocess.run(["cp", "-a", source, data], check=True)
        Trial(folder / "trial", data, [tool for tool in tools if tool.name in DISK_TOOLS], result, _say).run_rounds(1)
    return result


def _make(what: str, folder: Path, scale: float = 1.0) -> float:
    """Make or change a data set in a process of its own, so that this one stays small; return the seconds it took."""
    started_s = time.monotonic()
    command = [sys.executable, "-m", "bench.datasets", what, str(folder), "--scale", str(scale)]
    subprocess.run(command, check=True, cwd=REPOSITORY_ROOT, stdout=subprocess.DEVNULL)
    duration_s = time.monotonic() - started_s
    _say(f"{what}: made in {duration_s:.1f} s")
    return duration_s


def _count_files(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def _version(tool: Tool, folder: Path) -> str:
    place = Place(folder / tool.name)
    place.prepare()
    output = place.root / "output"
    try:
        measure(tool.version(place), output)
    except CommandError as failure:
        raise CannotStartError(f"{tool.name} does not even tell its version: {failure}") from failure
    return output.read_text().strip().partition("\n")[0]


@contextmanager
def _work_folder(parent: Path, is_kept: bool) -> Iterator[Path]:
    """Make a folder below `parent` and remove it at the end, whatever the end is."""
    folder = Path(tempfile.mkdtemp(prefix="farkeep-bench-", dir=parent))
    try:
        yield folder
    finally:
        if is_kept:
            _say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _machine(plan: Plan) -> str:
    kind = file_system_type(plan.work)
    line = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    line += f", {plan.pairs} pairs, work on {kind}"
    if plan.disk:
        line += f", disk column on {file_system_type(plan.disk)}"
    if plan.is_quick:
        line += ", quick: small data sets, so the bars are only hints"
    return line if kind == "tmpfs" else line + " (NOT a tmpfs: figures of the tmpfs column are disk figures)"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
