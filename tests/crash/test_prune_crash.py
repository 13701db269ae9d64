"""A prune that is cut off at any of its disk calls takes nothing that a snapshot needs, and the next one ends it.

Invariant 7: prune deletes nothing reachable, at any interruption.
"""

from __future__ import annotations

import errno
import os

import pytest

from siteagent.jobs.verify import verify
from siteagent.store.successors import Successors
from tests.crash.test_backup_crash import report, selected
from tests.support.machine import Machine
from tests.support.recorded_disk import WRITES, Call
from tests.support.scenarios import pruning, told
from tests.support.survival import Loss

STAYING = 9
_IS_LONG = os.environ.get("FARKEEP_TEST_LONG") == "1"


def test_the_scenario_has_everything_in_it(machine: Machine) -> None:
    pruning(machine).load()
    with machine.session() as home:
        found = machine.prune_in(home)
        assert len(found.snapshots) == 3
        assert found.segments_swept
        assert found.segments_superseded
        assert found.packs_deleted
        assert found.packs_punched
        assert found.packs_repacked
        assert found.bytes_rewritten
        assert found.bytes_freed > 1_000_000
        machine.require_no_litter(home)
    assert machine.check() == machine.look() == STAYING


@pytest.mark.parametrize("loss", Loss if _IS_LONG else [Loss.NOTHING, Loss.EVERYTHING])
def test_a_prune_that_is_cut_off(loss: Loss, machine: Machine, is_long_run: bool,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    scenario = pruning(machine)
    calls = scenario.record()
    tried = calls if is_long_run else selected(calls, False)
    for number, call in enumerate(tried):
        with told(call):
            scenario.stop(call, loss, keeps_older_index=number % 3 == 0)
            require_all_that_stays(machine, prunes_first=number % 2 == 1)
    report(capsys, f"pruning, {loss.value}", calls, tried)
    assert {call.point for call in tried} >= {call.point for call in calls if call.operation in WRITES}


def require_all_that_stays(machine: Machine, *, prunes_first: bool) -> None:
    """After a crash: nothing is damaged, what stays restores, jobs go on, and a power failure takes nothing."""
    if prunes_first:
        machine.prune()
        machine.go_on()
    else:
        machine.look()
        machine.go_on()
        machine.prune()
    machine.tape.crash(Loss.EVERYTHING)
    assert machine.check() == STAYING + 1
    with machine.session() as home:
        again = machine.prune_in(home)
        assert (again.snapshots, again.segments_swept) == ([], 0)
        machine.require_no_litter(home)
        assert verify(home, "read-data").is_good


@pytest.mark.parametrize("first", [1, 3, 9])
def test_a_full_disk_is_freed_all_the_same(first: int, machine: Machine) -> None:
    """From some write on no pack can be written: nothing is compacted or copied, what is superfluous goes."""
    pruning(machine).load()
    tape, writes = machine.tape, list[Call]()

    def fails(call: Call) -> int | None:
        if call.operation == "append" and call.kind == "home/packs/#.part":
            writes.append(call)
        return errno.ENOSPC if len(writes) >= first and call.operation in ("create", "append") and (
            call.kind == "home/packs/#.part") else None  # fmt: skip

    tape.fail_at = fails
    with machine.session() as home:
        found = machine.prune_in(home)
        assert found.segments_swept
        assert found.bytes_freed > 500_000
        assert found.packs_repacked == 0
        assert any("when there is room" in note for note in found.notes)
        assert verify(home, "read-data").is_good
        tape.fail_at = None
        machine.back_up_in(home)
        machine.prune_in(home)
    tape.crash(Loss.EVERYTHING)
    assert machine.check() == STAYING + 1


def test_a_sabotaged_reader_would_be_noticed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison after a prune really reads through what was superseded."""
    pruning(machine).load()
    machine.prune()
    monkeypatch.setattr(Successors, "of", lambda self, name: None)
    with pytest.raises(AssertionError):
        machine.check()
