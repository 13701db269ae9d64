"""Success means durable: what was reported as stored restores bit for bit after any later crash, and what was reported
as restored is there.

Each job is run once over a recorded disk; a stop at any of its calls is developed from that film in four flavours,
then the home is opened, verified, backed up to again, loses its power once more, and everything ever acknowledged is
read and compared. Without FARKEEP_TEST_LONG=1 (`make crash`) not all of equal calls are tried, but every different
one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.restore.targetsync import sync_target
from tests.support.enumerator import Enumerator, chosen
from tests.support.machine import Machine
from tests.support.places import remove_tree
from tests.support.recorded_disk import Stopped
from tests.support.scenarios import SCENARIOS, Scenario, second, told
from tests.support.survival import FLAVOURS, Loss
from tests.support.tally import Tally
from tests.support.target import SYNCS, Target, copy_tree, lose
from tests.support.walker import compare, describe

MOST = {"first": 60, "second": 70, "resumed": 70}
"""Points of a scenario in a short run; every different call is among them in any case."""
WORLDS = range(3) if os.environ.get("FARKEEP_TEST_LONG") == "1" else range(1)
"""Each world has other changes of the source, and so other calls."""


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("loss", FLAVOURS, ids=lambda loss: loss.value.replace(" ", "-"))
@pytest.mark.parametrize("make", SCENARIOS, ids=lambda make: make.__name__)
def test_a_job_that_is_cut_off(make: Callable[[Machine], Scenario], loss: Loss, world: int, machine: Machine,
                               is_long_run: bool, seed: int, tally: Tally) -> None:
    machine.day = 100 * world
    scenario = make(machine)
    frames = scenario.film()
    tried = frames if is_long_run else chosen(frames, MOST.get(make.__name__, 0))
    assert {frame.call.point for frame in tried} == {frame.call.point for frame in frames}
    enumerator = Enumerator(scenario, loss, seed)
    enumerator.attempt(tried)
    tally("stops of a job (point x flavour)", enumerator.points)
    tally("states looked at after a stop", len(enumerator.states))


@pytest.fixture
def target(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Target:
    """What a restore of the first snapshot of `machine` writes into."""
    monkeypatch.setattr("siteagent.jobs.restore.sync_target", sync_target)
    second(machine).load()
    made = Target()
    made.install(monkeypatch)
    return made


def restore_into(machine: Machine, folder: Path) -> None:
    """One command: open, restore, close."""
    with machine.session() as home:
        newest = home.ledger.history().snapshots[-1]
        request = RestoreRequest(newest, os.fsencode(machine.place.source), str(folder), "user", "host")
        assert restore(home, [request]).errors == []


def earlier_copy(machine: Machine, folder: Path) -> Path:
    """A restored tree with other content under the same names, sizes and times."""
    restore_into(machine, folder)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
            about = path.stat()
            path.write_bytes(b"x" * about.st_size)
            os.utime(path, ns=(about.st_mtime_ns, about.st_mtime_ns))
    return folder


@pytest.mark.parametrize("has_earlier", [False, True], ids=["new", "over-another"])
@pytest.mark.parametrize("loss", FLAVOURS, ids=lambda loss: loss.value.replace(" ", "-"))
def test_a_restore_that_is_cut_off(loss: Loss, has_earlier: bool, machine: Machine, target: Target, tmp_path: Path,
                                   is_long_run: bool, seed: int, tally: Tally) -> None:
    """Run again it ends with exactly the right tree: a file that is there in part is never trusted."""
    wanted = next(iter(machine.acknowledged.values()))
    before = earlier_copy(machine, machine.place.folder.parent / "before") if has_earlier else None
    folder = machine.place.folder.parent / "target"

    def prepare() -> None:
        if folder.exists():
            remove_tree(folder)
        if before is not None:
            copy_tree(before, folder)
        target.begin()

    prepare()
    restore_into(machine, folder)
    calls = target.calls
    assert [call.operation for call in calls[-2:]] == ["target fsync", "target syncfs"]
    tried = [call for place, call in enumerate(calls) if is_long_run or call.repeat == 1 or place % 5 == 0]
    for call in tried:
        with told(call):
            prepare()
            target.stop_at, target.is_torn = lambda other, call=call: other.number == call.number, loss is Loss.TORN
            with pytest.raises(Stopped):
                restore_into(machine, folder)
            target.begin()
            lose(folder, before, loss, Random(f"{seed} {call.number}"))
            restore_into(machine, folder)
            assert compare(wanted, describe(folder)) == []
            assert list(folder.rglob(".farkeep-*")) == []
    tally("stops of a restore (point x flavour)", len(tried))
    assert {call.operation.removeprefix("target ") for call in tried} >= SYNCS
