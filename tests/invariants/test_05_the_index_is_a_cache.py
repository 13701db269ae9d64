"""The index is a cache: lost, stale or lying it causes work, never loss, wrong data or a success that rests on nothing.

It is spoiled between commands and at moments inside them. Afterwards it is thrown away, and everything that was
acknowledged must read from the packs alone.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from shared.errors import FarkeepError
from siteagent.home import Home
from siteagent.jobs.repair_index import repair_index
from siteagent.jobs.repair_packs import repair_packs
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.jobs.verify import verify
from siteagent.store.pack import read_trailer
from tests.support.homes import forget, incompressible
from tests.support.lies import LIES, Lie, Truth, truth
from tests.support.machine import Machine
from tests.support.places import remove_tree
from tests.support.recorded_disk import Call
from tests.support.scenarios import Scenario, first, pruning, second
from tests.support.tally import Tally
from tests.support.walker import Tree, compare, describe

# Lies told inside an operation


def backs_up(machine: Machine, home: Home) -> None:
    machine.back_up_in(home)
    assert home.ledger.history().snapshots[-1].id in machine.acknowledged


def prunes(machine: Machine, home: Home) -> None:
    with contextlib.suppress(FarkeepError):
        machine.prune_in(home)


def verifies(machine: Machine, home: Home) -> None:
    with contextlib.suppress(FarkeepError):
        verify(home, "read-data")


def mends(machine: Machine, home: Home) -> None:
    with contextlib.suppress(FarkeepError):
        repair_packs(home)


def restores(known: set[bytes], machine: Machine, home: Home) -> None:
    """Every entry is either there as it was or named as not restored."""
    entry = home.ledger.history().snapshots[0]
    target = machine.place.folder.parent / "given back"
    try:
        request = RestoreRequest(entry, os.fsencode(machine.place.source), str(target), "user", "host")
        result = restore(home, [request])
        if not result.errors:
            assert compare(machine.acknowledged[entry.id], describe(target)) == []
        require_no_other_content(known, target)
    except FarkeepError:
        require_no_other_content(known, target)
    finally:
        if target.exists():
            remove_tree(target)


def require_no_other_content(known: set[bytes], target: Path) -> None:
    """What has a name is whole."""
    for path in target.rglob("*"):
        if path.is_file() and not path.is_symlink() and ".farkeep" not in path.name:
            assert path.read_bytes() in known, path


OPERATIONS: dict[str, tuple[Callable[[Machine], Scenario], Callable[[Machine, Home], None]]] = {
    "first backup": (first, backs_up), "next backup": (second, backs_up), "prune": (pruning, prunes),
    "verify": (second, verifies), "repair": (pruning, mends),
}  # fmt: skip


def moments(count: int, is_long: bool, chance: random.Random) -> list[int]:
    """Numbers of disk calls: before the first and many of the others, or one of these."""
    if not is_long:
        return [chance.choice((0, chance.randrange(1, count), chance.randrange(1, count)))]
    return [0, *sorted(chance.sample(range(1, count), min(count - 1, 12)))]


@pytest.mark.parametrize("operation", [*OPERATIONS, "restore"])
def test_a_lie_inside_an_operation(operation: str, machine: Machine, seed: int, is_long_run: bool,
                                   tally: Tally) -> None:
    make, job = OPERATIONS.get(operation, (second, verifies))
    scenario = make(machine)
    scenario.load()
    if operation == "restore":
        job = partial(restores, contents_of(machine))
    calls = told_at(machine, job, None, -1)
    chance, points = random.Random(f"{seed} {operation}"), 0
    for prepare in LIES:
        for moment in moments(calls, is_long_run, chance):
            scenario.load()
            try:
                told_at(machine, job, prepare, moment)
                shown = shown_without_index(machine, is_thorough=points % (2 if is_long_run else 5) == 0)
                assert shown >= len(machine.acknowledged)
            except BaseException as error:
                error.add_note(f"{prepare.__name__} at call {moment} of {calls}, seed {seed}")
                raise
            points += 1
    tally("lies of an index", points)


def contents_of(machine: Machine) -> set[bytes]:
    """The content of every file of every snapshot."""
    found = set()
    with machine.session() as home:
        for number, entry in enumerate(home.ledger.history().snapshots):
            target = machine.place.folder.parent / f"earlier {number}"
            restore(home, [RestoreRequest(entry, os.fsencode(machine.place.source), str(target), "user", "host")])
            files = (path for path in target.rglob("*") if path.is_file() and not path.is_symlink())
            found |= {path.read_bytes() for path in files}
            remove_tree(target)
    return found


def told_at(machine: Machine, job: Callable[[Machine, Home], None], prepare: Callable[[Truth], Lie] | None,
            moment: int) -> int:
    """Run a job in an open home; the index begins to lie at a disk call of it. Returns how many calls there were."""
    with machine.session() as home:
        lie: Lie | None = prepare(truth(home)) if prepare is not None else None
        home.reader._tables.clear()
        before = len(machine.tape.calls)
        if lie is not None and moment == 0:
            lie()
            lie = None

        def listen(call: Call) -> bool:
            nonlocal lie
            if lie is not None and call.number >= before + moment:
                telling, lie = lie, None
                telling()
            return False

        machine.tape.stop_at = listen
        try:
            job(machine, home)
        finally:
            machine.tape.stop_at = None
        return len(machine.tape.calls) - before


def shown_without_index(machine: Machine, *, is_thorough: bool) -> int:
    """Work goes on with the index as it is now (`repair index` makes it right); then, with none, everything reads.

    Returns how many snapshots that is.
    """
    if is_thorough:
        machine.back_up()
        with machine.session() as home:
            assert repair_index(home).is_good
            found = verify(home, "read-data")
            assert (found.problems, found.damaged) == ([], [])
            assert not any("index was wrong" in note for note in found.notes)
    lose_index(machine)
    return machine.check() if is_thorough else machine.look()


def lose_index(machine: Machine) -> None:
    """What is left must do without."""
    shutil.rmtree(machine.place.home / "index", ignore_errors=True)


# An index of another time


def test_an_index_of_any_other_time(machine: Machine, tally: Tally) -> None:
    """What was swept is in the index of before, what comes back in the source is not believed to be there."""
    states, points = make_states(machine), 0
    for state, acknowledged in states.items():
        for other in states:
            machine.load(state)
            machine.acknowledged = dict(acknowledged)
            replace_index(machine, machine.index_of(other))
            (machine.place.source / "again").write_bytes(incompressible("of the first day", 700_000))
            machine.now = describe(machine.place.source)
            machine.go_on()
            shutil.rmtree(machine.place.home / "index")
            assert machine.look() == len(acknowledged) + 1
            points += 1
    assert machine.check()
    tally("lies of an index", points)


def make_states(machine: Machine) -> dict[str, dict[bytes, Tree]]:
    """A home after each of its commands; what the first day stored is swept in the end."""
    states: dict[str, dict[bytes, Tree]] = {}

    def save(name: str) -> None:
        machine.save(name)
        states[name] = dict(machine.acknowledged)

    day = machine.place.source / "day"
    machine.place.create()
    save("new")
    for number, text in enumerate(("of the first day", "of the second day")):
        day.write_bytes(incompressible(text, 700_000))
        machine.now = describe(machine.place.source)
        machine.back_up()
        save(f"backup {number}")
    with machine.session() as home:
        gone = home.ledger.history().snapshot_ids[0]
        forget(home, [gone])
    machine.forget(gone)
    machine.prune()
    save("pruned")
    machine.back_up()
    save("backup 2")
    return states


def replace_index(machine: Machine, source: Path) -> None:
    index = machine.place.home / "index"
    shutil.rmtree(index)
    if source.exists():
        shutil.copytree(source, index)


def test_what_was_swept_and_still_reads_is_not_believed_to_be_there(machine: Machine,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no holes can be made, swept bytes stay in packs: an index of before still leads to them."""
    monkeypatch.setattr("siteagent.disk.local.LocalDisk.punch", lambda *_: False)
    machine.pack_bytes = 8 << 20
    machine.record()
    source, content = machine.place.source, incompressible("comes again", 300_000)
    (source / "kept").write_bytes(incompressible("kept", 2_600_000))
    (source / "comes again").write_bytes(content)
    machine.now = describe(source)
    machine.place.create()
    machine.back_up()
    machine.save("before")
    (source / "comes again").unlink()
    machine.now = describe(source)
    machine.back_up()
    with machine.session() as home:
        gone = home.ledger.history().snapshot_ids[0]
        forget(home, [gone])
    machine.forget(gone)
    with machine.session() as home:
        assert machine.prune_in(home).packs_deleted == 0
        assert any(name in home.retired for name in truth_with_retired(home))
    replace_index(machine, machine.index_of("before"))
    (source / "comes again").write_bytes(content)
    machine.now = describe(source)
    machine.go_on()
    lose_index(machine)
    assert machine.check() == 2


def truth_with_retired(home: Home) -> set[bytes]:
    """The names of all segments whose bytes are there, swept or not."""
    packs = [read_trailer(home.packs.open(pack_id), "a pack")[1] for pack_id in home.packs.finished()]
    return {row.name for rows in packs for row in rows}


# A damaged index


def garbage(data: bytes, _: random.Random) -> bytes:
    return b"garbage" * (len(data) // 7 + 1)


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def doubled(data: bytes, _: random.Random) -> bytes:
    return data * 2


def zeros(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + bytes(len(data) - at)


DAMAGE = (flipped, flipped, flipped, cut, garbage, doubled, zeros)


def test_damage_to_every_file_of_the_index(machine: Machine, seed: int, is_long_run: bool, tally: Tally) -> None:
    """Write-ahead log, tables, MANIFEST, CURRENT, OPTIONS: each flipped, cut, emptied, and gone."""
    second(machine).load()
    acknowledged, chance, points = dict(machine.acknowledged), random.Random(seed), 0
    reopened(machine)
    machine.save("with tables")
    files = sorted(path.name for path in machine.index_of("with tables").iterdir() if path.name != "LOCK")
    kinds = {name.rpartition(".")[2].partition("-")[0] for name in files}
    assert kinds >= {"sst", "MANIFEST", "CURRENT", "OPTIONS", "log"}
    for name in files:
        for spoil in (*DAMAGE * (20 if is_long_run else 1), None):
            machine.load("with tables")
            machine.acknowledged = dict(acknowledged)
            path = machine.place.home / "index" / name
            path.write_bytes(spoil(path.read_bytes(), chance)) if spoil else path.unlink()
            try:
                machine.back_up()
                lose_index(machine)
                assert machine.look() == 2
            except BaseException as error:
                error.add_note(f"{spoil and spoil.__name__} of {name}, seed {seed}")
                raise
            points += 1
    tally("lies of an index", points)


def reopened(machine: Machine) -> None:
    """RocksDB moves rows from its write-ahead log into tables when it is opened again."""
    for _ in range(2):
        with machine.session():
            pass


@pytest.mark.parametrize("spoil", [garbage, cut])
def test_a_torn_index_is_read_around(spoil: Callable[[bytes, random.Random], bytes], machine: Machine) -> None:
    second(machine).load()
    for path in (machine.place.home / "index").iterdir():
        path.write_bytes(spoil(path.read_bytes(), random.Random(1)))
    assert machine.check() == 1


def test_an_index_that_is_no_folder_is_replaced(machine: Machine) -> None:
    second(machine).load()
    index = machine.place.home / "index"
    shutil.rmtree(index)
    index.write_bytes(b"a file")
    assert machine.check() == 1


def test_an_index_that_is_newer_than_the_packs(machine: Machine) -> None:
    """It knows packs of a run whose packs were lost with the power: they are stored again."""
    scenario = second(machine)
    scenario.load()
    machine.back_up()
    newer = machine.place.folder.parent / "newer index"
    shutil.copytree(machine.place.home / "index", newer)
    scenario.load()
    replace_index(machine, newer)
    machine.go_on()
    assert machine.look() == machine.check() == 2
