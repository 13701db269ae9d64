"""Night after night: what changed is stored as deltas, within their bounds, and every night comes back as it was."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siteagent.home import Home
from siteagent.jobs.backup import BackupResult
from siteagent.jobs.verify import verify
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.names import run_of
from siteagent.store.table import BASES_MAX, CLOSURE_MAX, DEPTH_MAX, Table
from tests.support.homes import Place, contents, incompressible, newest

PAGE_BYTES = 4096


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path).create()


def _database(pages: int) -> bytearray:
    return bytearray(b"".join(incompressible(f"page {number}", PAGE_BYTES // 2) * 2 for number in range(pages)))


def _edit(data: bytearray, chance: random.Random, edits: int) -> None:
    for _ in range(edits):
        at = chance.randrange(len(data) - 16)
        data[at : at + 8] = chance.randbytes(8)


def tables(home: Home, run: bytes | None = None) -> Iterator[Table]:
    """The tables of all segments (of one run)."""
    for name in home.index.segments():
        if run is None or run_of(name) == run:
            yield home.reader.table(name).table


def _sound(home: Home) -> None:
    report = verify(home, "read-data")
    assert not report.damaged and not report.problems, report


def _within_bounds(home: Home) -> int:
    """Every bound of every delta holds; returns the greatest depth."""
    depth = 0
    for table in tables(home):
        assert len(table.bases) <= BASES_MAX and len(table.closure) <= CLOSURE_MAX
        depth = max([depth, *(frame.depth for frame in table.frames)])
    assert depth <= DEPTH_MAX
    return depth


def _backup(place: Place, home: Home) -> tuple[SnapshotEntry, BackupResult]:
    result = place.backup(home)
    return newest(home), result


def test_a_database_that_is_edited_every_night(place: Place) -> None:
    chance, data = random.Random(7), _database(500)
    nights: dict[bytes, bytes] = {}
    grown = []
    with place.open() as home:
        for night in range(12):
            if night:
                _edit(data, chance, 60)
            path = place.write("base.db", bytes(data))
            entry, result = _backup(place, home)
            nights[entry.id] = bytes(data)
            grown.append(result.bytes_stored)
        assert _within_bounds(home) == 3
        assert max(grown[1:]) < grown[0] / 8
        for entry in home.ledger.history().snapshots:
            assert contents(home, entry)[path] == nights[entry.id]
        _sound(home)


def test_an_insertion_at_the_head_moves_what_deltas_rest_on(place: Place) -> None:
    data = _database(600)
    with place.open() as home:
        place.write("image", bytes(data))
        _backup(place, home)
        data[0:0] = incompressible("inserted", 5000)
        _edit(data, random.Random(1), 40)
        path = place.write("image", bytes(data))
        entry, result = _backup(place, home)
        assert result.bytes_stored < 120_000
        assert contents(home, entry)[path] == bytes(data)
        _sound(home)


def test_a_hole_that_is_filled_and_data_that_becomes_a_hole(place: Place) -> None:
    """A hole is longer than any chunk and than what is read at once."""
    size = 9 << 20
    with place.open() as home:
        path = place.write("sparse", b"")
        os.truncate(path, size)
        for data in (b"end", incompressible("filled", 300_000), bytes(500_000)):
            with open(path, "r+b") as file:
                file.seek(size - len(data))
                file.write(data)
            expected = Path(os.fsdecode(path)).read_bytes()
            entry, _ = _backup(place, home)
            assert contents(home, entry)[path] == expected
        place.write("sparse", bytes(size))
        entry, _ = _backup(place, home)
        assert contents(home, entry)[path] == bytes(size)
        _sound(home)


def test_small_files_rest_on_plain_ones(place: Place) -> None:
    chance = random.Random(3)
    files = {f"{folder}/{number}": bytearray(incompressible(f"{folder}/{number}", 6000))
             for folder in range(6) for number in range(20)}  # fmt: skip
    with place.open() as home:
        for night in range(6):
            for name, data in files.items():
                if night:
                    _edit(data, chance, 1)
                place.write(name, bytes(data))
            entry, result = _backup(place, home)
            if night:
                assert result.bytes_stored < 60_000
        data_tables = [table for table in tables(home, entry.taken.run) if not table.sides]
        assert {frame.depth for table in data_tables for frame in table.frames} == {1}
        assert {path.rsplit(b"source/")[1]: data for path, data in contents(home, entry).items()} == {
            name.encode(): bytes(data) for name, data in files.items()
        }
        _sound(home)


def test_what_was_replaced_holds_nothing_of_what_it_replaced(place: Place) -> None:
    with place.open() as home:
        for night in range(3):
            place.write("small", incompressible(f"small {night}", 20_000))
            place.write("large", incompressible(f"large {night}", 900_000))
            entry, _ = _backup(place, home)
        assert not any(table.bases for table in tables(home) if not table.sides)
        data = {name for name in home.snapshots.segments(entry.id) if not home.reader.table(name).table.sides}
        assert {run_of(name) for name in data} == {entry.taken.run}


def test_a_damaged_base_is_passed_over(place: Place) -> None:
    data = _database(200)
    with place.open() as home:
        place.write("base.db", bytes(data))
        first, _ = _backup(place, home)
        damaged = {name for name in home.snapshots.segments(first.id) if not home.reader.table(name).table.sides}
        home.reader.damaged |= damaged
        _edit(data, random.Random(2), 30)
        path = place.write("base.db", bytes(data))
        entry, _ = _backup(place, home)
        assert damaged.isdisjoint(home.snapshots.segments(entry.id))
        assert contents(home, entry)[path] == bytes(data)


@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_whatever_happens_to_a_file_every_night_comes_back(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = random.Random(seed)
    place = Place(tmp_path_factory.mktemp("nights")).create()
    data = _database(chance.choice([20, 60, 300]))
    nights: dict[bytes, bytes] = {}
    with place.open() as home:
        for _ in range(6):
            path = place.write("file", bytes(data))
            entry, _ = _backup(place, home)
            nights[entry.id] = bytes(data)
            for _ in range(chance.randrange(4)):
                _mutate(data, chance)
        for entry in home.ledger.history().snapshots:
            assert contents(home, entry)[path] == nights[entry.id]
        _within_bounds(home)
        _sound(home)


def _mutate(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    kind = chance.randrange(6)
    if kind == 0:
        data[at:at] = chance.randbytes(chance.randrange(200_000))
    elif kind == 1:
        del data[at : at + chance.randrange(200_000)]
    elif kind == 2 and len(data) > 100:
        _edit(data, chance, 30)
    elif kind == 3:
        data += data[at : at + 100_000]
    elif kind == 4:
        data[at:at] = bytes(chance.randrange(400_000))
    else:
        data[:] = data[at:] + data[:at]
