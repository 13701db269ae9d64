"""Stopping a job at its calls, in every way a machine stops, and asking afterwards what must hold.

A point is a stop at one call of one scenario; each is tried in the flavours of `tests.support.survival`. What several
stops leave alike, down to the last byte, is looked at once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.support.machine import Machine
from tests.support.recorded_disk import WRITES, Frame
from tests.support.scenarios import Scenario, told
from tests.support.survival import Loss, outcome

_INDEXES = {Loss.NOTHING: ("as it was",), Loss.TORN: ("as it was", "older"), Loss.CONTENT: ("gone",),
            Loss.EVERYTHING: ("gone", "older"), Loss.REORDERED: ("as it was", "gone", "older")}  # fmt: skip
_BITS_PER_POINT = 1 << 24


def chosen(frames: Sequence[Frame], most: int) -> list[Frame]:
    """Every different call at least once (its first and, of writes, its last), then others evenly, up to `most`."""
    last = Counter(frame.call.point for frame in frames)
    wanted = {place for place, frame in enumerate(frames) if frame.call.repeat == 1}
    ends = [place for place, frame in enumerate(frames)
            if frame.call.operation in WRITES and frame.call.repeat == last[frame.call.point]]  # fmt: skip
    rest = [place for place in range(len(frames)) if place not in wanted and place not in ends]
    for group in (ends, rest):
        group = [place for place in group if place not in wanted]
        room = max(0, most - len(wanted))
        wanted.update(group[number * len(group) // room] for number in range(room) if len(group) > room)
        wanted.update(group if len(group) <= room else ())
    return [frames[place] for place in sorted(wanted)]


@dataclass
class Enumerator:
    """Tries the points of one scenario in one flavour."""

    scenario: Scenario
    loss: Loss
    seed: int
    points: int = 0
    states: set[object] = field(default_factory=set)

    def attempt(self, frames: Sequence[Frame]) -> None:
        """Try these."""
        for frame in frames:
            with told(frame.call):
                self._try(frame)

    def _try(self, frame: Frame) -> None:
        self.points += 1
        chance = Random(f"{self.seed} {self.loss.value} {frame.call.point} {frame.call.repeat}")
        found = outcome(frame.picture, self.loss, chance)
        index = chance.choice(_INDEXES[self.loss])
        if not os.path.isdir(self.scenario.older_index) and index == "older":
            index = "gone"
        shown = (found.identity, index, tuple(frame.told),
                 tuple(item for item in frame.outside.items() if index == "as it was" or item[0].startswith("log")))
        if shown in self.states:
            return
        self.states.add(shown)
        at_ns, bits = self.scenario.moment
        machine = self.scenario.machine
        machine.develop(frame, found, index, self.scenario.older_index, (at_ns, bits + self.points * _BITS_PER_POINT))
        require_survival(self.scenario, len(self.states))


def require_survival(scenario: Scenario, number: int) -> None:
    """After a crash: all that was acknowledged is there, the next jobs work, and that survives a power failure.

    What was written before a clean stop is not durable by itself: if the next backup relies on it, it must see to it.
    """
    machine = scenario.machine
    scenario.again(machine)
    known = set(machine.acknowledged)
    with machine.session() as home:
        if number % 2:
            machine.require_shown(home, "structure")
        if scenario.may_prune and number % 4 < 2:
            machine.prune_in(home)
        newest = machine.back_up_in(home)
        assert newest not in known
        assert home.ledger.history().open_jobs == []
        assert home.packs.unfinished() == []
        machine.require_no_litter(home)
        if scenario.may_prune and number % 4 >= 2:
            machine.prune_in(home)
    machine.tape.crash(Loss.EVERYTHING)
    _require_whole_home(machine, known | {newest}, number)


def _require_whole_home(machine: Machine, known: set[bytes], number: int) -> None:
    with machine.session() as home:
        shown = machine.require_shown(home, "read-data")
        extra = [entry.id for entry in shown if entry.id not in known and entry.id not in machine.forgotten]
        assert len(extra) <= 1, f"snapshots that nobody took: {extra}"
        entries = [entry for entry in shown if entry.id not in machine.forgotten]
        assert len(entries) >= len(known)
        machine.require_same_catalogs(home, [entry for entry in entries if entry.id in known])
        # Every catalog is as it was and every segment reads; some are restored as well, each in its turn.
        whole = {place for place, entry in enumerate(entries) if entry.id in extra}
        whole |= {number % len(entries)} if number % 2 else {len(entries) - 1}
        machine.require_restored(home, [entries[place] for place in sorted(whole)])
