"""The order of writes, read from the recorded calls and not only from what a crash leaves (invariant 3)."""

from __future__ import annotations

import ast
import errno
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType

import pytest

from shared.errors import FarkeepError
from shared.facts import Fact
from siteagent.disk import durable
from siteagent.home import Home
from siteagent.store import packs
from tests.support.machine import Machine
from tests.support.recorded_disk import WRITES, Call, Tape
from tests.support.scenarios import first, resumed

_ELSEWHERE = {"punch", "can_punch", "set_aside"}
"""Steps of prune and repair, which have tests of their own."""
_SEAM = {"create", "open", "rename", "remove", "make_folder", "sync_folder", "list", "size", "append", "read_at",
         "sync", "close", "punch"}  # fmt: skip


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
    late = [call for call in calls[commit:] if call.operation in WRITES and call.kind.startswith("home/")]
    assert late == []


def test_nothing_a_fact_rests_on_can_still_be_lost(machine: Machine) -> None:
    calls, pending = recorded_backup(machine)
    facts = [call.operation for call in calls if call.operation.startswith("fact ")]
    assert [fact for fact in facts if "PacksStored" in fact], "there was no checkpoint"
    for fact, lost in zip(facts, pending, strict=True):
        assert {path for path in lost if not path.endswith(".part")} == set(), fact


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


def test_every_call_in_the_durable_steps_was_reached(machine: Machine) -> None:
    """A step nobody runs is a step nobody has tested: each call of the seam in these files is on a tape."""
    scenario = resumed(machine)
    sites = {call.site for call in scenario.record()}
    for wanted in (("sync", "home/reaches/#.part"), ("rename", "home/packs/#.pack"), ("sync_folder", "home/packs")):
        tape = machine.load("new")
        tape.fail_at = partial(_fails, wanted)
        with pytest.raises(FarkeepError):
            machine.back_up()
        sites |= {call.site for call in tape.calls}
    missing = {site for site in (*seam_calls(durable), *seam_calls(packs)) if site not in sites}
    assert {site for site in missing if site.split(":")[1] not in _ELSEWHERE} == set()


def _fails(wanted: tuple[str, str], call: Call) -> int | None:
    return errno.EIO if (call.operation, call.kind) == wanted else None


def seam_calls(module: ModuleType) -> Iterator[str]:
    """Every line of a module that calls the seam, as a tape names it."""
    path = inspect.getsourcefile(module) or ""
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SEAM:
                    holder = ast.unparse(node.func.value)
                    if holder in ("disk", "writer", "self._disk", "self._writer"):
                        yield f"{path.rpartition('/siteagent/')[2]}:{function.name}:{node.lineno}"
