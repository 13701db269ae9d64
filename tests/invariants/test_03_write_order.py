"""The order is pack, manifest, event, each synced with its folder: read from the recorded calls, not only from what a
crash leaves.
"""

from __future__ import annotations

import ast
import errno
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

import siteagent
from shared.errors import FarkeepError
from shared.facts import Fact
from siteagent.disk.local import LocalDisk, LocalReader, LocalWriter
from siteagent.home import Home
from siteagent.jobs.listing import stats
from tests.support.machine import Machine
from tests.support.recorded_disk import WRITES, Call, Tape
from tests.support.scenarios import SCENARIOS, Scenario, first, initialising, rotating_epoch, second, told
from tests.support.survival import Loss, outcome
from tests.support.tally import Tally

_SEAM = {"create", "open", "rename", "remove", "make_folder", "sync_folder", "list", "size", "append", "read_at",
         "sync", "close", "punch", "allocate", "allocated", "free_bytes"}  # fmt: skip
_HOLDERS = {"disk", "self._disk", "home.disk", "beside", "files", "above", "writer", "self._writer",
            "self.disk"}  # fmt: skip
_OTHER_WRITERS = {"disk/local.py", "jobs/compaction.py"}
"""What is called a disk or writer there is another thing."""
PRODUCT = Path(siteagent.__file__).parent


@contextmanager
def noting_facts(home: Home, tape: Tape, at_fact: Callable[[set[str]], None]) -> Iterator[None]:
    """Put every append to the log on the tape, by the kinds of its facts, before it is made."""
    record = home.ledger.record

    def noted(*facts: Fact) -> object:
        kinds = [type(fact.clear).__name__ for fact in facts]
        if kinds:
            tape.note("fact " + " ".join(kinds))
            at_fact(tape.survival.pending())
        return record(*facts)

    home.ledger.record = noted  # type: ignore[assignment,method-assign]
    yield


def recorded_backup(machine: Machine) -> tuple[list[Call], list[set[str]]]:
    """The calls of a first backup with facts among them, and what was not durable at each fact."""
    first(machine)
    tape, pending = machine.load("new"), list[set[str]]()
    with machine.session() as home, noting_facts(home, tape, pending.append):
        machine.back_up_in(home, is_slow=True)
    return tape.calls, pending


def place(calls: list[Call], operation: str, kind: str, *, is_last: bool = False) -> int:
    """Where the first (or last) such call stands; fails when there is none."""
    found = [number for number, call in enumerate(calls) if call.operation.startswith(operation) and call.kind == kind]
    assert found, f"no {operation} of {kind}"
    return found[-1 if is_last else 0]


def test_packs_then_reach_and_manifest_then_the_fact_then_the_mark(machine: Machine) -> None:
    calls, _ = recorded_backup(machine)
    commit = next(number for number, call in enumerate(calls) if "SnapshotTaken" in call.operation)
    packs_named = place(calls, "sync_folder", "home/packs", is_last=True)
    reach, manifest = (
        place(calls, "create", "home/reaches/#.part"),
        place(calls, "create", "home/snapshots/#.manifest.part"),
    )
    assert packs_named < reach < place(calls, "sync_folder", "home/reaches") < manifest
    assert manifest < place(calls, "sync_folder", "home/snapshots") < commit
    assert commit < place(calls, "create", "home.head.part", is_last=True)
    late = [call for call in calls[commit:] if call.operation in WRITES and call.kind.startswith("home/")
            and not call.kind.startswith("home/log/history")]  # fmt: skip
    assert late == []


def test_nothing_a_fact_rests_on_can_still_be_lost(machine: Machine) -> None:
    calls, pending = recorded_backup(machine)
    facts = [call.operation for call in calls if call.operation.startswith("fact ")]
    assert [fact for fact in facts if "PacksStored" in fact], "there was no checkpoint"
    for fact, lost in zip(facts, pending, strict=True):
        assert {path for path in lost if not path.endswith(".part")} == set(), fact


@pytest.mark.parametrize("make", [initialising, second, rotating_epoch], ids=lambda make: make.__name__)
def test_nothing_a_fact_rests_on_can_be_lost_after_a_clean_stop(make: Callable[[Machine], Scenario], machine: Machine,
                                                                tally: Tally) -> None:
    """What a process that is gone gave a name without a sync is synced before a fact of the next one counts on it."""
    scenario = make(machine)
    frames = [frame for frame in scenario.film() if frame.call.operation in ("rename", "sync_folder")]
    for number, frame in enumerate(frames):
        at_ns, bits = scenario.moment
        found = outcome(frame.picture, Loss.NOTHING, Random(number))
        machine.develop(frame, found, "as it was", None, (at_ns, bits + (number << 24)))
        scenario.again(machine)
        tape, pending = machine.tape, list[set[str]]()
        with told(frame.call), machine.session() as home, noting_facts(home, tape, pending.append):
            machine.back_up_in(home)
        for lost in pending:
            shaky = {os.path.relpath(path, machine.place.folder) for path in lost & set(tape.survival.names())}
            assert {path for path in shaky if not path.startswith(_SHAKY) and not path.endswith(".part")} == set()
    tally("clean stops before a rename or its sync", len(frames))


_SHAKY = ("home.head", "home/log/history", "home/reserve")
"""The mark follows the fact; nothing rests on a cache or on the reserve."""


@pytest.mark.parametrize("kind", ["home/packs/#", "home/reaches/#", "home/snapshots/#.manifest", "home.head"])
def test_every_file_is_synced_before_it_gets_its_name_and_the_name_after(kind: str, machine: Machine) -> None:
    calls, _ = recorded_backup(machine)
    part, final = kind + ".part", kind + (".pack" if kind == "home/packs/#" else "")
    paths = {call.path for call in calls if call.operation == "create" and call.kind == part}
    folder = kind.rpartition("/")[0] or "."
    assert paths
    for path in paths:
        own = [(number, call) for number, call in enumerate(calls) if call.path.partition(".part")[0].removesuffix(
            ".pack") == path.removesuffix(".part")]  # fmt: skip
        steps = [call.operation for _, call in own if call.operation in ("create", "append", "sync", "rename")]
        while "append" in steps[2:]:
            steps.pop(steps.index("append", 2))
        assert steps[:4] == ["create", "append", "sync", "rename"], path
        named = next(number for number, call in own if call.operation == "rename" and call.kind == final)
        assert "sync_folder" in [call.operation for call in calls[named + 1 : named + 2] if call.kind == folder], path


def test_every_call_of_the_disk_is_reached(machine_of: Callable[[], Machine], tally: Tally) -> None:
    """A step nobody runs is a step nobody has tested: each method of the disk, each line that calls one."""
    points = set[tuple[str, str, str]]()
    for make in SCENARIOS:
        calls = [frame.call for frame in make(machine_of()).film()]
        points |= {call.point for call in calls}
    points |= failing_points(machine_of()) | other_points(machine_of())
    operations = {operation for operation, _, _ in points}
    methods = {(kind.__name__, name) for kind in (LocalDisk, LocalWriter, LocalReader)
               for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}  # fmt: skip
    assert {_OPERATIONS.get(method, method[1]) for method in methods} <= operations
    reached = {(site.split(":")[0], int(site.rpartition(":")[2])) for _, site, _ in points if ":" in site}
    missing = {f"{place}:{function}" for place, function, lines in all_seam_calls()
               if not any((place, line) in reached for line in lines)}  # fmt: skip
    assert sorted(missing) == sorted(UNREACHED)
    kinds = {kind for _, _, kind in points}
    assert {"home.head", "home.head.part", "home.key", "home.key.part"} <= kinds, "the disk beside the home"
    tally("distinct (operation, call site, kind of file)", len(points))


_MIGRATION = "tests/invariants/test_02_a_migration_cut_off.py"
UNREACHED = {
    **{f"migration.py:{step}": _MIGRATION for step in
       ("list", "make_folder", "remove", "rename", "settle")},
    "restore/mark.py:make": "tests/e2e/test_restore_hostile.py",
    "store/changes.py:replace": "tests/unit/siteagent/jobs/test_repair_log.py",
    "store/packs.py:set_aside": "tests/unit/siteagent/jobs/test_repair_packs.py",
    "store/snapshots.py:set_aside": "tests/unit/siteagent/jobs/test_repair_log.py",
}
"""Lines that only another test reaches, and which."""
_OPERATIONS = {("LocalWriter", "read_at"): "read_back", ("LocalReader", "close"): "close reader"}


def failing_points(machine: Machine) -> set[tuple[str, str, str]]:
    """The calls that are made only when another one failed."""
    first(machine)
    points = set[tuple[str, str, str]]()
    for wanted in (("sync", "home/reaches/#.part"), ("rename", "home/packs/#.pack"), ("sync_folder", "home/packs")):
        tape = machine.load("new")
        tape.fail_at = partial(_fails, wanted)
        with pytest.raises(FarkeepError):
            machine.back_up()
        points |= {call.point for call in tape.calls}
    return points


def other_points(machine: Machine) -> set[tuple[str, str, str]]:
    """Figures, a full disk beside a log, and a home whose folder above is missing as well."""
    first(machine)
    tape = machine.load("new")
    with machine.session() as home:
        stats(home)
        tape.fail_at = lambda call: errno.ENOSPC if call.kind == "home.head.part" and call.operation == "append" and (
            call.repeat == 1) else None  # fmt: skip
        machine.back_up_in(home)
        assert not (machine.place.home / "reserve").exists()
    machine.place.access = replace(machine.place.access, home=str(machine.place.folder / "above" / "home"))
    machine.place.create()
    return {call.point for call in tape.calls}


def _fails(wanted: tuple[str, str], call: Call) -> int | None:
    return errno.EIO if (call.operation, call.kind) == wanted else None


def all_seam_calls() -> Iterator[tuple[str, str, range]]:
    """(file, function, lines) of every call of the seam that the agent makes."""
    for path in sorted(PRODUCT.rglob("*.py")):
        place = path.relative_to(PRODUCT).as_posix()
        if place not in _OTHER_WRITERS:
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef):
                    yield from ((place, function.name, lines) for lines in _calls_in(function))


def _calls_in(function: ast.FunctionDef) -> Iterator[range]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in _SEAM and ast.unparse(node.func.value) in _HOLDERS:
            yield range(node.lineno, (node.end_lineno or node.lineno) + 1)
