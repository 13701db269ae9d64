"""A backup that is cut off at any of its disk calls leaves what was acknowledged, and the next one works.

Invariants 1 and 2: success means durable, one commit point. Without FARKEEP_TEST_LONG=1 (`make crash`) not all of equal
calls are tried, but every different one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import RefusedError
from tests.support.machine import Machine
from tests.support.places import remove_tree
from tests.support.recorded_disk import WRITES, Call
from tests.support.scenarios import Scenario, first, initialising, resumed, second, told
from tests.support.survival import Loss

_IS_LONG = os.environ.get("FARKEEP_TEST_LONG") == "1"


def selected(calls: list[Call], is_thorough: bool) -> list[Call]:
    """The calls to stop at when there is little time: writes, the first of each kind and the last of some, or more."""
    last = Counter(call.point for call in calls)
    ends = WRITES if is_thorough else {"rename", "sync_folder"}
    return [
        call
        for call in calls
        if (call.repeat == 1 and (is_thorough or call.operation in WRITES))
        or (call.repeat == last[call.point] and call.operation in ends)
    ]


_CASES = [(make, loss) for make in (first, second, resumed) for loss in Loss]
_SHORT_CASES = [case for case in _CASES if case[1] is not Loss.CONTENT or case[0] is first]


@pytest.mark.parametrize(("make", "loss"), _CASES if _IS_LONG else _SHORT_CASES)
def test_a_backup_that_is_cut_off(make: Callable[[Machine], Scenario], loss: Loss, machine: Machine,
                                  is_long_run: bool, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = make(machine)
    calls = scenario.record()
    tried = calls if is_long_run else selected(calls, loss is Loss.EVERYTHING and make is not resumed)
    for number, call in enumerate(tried):
        with told(call):
            scenario.stop(call, loss, keeps_older_index=number % 3 == 0)
            require_survival(machine, looks_first=number % 2 == 1)
    report(capsys, f"{make.__name__}, {loss.value}", calls, tried)
    writes = {call.point for call in calls if call.operation in WRITES}
    assert {call.point for call in tried} >= writes


def require_survival(machine: Machine, *, looks_first: bool) -> None:
    """After a crash: all that was acknowledged is there, the next backup works, and that one survives a power failure.

    What was written before a clean stop is not durable by itself: if the next backup relies on it, it must see to it.
    """
    known = len(machine.acknowledged)
    if looks_first:
        assert machine.check() - known in (0, 1)
    machine.go_on()
    machine.tape.crash(Loss.EVERYTHING)
    shown = machine.look() if looks_first else machine.check()
    assert shown - known in (1, 2)


@pytest.mark.parametrize("loss", [Loss.NOTHING, Loss.EVERYTHING])
def test_an_init_that_is_cut_off(loss: Loss, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = initialising(machine)
    calls = scenario.record()
    for call in calls:
        with told(call):
            scenario.stop(call, loss)
            try_again(machine)
            machine.back_up()
            machine.tape.crash(Loss.EVERYTHING)
            assert machine.check() == 1
    report(capsys, f"initialising, {loss.value}", calls, calls)


def try_again(machine: Machine) -> None:
    """What a user does after an init that was cut off: the same again, and what its refusal says."""
    if (machine.place.home / "format").exists():
        return
    try:
        machine.place.create()
    except RefusedError as error:
        assert "key file" in error.next_step or "--key-file" in error.next_step
        assert not (machine.place.home / "packs").exists() or not os.listdir(machine.place.home / "packs")
        remove_tree(machine.place.home)
        Path(machine.place.access.key_path).unlink()
        machine.record()
        machine.place.create()


def report(capsys: pytest.CaptureFixture[str], what: str, calls: list[Call], tried: list[Call]) -> None:
    """Say how much was covered."""
    reached = len({call.point for call in calls})
    with capsys.disabled():
        print(f"\n{what}: stopped at {len(tried)} of {len(calls)} calls, {len({call.point for call in tried})} of "
              f"{reached} different ones", flush=True)  # fmt: skip


def test_the_second_backup_stores_deltas_of_files_and_of_pages(machine: Machine) -> None:
    """Else stopping it at every call would say nothing about them."""
    second(machine).record()
    with machine.session() as home:
        tables = [home.reader.table(name).table for name in home.index.segments()]
        assert {bool(table.sides) for table in tables if table.bases} == {True, False}
