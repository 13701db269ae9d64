"""Jobs to be cut off or to fail at any of their disk calls, with the files they start from.

Every run of a scenario makes the same calls in the same order: one sealing thread, sources that are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.homes import forget, incompressible
from tests.support.machine import Machine
from tests.support.recorded_disk import Call
from tests.support.survival import Loss
from tests.support.walker import describe


class Scenario:
    """A job to be stopped, the files it starts from, and what has been acknowledged by then."""

    def __init__(self, machine: Machine, start: str, job: Callable[[], None]) -> None:
        self.machine, self.start, self._job = machine, start, job
        self._acknowledged = dict(machine.acknowledged)
        self.older_index = machine.index_of(start)

    def load(self) -> None:
        """Go back to the start."""
        self.machine.load(self.start)
        self.machine.acknowledged = dict(self._acknowledged)

    def record(self) -> list[Call]:
        """Run to the end; returns the calls."""
        self.load()
        self._job()
        return self.machine.tape.calls

    def stop(self, call: Call, loss: Loss, *, keeps_older_index: bool = False) -> None:
        """Run again, stop before this call, and crash."""
        self.load()
        self.machine.tape.stop_when(call.point, call.repeat)
        index = self.older_index if keeps_older_index else None
        assert self.machine.stop(self._job, loss, index), f"{call} did not come again"


def _create(machine: Machine) -> None:
    machine.place.create()


def initialising(machine: Machine) -> Scenario:
    """Making the home."""
    machine.save("nothing")
    return Scenario(machine, "nothing", lambda: _create(machine))


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
    return Scenario(machine, "forgotten", machine.prune)


def spend_a_day(machine: Machine, day: int) -> None:
    """Some files come and stay, some change daily: each day's segments are used wholly, in part or not at all later."""
    source = machine.place.source
    days = source / "days"
    days.mkdir(exist_ok=True)
    for number in (0, 1, 2 + day):
        (days / str(number)).write_bytes(incompressible(f"{day} {number}", 10_000 * (number + 1)))
    if day < 3:
        (source / f"kept {day}").write_bytes(incompressible(f"kept {day}", 2_400_000))
        (source / "large").write_bytes(incompressible(f"large {day}", 2_300_000))
    machine.now = describe(source)


@contextmanager
def told(call: Call) -> Iterator[None]:
    """Say in a failure which call it was."""
    try:
        yield
    except Exception as error:
        error.add_note(f"at {call}")
        raise
