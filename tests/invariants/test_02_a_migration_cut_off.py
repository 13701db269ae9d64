"""A migration of a home that is cut off at any of its disk calls is ended by whoever opens the home next.

The format and its migration are made up (tests.support.migrating); the chain, its order and its crash table are those
of siteagent/migration.py.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.errors import RefusedError
from tests.support.machine import Machine
from tests.support.migrating import NUMBERS, migrate_on, migrating, next_world
from tests.support.recorded_disk import WRITES, Call
from tests.support.scenarios import Scenario, told
from tests.support.survival import FLAVOURS, Loss
from tests.support.tally import Tally

SNAPSHOTS = 3


def selected(calls: list[Call], is_long: bool) -> list[Call]:
    """The calls of the migration; without much time some of each kind."""
    begin = next(number for number, call in enumerate(calls) if call.path.startswith("home/format.part"))
    end = max(number for number, call in enumerate(calls) if "home/format" in call.path)
    calls = calls[begin : end + 2]
    last = Counter(call.point for call in calls)
    return calls if is_long else [call for call in calls if call.repeat == 1 or (
        call.operation in WRITES and call.repeat in (2, last[call.point]))]  # fmt: skip


@pytest.mark.parametrize("loss", FLAVOURS)
def test_a_migration_that_is_cut_off(loss: Loss, machine: Machine, monkeypatch: pytest.MonkeyPatch, is_long_run: bool,
                                     tally: Tally) -> None:
    scenario = migrating(machine, monkeypatch)
    tried = selected(scenario.record(), is_long_run)
    for number, call in enumerate(tried):
        with told(call):
            scenario.stop(call, loss)
            end(machine)
            if number % 4:
                assert machine.look() == SNAPSHOTS
            else:
                machine.back_up()
                machine.tape.crash(Loss.EVERYTHING)
                assert machine.check() == SNAPSHOTS + 1
            require_moved(machine.place.home)
    tally("crash points", len(tried))


def end(machine: Machine) -> None:
    """End a migration that was cut off; nobody works in a home that is half of one format and half of another."""
    home = machine.place.home
    found = json.loads((home / "format").read_bytes())
    if found["version"] == 2:
        refused_by_the_older_program(machine)
    else:
        before = listed(home)
        assert not (home / "manifests").exists(), "an older program would open a home that is half moved"
        machine.place.world = next_world(machine.place.world)
        with pytest.raises(RefusedError, match="format 1; this Farkeep keeps homes in format 2") as caught:
            machine.place.open()
        assert "farkeep migrate" in caught.value.next_step
        assert listed(home) == before
        migrate_on(machine)()
    machine.place.world = next_world(machine.place.world)


def require_moved(home: Path) -> None:
    """Everything is where the next format has it."""
    assert json.loads((home / "format").read_bytes())["version"] == 2
    assert "migrating_from" not in json.loads((home / "format").read_bytes())
    assert (home / NUMBERS).read_bytes() == b"%d manifests\n" % SNAPSHOTS
    assert os.listdir(home / "snapshots") == os.listdir(home / "reaches") == []


def refused_by_the_older_program(machine: Machine) -> None:
    """It would find no manifests, and take that for a loss."""
    newer = machine.place.world
    machine.place.world = replace(newer, migrations=())
    with pytest.raises(RefusedError, match="newer Farkeep"):
        machine.place.open()
    machine.place.world = newer


def listed(home: Path) -> dict[str, bytes]:
    """All that lies in the folders that a migration changes."""
    folders = ("snapshots", "reaches", "manifests", "reached")
    found = {path: path.read_bytes() for folder in folders for path in (home / folder).glob("*")}
    return {str(path): data for path, data in [*found.items(), (home / "format", (home / "format").read_bytes())]}


def test_a_migration_is_durable_when_it_is_over(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario: Scenario = migrating(machine, monkeypatch)
    scenario.record()
    machine.tape.crash(Loss.EVERYTHING)
    assert machine.check() == SNAPSHOTS
    assert json.loads((machine.place.home / "format").read_bytes())["version"] == 2
