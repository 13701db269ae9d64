"""A lost, stale or lying index causes work, never loss and never false success (invariant 5)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from siteagent.home import Home
from siteagent.store.pack import Row, read_trailer
from tests.support.machine import Machine
from tests.support.scenarios import second
from tests.support.walker import describe


def trailers(home: Home) -> dict[bytes, list[Row]]:
    """The segments of every pack."""
    return {pack: read_trailer(home.packs.open(pack), "a pack")[1] for pack in home.packs.finished()}


def chunks_point_elsewhere(home: Home) -> None:
    """Every chunk is said to lie in another segment, which exists and reads."""
    rows = [row for found in trailers(home).values() for row in found]
    for row, other in zip(rows, [*rows[1:], rows[0]], strict=True):
        table = home.reader.table(row.name).table
        home.index.add_pack(bytes(16), [], [(other.name, table.ids, [0] * len(table))])
    home.index.drop_pack(bytes(16))


def segments_point_elsewhere(home: Home) -> None:
    """Every segment is said to lie where another one lies."""
    packs = trailers(home)
    others = dict(zip(packs, [*list(packs)[1:], next(iter(packs))], strict=True))
    for pack, rows in packs.items():
        home.index.add_pack(others[pack], [replace(row, offset=row.offset + 64) for row in rows], [])


def names_what_is_gone(home: Home) -> None:
    """Chunks are said to lie in a segment that never was."""
    for rows in trailers(home).values():
        for row in rows:
            table = home.reader.table(row.name).table
            home.index.add_pack(bytes(16), [], [(b"\x07" * 20, table.ids, [0] * len(table))])


@pytest.mark.parametrize("lie", [chunks_point_elsewhere, segments_point_elsewhere, names_what_is_gone])
def test_a_lying_index(lie: Callable[[Home], None], machine: Machine) -> None:
    second(machine).load()
    with machine.session() as home:
        lie(home)
    machine.go_on()
    shutil.rmtree(machine.place.home / "index")
    assert machine.look() == machine.check() == 2


def garbage(index: Path) -> None:
    for path in index.iterdir():
        path.write_bytes(b"garbage" * 100)


def cut(index: Path) -> None:
    for path in index.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("spoil", [shutil.rmtree, garbage, cut])
def test_a_lost_or_torn_index(spoil: Callable[[Path], object], machine: Machine) -> None:
    second(machine).load()
    spoil(machine.place.home / "index")
    assert machine.check() == 1
    spoil(machine.place.home / "index")
    machine.go_on()
    assert machine.look() == 2


def test_an_older_index(machine: Machine) -> None:
    scenario = second(machine)
    scenario.load()
    machine.back_up()
    shutil.rmtree(machine.place.home / "index")
    shutil.copytree(machine.index_of("first"), machine.place.home / "index")
    assert machine.check() == 2
    source = machine.place.source
    (source / "copy").write_bytes((source / "added").read_bytes())
    machine.now = describe(source)
    machine.go_on()
    assert machine.look() == 3


def test_an_index_that_is_newer_than_the_packs(machine: Machine) -> None:
    """It knows packs of a run whose packs were lost with the power: they are stored again."""
    scenario = second(machine)
    scenario.load()
    machine.back_up()
    newer = machine.place.folder.parent / "newer index"
    shutil.copytree(machine.place.home / "index", newer)
    scenario.load()
    shutil.rmtree(machine.place.home / "index")
    shutil.copytree(newer, machine.place.home / "index")
    machine.go_on()
    assert machine.look() == machine.check() == 2
