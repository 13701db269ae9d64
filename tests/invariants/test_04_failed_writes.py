"""No success after a failed write: a full disk, a failing one, a short write, a failed sync or rename ends the job
with a typed error; the file is given up and never synced again. What was acknowledged stays, and the next job works.

Failures come from where the system reports them (tests.support.system), at each different call of each job, once and
for ever. Where a job ends well all the same (a full disk stops no prune, a cache may be missing), what it did must
survive a failure of the power like any success.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest

from shared.errors import DamagedError, ExhaustedError, FarkeepError
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.jobs.verify import verify
from siteagent.ledger.high_water import Verdict
from siteagent.restore.targetsync import sync_target
from tests.support.machine import Machine
from tests.support.places import remove_tree
from tests.support.recorded_disk import WRITES, Call
from tests.support.scenarios import (
    Scenario,
    first,
    forgetting,
    initialising,
    pruning,
    remaking_log,
    repairing_index,
    repairing_log,
    repairing_packs,
    rescuing_log,
    resumed,
    rotating,
    second,
    told,
)
from tests.support.survival import Loss
from tests.support.system import SHORT
from tests.support.tally import Tally
from tests.support.target import SYNCS, Target
from tests.support.walker import compare, describe

FAMILIES = {errno.ENOSPC: ExhaustedError, errno.EDQUOT: ExhaustedError, errno.EIO: DamagedError}
JOBS = (initialising, first, second, resumed, forgetting, rotating, repairing_index, repairing_log, remaking_log,
        rescuing_log, repairing_packs, pruning)  # fmt: skip
MAY_FAIL = ("home/log/history", "home/reserve", "home/restores/")
"""Caches, marks and the reserve: a job may go on without them."""
_WRITTEN_TWICE = (".", "home.head", "home/changes")


def failures(scenario: Scenario, is_long_run: bool) -> list[tuple[Call, int, bool]]:
    """(call, errno, for ever) to be tried: every different write; in a short run codes take turns."""
    calls = [call for call in scenario.record() if call.operation in WRITES]
    calls = [call for call in calls if call.repeat == 1 or is_long_run]
    if is_long_run:
        whole = [(call, code, False) for call in calls for code in FAMILIES] + [
            (call, code, True) for call, code in zip(calls, cycle(FAMILIES))]  # fmt: skip
    else:
        whole = [(call, code, turn % 2 == 1) for turn, (call, code) in enumerate(zip(calls, cycle(FAMILIES)))]
    return whole + [(call, SHORT, True) for call in calls if call.operation == "append"][: None if is_long_run else 3]


def fails_from(call: Call, code: int, *, is_for_ever: bool) -> Callable[[Call], int | None]:
    """This call fails; for ever: every write after it as well."""
    has_begun = False

    def fail(other: Call) -> int | None:
        nonlocal has_begun
        is_it = other.point == call.point and other.repeat == call.repeat
        has_begun = has_begun or is_it
        is_write = other.operation in WRITES - {"close", "remove"}
        return code if is_it or (is_for_ever and has_begun and is_write) else None

    return fail


def must_raise(scenario: Scenario, call: Call, code: int) -> bool:
    """True where there is no way to go on without what failed."""
    if code == SHORT or scenario.makes_cache or call.operation == "remove" or call.kind.startswith(MAY_FAIL):
        return False
    # Mark and notes of changes are written anew, as other files, once the reserve has made room.
    is_full = FAMILIES[code] is ExhaustedError
    return not (is_full and (scenario.may_prune or call.kind.startswith(_WRITTEN_TWICE)))


def attempt(scenario: Scenario, call: Call, code: int, *, is_for_ever: bool) -> FarkeepError | None:
    """Run the job with this failure, then let the power fail; returns what the job raised."""
    machine = scenario.machine
    machine.tape.fail_at = fails_from(call, code, is_for_ever=is_for_ever)
    error: FarkeepError | None = None
    try:
        scenario.job()
    except FarkeepError as caught:
        error = caught
    assert machine.tape.failures, f"{call} did not come again"
    if error is not None:
        assert error.kind != "bug", error
        assert error.subject, error
        assert error.next_step, error
        assert code != SHORT, error
    require_no_second_try(machine.tape.calls, call, code)
    machine.tape.crash(Loss.EVERYTHING)
    return error


def require_next_job(scenario: Scenario, known: set[bytes], *, has_written_all: bool) -> None:
    """What was acknowledged is there and the next backup works; short writes have left no file short."""
    machine = scenario.machine
    if has_written_all:
        with machine.session() as home:
            assert home.ledger.verdict is Verdict.FRESH, "the mark of the log is not what was written"
    told_of = set(machine.acknowledged)
    scenario.again(machine)
    with machine.session() as home:
        newest = machine.back_up_in(home)
        machine.require_no_litter(home)
        shown = machine.require_shown(home, "structure" if scenario.may_prune else "read-data")
        assert known | told_of | {newest} <= {entry.id for entry in shown}
        machine.require_restored(home, [shown[0], shown[-1]] if told_of else shown[-1:])


def require_no_second_try(calls: list[Call], failed: Call, code: int) -> None:
    """A file whose write, sync or close failed is given up: nothing more is written to it, and it gets no name."""
    if failed.operation not in ("append", "sync", "close", "allocate") or code == SHORT:
        return
    place = next(number for number, call in enumerate(calls)
                 if call.point == failed.point and call.repeat == failed.repeat)  # fmt: skip
    path = calls[place].path
    for call in calls[place + 1 :]:
        if call.path == path and call.operation in ("create", "allocate"):
            return
        assert call.path != path or call.operation not in ("append", "sync"), call
        assert call.operation != "rename" or call.path.removesuffix(".pack") != path.removesuffix(".part"), call


@pytest.mark.parametrize("make", JOBS, ids=lambda make: make.__name__)
def test_a_write_fails(make: Callable[[Machine], Scenario], machine: Machine, is_long_run: bool, tally: Tally) -> None:
    scenario = make(machine)
    tried = failures(scenario, is_long_run)
    for call, code, is_for_ever in tried:
        with told(call):
            try:
                scenario.load()
                known = set(machine.acknowledged)
                raised = attempt(scenario, call, code, is_for_ever=is_for_ever)
                assert raised or not must_raise(scenario, call, code), "success after a failed write"
                require_next_job(scenario, known, has_written_all=code == SHORT and not raised)
            except Exception as error:
                error.add_note(f"{errno.errorcode.get(code, 'short write')}, for ever: {is_for_ever}")
                raise
    tally("failed writes (call x failure)", len(tried))


def test_what_was_recorded_counts_where_only_the_mark_could_not_be_written(machine: Machine, tally: Tally) -> None:
    """The disk is full from each of the marks of a prune on: a compaction ends, and the sweep after it knows what the
    log says, that the segments it just wrote are needed."""
    scenario = pruning(machine)
    calls = [call for call in scenario.record() if (call.operation, call.kind) == ("create", "home.head.part")]
    for call in calls:
        with told(call):
            scenario.load()
            known = set(machine.acknowledged)
            attempt(scenario, call, errno.ENOSPC, is_for_ever=True)
            require_next_job(scenario, known, has_written_all=False)
    assert len(calls) >= 6
    tally("failed writes (call x failure)", len(calls))


@pytest.mark.parametrize("code", FAMILIES, ids=errno.errorcode.get)
def test_the_same_process_goes_on_after_the_disk_took_nothing(code: int, machine: Machine) -> None:
    """A full or read-only disk: every backup fails, what is there can still be verified and restored."""
    scenario = second(machine)
    scenario.load()
    with machine.session() as home:
        machine.tape.fail_at = lambda call: code if call.operation in WRITES - {"close", "remove"} else None
        for _ in range(2):
            with pytest.raises(FAMILIES[code]):
                machine.back_up_in(home)
        assert verify(home, "read-data").damaged == []
        machine.require_whole(home, home.ledger.history().snapshots[0])
        machine.tape.fail_at = None
        machine.back_up_in(home)
        machine.require_no_litter(home)


@pytest.mark.parametrize("code", FAMILIES, ids=errno.errorcode.get)
def test_a_pack_whose_name_could_not_be_synced_is_removed(code: int, machine: Machine) -> None:
    """A sync that failed may succeed when it is repeated, with nothing kept: nobody may rest on that pack."""
    scenario = second(machine)
    calls = [call for call in scenario.record() if call.point[::2] == ("sync_folder", "home/packs")]
    scenario.load()
    machine.tape.fail_once(calls[0].point, 1, code)
    with machine.session() as home:
        before = set(home.packs.finished())
        with pytest.raises(FAMILIES[code]):
            machine.back_up_in(home)
        assert set(home.packs.finished()) <= before | home.ledger.history().packs.keys()
        assert home.packs.unfinished() == []


@pytest.mark.parametrize("code", [*FAMILIES, SHORT], ids=lambda code: errno.errorcode.get(code, "short"))
def test_the_target_of_a_restore_fails(code: int, machine: Machine, monkeypatch: pytest.MonkeyPatch, is_long_run: bool,
                                       tally: Tally) -> None:
    """Each change of the target fails, once and from then on: what is not right is named, or the restore fails whole;
    nothing is left half written, and the same command completes it."""
    monkeypatch.setattr("siteagent.jobs.restore.sync_target", sync_target)
    second(machine).load()
    target, folder = Target(), machine.place.folder.parent / "target"
    target.install(monkeypatch)
    wanted = next(iter(machine.acknowledged.values()))
    errors, _ = restore_into(machine, folder)
    assert errors == []
    calls = [call for call in target.calls if (call.repeat == 1 or is_long_run) and (
        code != SHORT or call.operation in ("target write", "target pwrite"))]
    for number, call in enumerate(calls):
        for is_for_ever in (False, True) if is_long_run else (number % 2 == 1,):
            with told(call):
                remove_tree(folder)
                target.begin()
                target.fail_at = _failing(call, code, is_for_ever=is_for_ever)
                errors, error = restore_into(machine, folder)
                require_honest(call, code, wanted, folder, errors, error)
                target.begin()
                assert restore_into(machine, folder) == ([], None)
                assert compare(wanted, describe(folder)) == []
                assert list(folder.rglob(".farkeep-*")) == []
    tally("failed changes of a target (call x failure)", len(calls))


def _failing(call: Call, code: int, *, is_for_ever: bool) -> Callable[[Call], int | None]:
    return lambda other: code if other.number == call.number or (is_for_ever and other.number > call.number) else None


def require_honest(call: Call, code: int, wanted: object, folder: Path, errors: list[bytes],
                   error: BaseException | None) -> None:
    """Either all is there or it is said that not all is."""
    if code == SHORT and call.operation in ("target write", "target pwrite"):
        assert (errors, error) == ([], None)
    if errors or error is not None:
        return
    assert call.operation.removeprefix("target ") not in SYNCS, "success without a sync"
    assert compare(wanted, describe(folder)) == []  # type: ignore[arg-type]


def restore_into(machine: Machine, folder: Path) -> tuple[list[bytes], BaseException | None]:
    """One command; the paths that could not be restored, and what the command ended with."""
    with machine.session() as home:
        newest = home.ledger.history().snapshots[-1]
        request = RestoreRequest(newest, machine.place.path(""), str(folder), "user", "host")
        try:
            result = restore(home, [request])
        except (FarkeepError, OSError) as error:
            return [], error
        return [*(error.path for error in result.errors), *map(os.fsencode, result.answer.reasons)], None
