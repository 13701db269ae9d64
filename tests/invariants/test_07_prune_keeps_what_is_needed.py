"""Prune deletes nothing reachable, at any interruption: not what a snapshot needs, not the bases of its deltas, not
what a backup that was cut off has stored for its next try.

After each stop the names in the reaches are held against the segments that lie in packs with all their bytes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from siteagent.jobs.verify import verify
from siteagent.store.successors import Successors
from tests.support.machine import Machine
from tests.support.recorded_disk import Call, Frame
from tests.support.scenarios import Scenario, first, pruning, second, told
from tests.support.stock import held, of_run, require_all_needed
from tests.support.survival import FLAVOURS, Loss, outcome
from tests.support.tally import Tally

STAYING = 9


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


def develop(scenario: Scenario, frame: Frame, loss: Loss, number: int) -> None:
    """Make the files what a stop left."""
    at_ns, bits = scenario.moment
    found = outcome(frame.picture, loss, Random(f"{number} {loss}"))
    scenario.machine.develop(frame, found, "gone" if number % 3 else "as it was", None, (at_ns, bits + (number << 24)))


@pytest.mark.parametrize("loss", FLAVOURS, ids=lambda loss: loss.value.replace(" ", "-"))
def test_what_is_needed_is_there_after_every_stop(loss: Loss, machine: Machine, is_long_run: bool,
                                                  tally: Tally) -> None:
    scenario = pruning(machine)
    frames = scenario.film()
    changes = [now for before, now in pairwise(frames) if now.picture is not before.picture]
    changes = [*changes, frames[-1]]
    tried = changes if is_long_run else changes[:: max(1, len(changes) // 8)]
    for number, frame in enumerate(tried):
        with told(frame.call):
            develop(scenario, frame, loss, number)
            with machine.session() as home:
                require_all_needed(home)
                if number % 4 == 0:
                    machine.prune_in(home)
                    require_all_needed(home)
                    machine.require_no_litter(home)
            if number % 4 == 0:
                machine.tape.crash(Loss.EVERYTHING)
                with machine.session() as home:
                    require_all_needed(home)
                    again = machine.prune_in(home)
                    assert (again.snapshots, again.segments_swept) == ([], 0)
    tally("reaches held against packs after a stop", len(tried))


@pytest.mark.parametrize("make", [first, second], ids=lambda make: make.__name__)
def test_a_prune_keeps_what_a_cut_off_backup_has_stored(make: Callable[[Machine], Scenario], machine: Machine,
                                                         tally: Tally) -> None:
    """Its packs are there for the next try, which takes them over and writes nothing of them again."""
    scenario = make(machine)
    frames = scenario.film()
    kept = 0
    tried = [frame for frame in frames
             if frame.call.operation == "rename" or frame.call.kind.startswith("home/reaches")]  # fmt: skip
    for number, frame in enumerate(tried):
        with told(frame.call):
            develop(scenario, frame, Loss.NOTHING, number)
            with machine.session() as home:
                run = next((job.run for job in home.ledger.history().open_jobs if job.run), b"")
                before = of_run(held(home), run)
                machine.prune_in(home)
                assert before <= held(home), "a draft lost segments"
                kept += len(before)
                require_all_needed(home)
                machine.back_up_in(home)
                require_all_needed(home)
    assert kept
    tally("prunes after a backup that was cut off", len(tried))


@pytest.mark.parametrize("from_write", [1, 3, 9])
def test_a_full_disk_is_freed_all_the_same(from_write: int, machine: Machine) -> None:
    """From some write on no pack can be written: nothing is compacted or copied, what is superfluous goes."""
    pruning(machine).load()
    tape, writes = machine.tape, list[Call]()

    def fails(call: Call) -> int | None:
        if call.operation == "append" and call.kind == "home/packs/#.part":
            writes.append(call)
        return errno.ENOSPC if len(writes) >= from_write and call.operation in ("create", "append") and (
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
