"""Jobs to be cut off or to fail at any of their disk calls, with the files they start from.

Every run of a scenario makes the same calls in the same order with the same bytes: one sealing thread, sources that are
not touched, time and chance as they were. A new scenario is a function that brings a machine to a start, saves it, and
returns a `Scenario` with the job; `again` is what its user does first after a crash.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from msgspec.structs import replace

from shared.errors import FarkeepError, RefusedError
from siteagent.home import Home
from siteagent.jobs.forget import Manner, forget_named
from siteagent.jobs.keys import change_passphrase, rotate
from siteagent.jobs.record import Who
from siteagent.jobs.repair_index import repair_index
from siteagent.jobs.repair_log import open_broken, repair_log
from siteagent.jobs.repair_packs import repair_packs
from siteagent.jobs.verify import verify
from tests.support.homes import flip, forget, incompressible
from tests.support.machine import Machine, abandon
from tests.support.recorded_disk import Call, Frame, Stopped
from tests.support.survival import Loss
from tests.support.walker import Tree, describe

WHO = Who("user", "host")


def _nothing(machine: Machine) -> None:
    del machine


@dataclass
class Scenario:
    """A job to be stopped, the files it starts from, and what has been acknowledged by then.

    `again`: what a user does after a crash before anything else. `may_prune`: a prune follows as well.
    `makes_cache`: the job makes nothing but a cache, and may end well whatever happens to its record.
    """

    machine: Machine
    start: str
    job: Callable[[], object]
    again: Callable[[Machine], None] = _nothing
    may_prune: bool = False
    makes_cache: bool = False
    moment: tuple[int, int] = (0, 0)
    _acknowledged: dict[bytes, Tree] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._acknowledged = dict(self.machine.acknowledged)
        self.older_index = self.machine.index_of(self.start)

    def load(self) -> None:
        """Go back to the start."""
        self.machine.acknowledged = dict(self._acknowledged)
        self.machine.load(self.start)

    def record(self) -> list[Call]:
        """Run to the end; returns the calls."""
        self.load()
        self.job()
        return self.machine.tape.calls

    def film(self) -> list[Frame]:
        """Run to the end; returns what a stop at each of its calls leaves."""
        self.load()
        tape, place = self.machine.tape, self.machine.place
        tape.is_filming = True
        self.job()
        tape.is_filming = False
        self.moment = place.clock.time_ns + 10**9, place.randomness._at
        return tape.frames

    def stop(self, call: Call, loss: Loss, *, keeps_older_index: bool = False) -> None:
        """Run again, stop before this call, and crash."""
        self.load()
        self.machine.tape.stop_when(call.point, call.repeat)
        index = self.older_index if keeps_older_index else None
        assert self.machine.stop(self.job, loss, index), f"{call} did not come again"


def initialising(machine: Machine) -> Scenario:
    """Making the home."""
    machine.save("nothing")
    return Scenario(machine, "nothing", machine.place.create, again=_make_again)


def _make_again(machine: Machine) -> None:
    """What a user does after an init that was cut off: the same again, and what its refusal says."""
    home = machine.place.home
    if (home / "format").exists():
        return
    try:
        machine.place.create()
    except RefusedError as error:
        assert "key file" in error.next_step or "--key-file" in error.next_step
        assert not any((home / "packs").glob("*"))
        shutil.rmtree(home, ignore_errors=True)
        for name in ("home.key", "home.head"):
            (home.parent / name).unlink(missing_ok=True)
        machine.record()
        machine.place.create()


def first(machine: Machine) -> Scenario:
    """The first backup, with a checkpoint on the way."""
    machine.place.create()
    machine.save("new")
    return Scenario(machine, "new", machine.back_up_slowly)


def second(machine: Machine) -> Scenario:
    """The backup of a changed source."""
    first(machine).record()
    machine.save("first")
    machine.change_source()
    return Scenario(machine, "first", machine.back_up)


def resumed(machine: Machine) -> Scenario:
    """The backup after one that was cut off just before its commit, with a pack unfinished."""
    cut_off = second(machine)
    calls = [call for call in cut_off.record() if call.kind.startswith("home/snapshots") and call.operation == "rename"]
    cut_off.stop(calls[-1], Loss.NOTHING)
    (machine.place.home / "packs" / f"{'0' * 32}.part").write_bytes(b"the beginning of a pack")
    machine.save("cut off")
    return Scenario(machine, "cut off", machine.back_up)


def _with_three_snapshots(machine: Machine) -> None:
    second(machine).record()
    machine.change_source()
    machine.back_up()
    machine.tape.crash(Loss.NOTHING)


def in_home(machine: Machine, job: Callable[[Home], object]) -> Callable[[], None]:
    """One command: open, do it, close."""

    def run() -> None:
        with machine.session() as home:
            machine.place.clock.sleep(60)
            job(home)

    return run


def forgetting(machine: Machine) -> Scenario:
    """Forgetting one of three snapshots: until a prune it is still there, whatever became of the decision."""
    _with_three_snapshots(machine)
    machine.save("three")
    return Scenario(machine, "three", in_home(machine, _forget_first))


def _forget_first(home: Home) -> None:
    forget_named(home, WHO, home.ledger.history().snapshots[:1], Manner())


def verifying(machine: Machine) -> Scenario:
    """Reading everything, which records that it did."""
    _with_three_snapshots(machine)
    machine.save("three")
    return Scenario(machine, "three", in_home(machine, lambda home: verify(home, "read-data")))


def repairing_index(machine: Machine) -> Scenario:
    """Making the index again from the packs."""
    _with_three_snapshots(machine)
    machine.save("three")
    return Scenario(machine, "three", in_home(machine, lambda home: repair_index(home, who=WHO)),
                    makes_cache=True)


def repairing_log(machine: Machine) -> Scenario:
    """The log was put back from an old copy: what is newer is taken back."""
    second(machine).record()
    saved = machine.index_of("first").parent / "log"
    shutil.rmtree(machine.place.home / "log")
    shutil.copytree(saved, machine.place.home / "log")
    machine.save("rewound")
    return Scenario(machine, "rewound", lambda: _repair_log(machine), again=_repair_log)


def remaking_log(machine: Machine) -> Scenario:
    """The log is lost altogether."""
    second(machine).record()
    (machine.place.home / "log" / "log.db").write_bytes(b"this is no database" * 300)
    machine.save("no log")
    return Scenario(machine, "no log", lambda: _repair_log(machine), again=_repair_log)


def rescuing_log(machine: Machine) -> Scenario:
    """The newest fact of the log does not read: those before it are saved."""
    second(machine).record()
    with contextlib.closing(sqlite3.connect(machine.place.home / "log" / "log.db")) as log, log:
        log.execute("UPDATE facts SET envelope = x'00' WHERE place = (SELECT MAX(place) FROM facts)")
    machine.save("broken log")
    return Scenario(machine, "broken log", lambda: _repair_log(machine), again=_repair_log)


def _repair_log(machine: Machine) -> None:
    home = open_broken(machine.place.access, "repair log", machine.place.world)
    try:
        repair_log(home, WHO)
        home.close()
    except BaseException:
        abandon(home)
        raise


def repairing_packs(machine: Machine) -> Scenario:
    """A pack lost its trailer: what is in it is saved."""
    second(machine).record()
    packs = sorted((machine.place.home / "packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    flip(packs[-1], packs[-1].stat().st_size - 1)
    machine.save("damaged")
    return Scenario(machine, "damaged", in_home(machine, repair_packs), again=lambda _: in_home(
        machine, repair_packs)())  # fmt: skip


def rotating(machine: Machine) -> Scenario:
    """A new key epoch and a new site secret."""
    second(machine).record()
    machine.save("second")
    return Scenario(machine, "second", in_home(machine, lambda home: rotate(home, WHO, is_new_secret=True)))


def rotating_epoch(machine: Machine) -> Scenario:
    """A new key epoch alone."""
    second(machine).record()
    machine.save("second")
    return Scenario(machine, "second", in_home(machine, lambda home: rotate(home, WHO, is_new_secret=False)))


def protecting(machine: Machine) -> Scenario:
    """The key file gets a passphrase: afterwards it has one or has none, and opens with the one it has."""
    second(machine).record()
    machine.save("second")

    def job() -> None:
        machine.place.access = replace(machine.place.access, passphrase=None)
        in_home(machine, lambda home: change_passphrase(home, WHO, b"correct horse"))()

    return Scenario(machine, "second", job, again=_try_passphrases)


def _try_passphrases(machine: Machine) -> None:
    errors = []
    for passphrase in (None, b"correct horse"):
        machine.place.access = replace(machine.place.access, passphrase=passphrase)
        try:
            with machine.session():
                return
        except FarkeepError as error:
            errors.append(error)
    raise AssertionError(f"no passphrase opens the key file: {errors}")


def pruning(machine: Machine) -> Scenario:
    """A prune with everything in it: whole packs go, packs get holes, are copied, and segments are compacted."""
    machine.pack_bytes = 8 << 20
    machine.record()
    machine.place.create()
    for day in range(12):
        spend_a_day(machine, day)
        machine.back_up()
    with machine.session() as home:
        ids = home.ledger.history().snapshot_ids
        gone = [ids[1], ids[2], ids[5]]
        forget(home, gone)
    for snapshot in gone:
        machine.forget(snapshot)
    machine.save("forgotten")
    return Scenario(machine, "forgotten", machine.prune, may_prune=True)


def spend_a_day(machine: Machine, day: int) -> None:
    """Some files come and stay, some change daily: each day's segments are used wholly, in part or not at all later."""
    source = machine.place.source
    days = source / "days"
    days.mkdir(exist_ok=True)
    for number in (0, 1, 2 + day):
        (days / str(number)).write_bytes(incompressible(f"{machine.day} {day} {number}", 10_000 * (number + 1)))
    if day < 3:
        (source / f"kept {day}").write_bytes(incompressible(f"{machine.day} kept {day}", 2_400_000))
        (source / "large").write_bytes(incompressible(f"{machine.day} large {day}", 2_300_000))
    machine.now = describe(source)


@contextmanager
def told(call: Call) -> Iterator[None]:
    """Say in a failure which call it was."""
    try:
        yield
    except Exception as error:
        error.add_note(f"at {call}")
        raise
    except Stopped as error:
        raise AssertionError(f"stopped where nothing should: {call}") from error


SCENARIOS = (initialising, first, second, resumed, forgetting, verifying, repairing_index, repairing_log, remaking_log,
             rescuing_log, repairing_packs, rotating, rotating_epoch, protecting, pruning)  # fmt: skip
