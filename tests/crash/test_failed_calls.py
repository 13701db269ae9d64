"""No success after a failed write: every write of a backup fails, once or from then on (invariant 4)."""

from __future__ import annotations

import errno
import os

import pytest

from shared.errors import DamagedError, ExhaustedError, FarkeepError
from siteagent.jobs.verify import verify
from tests.support.machine import Machine
from tests.support.recorded_disk import WRITES, Call
from tests.support.scenarios import Scenario, second, told
from tests.support.survival import Loss

_IS_LONG = os.environ.get("FARKEEP_TEST_LONG") == "1"
_FAMILIES = {errno.ENOSPC: ExhaustedError, errno.EIO: DamagedError}


def writes(scenario: Scenario) -> list[Call]:
    """The calls of a backup that may not fail: all writes, but for the removal of what need not be there."""
    calls = [call for call in scenario.record() if call.operation in WRITES]
    return calls if _IS_LONG else [call for call in calls if call.repeat == 1]


def fail(scenario: Scenario, call: Call, code: int) -> None:
    """Back up with one call failing; the same process must find everything as it was, and succeed the next time."""
    machine = scenario.machine
    scenario.load()
    tape = machine.tape
    tape.fail_once(call.point, call.repeat, code)
    with machine.session() as home:
        before = list(home.ledger.history().snapshot_ids)
        with pytest.raises(FarkeepError) as caught:
            machine.back_up_in(home)
        assert isinstance(caught.value, _FAMILIES[code])
        assert caught.value.subject
        assert caught.value.next_step
        require_no_second_try(tape.calls, call)
        assert home.ledger.history().snapshot_ids[: len(before)] == before
        assert list((machine.place.home / "packs").glob("*.part")) == []
        if call.point[::2] == ("sync_folder", "home/packs"):
            named = [other.path for other in tape.calls if other.point[::2] == ("rename", "home/packs/#.pack")]
            assert not (machine.place.folder / named[call.repeat - 1]).exists()
        machine.require_whole(home, home.ledger.history().snapshots[0])
        newest = machine.back_up_in(home)
        assert home.ledger.history().snapshots[-1].id == newest
        machine.require_whole(home, home.ledger.history().snapshots[-1])
        machine.require_no_litter(home)
    tape.crash(Loss.EVERYTHING)
    assert machine.look() >= 2


def require_no_second_try(calls: list[Call], failed: Call) -> None:
    """A file whose write or sync failed is given up: nothing more is written to it, and it gets no name."""
    if failed.operation not in ("append", "sync"):
        return
    place = next(
        place for place, call in enumerate(calls) if call.point == failed.point and call.repeat == failed.repeat
    )
    path = calls[place].path
    for call in calls[place + 1 :]:
        if call.path == path and call.operation == "create":
            return
        assert call.path != path or call.operation not in ("append", "sync"), call
        assert call.operation != "rename" or not call.path.startswith(path.removesuffix(".part")), call


@pytest.mark.parametrize("code", _FAMILIES, ids=errno.errorcode.get)
def test_a_call_fails_once(code: int, machine: Machine) -> None:
    scenario = second(machine)
    calls = writes(scenario)
    assert {call.operation for call in calls} >= {"create", "append", "sync", "close", "rename", "sync_folder"}
    for call in calls:
        with told(call):
            fail(scenario, call, code)


@pytest.mark.parametrize("code", _FAMILIES, ids=errno.errorcode.get)
def test_the_disk_takes_nothing_any_more(code: int, machine: Machine) -> None:
    """A full or read-only disk: every backup fails, what is there can still be verified and restored."""
    scenario = second(machine)
    scenario.load()
    with machine.session() as home:
        machine.tape.fail_at = lambda call: code if call.operation in WRITES - {"close", "remove"} else None
        for _ in range(2):
            with pytest.raises(_FAMILIES[code]):
                machine.back_up_in(home)
        assert verify(home, "read-data").damaged == []
        machine.require_whole(home, home.ledger.history().snapshots[0])
        machine.tape.fail_at = None
        machine.back_up_in(home)
        machine.require_no_litter(home)
