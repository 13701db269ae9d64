"""One commit point: a crash before it leaves the previous state plus garbage, a crash after it the new state.

What a home shows is compared after a stop at every write of a job, without letting any job run in between: from one
call on there is one state more, the whole of it, and never anything between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from siteagent.home import Home
from tests.support.machine import Machine
from tests.support.recorded_disk import WRITES, Frame
from tests.support.scenarios import Scenario, first, forgetting, pruning, resumed, rotating, second, told
from tests.support.survival import FLAVOURS, Loss, outcome
from tests.support.tally import Tally

State = tuple[object, ...]


def state_of(home: Home) -> State:
    """What a user can see: the snapshots with their catalogs, which are wanted, and the keys."""
    history = home.ledger.history()
    shown = tuple((entry.id, entry.taken.manifest, entry.is_forgotten) for entry in history.snapshots)
    return shown, tuple(history.swept), home.keyring.current.number


def state_after(scenario: Scenario, frame: Frame, loss: Loss, number: int) -> State:
    """What is shown when the home is opened after a stop."""
    machine, chance = scenario.machine, Random(f"{number} {loss}")
    at_ns, bits = scenario.moment
    machine.develop(frame, outcome(frame.picture, loss, chance), "as it was", None, (at_ns, bits + (number << 24)))
    with machine.session() as home:
        for entry in home.ledger.history().snapshots:
            assert home.snapshots.segments(entry.id, entry.taken.reach)
        return state_of(home)


JOBS = (first, second, resumed, forgetting, rotating, pruning)


@pytest.mark.parametrize("make", JOBS, ids=lambda make: make.__name__)
def test_there_is_nothing_between_two_states(make: Callable[[Machine], Scenario], machine: Machine, is_long_run: bool,
                                             tally: Tally) -> None:
    scenario = make(machine)
    frames = scenario.film()
    writes = [frame for frame in frames if frame.call.operation in WRITES or frame is frames[-1]]
    every = 1 if is_long_run else max(1, len(writes) // 20)
    tried = [frame for place, frame in enumerate(writes) if place % every == 0 or frame is writes[-1]]
    for turn, loss in enumerate(FLAVOURS):
        seen = list[State]()
        for number, frame in enumerate(tried if is_long_run else tried[turn % 2 :: 2]):
            with told(frame.call):
                found = state_after(scenario, frame, loss, number)
                if not seen or seen[-1] != found:
                    assert found not in seen, "an earlier state came back"
                    seen.append(found)
        assert len(seen) <= 2, f"{len(seen)} states, where only before and after are known"
        tally("states shown after a stop", len(tried))
    assert len(seen) > 1, "the job changed nothing that is shown"
