"""Which chunks are used: those that catalogs lead to, through successors and under deltas, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import DamagedError
from siteagent.home import Home
from siteagent.store.catalog import Root
from siteagent.store.liveness import Liveness
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.segment import DATA
from tests.support.homes import Place, incompressible, newest, segment_of

FIRST, SECOND = segment_name(b"r" * 16, 1), segment_name(b"r" * 16, 2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path).create()
    for number in range(6):
        made.write(f"file {number}", incompressible(str(number), 9_000))
    made.write("large", incompressible("large", 1_500_000))
    return made


def followed(home: Home, names: list[SegmentName], snapshot: int = -1) -> Liveness:
    live = Liveness(home.reader, names)
    summary = home.ledger.history().snapshots[snapshot].summary
    assert summary is not None
    live.follow(Root(summary.root_page, summary.root_segment, summary.levels))
    return live


def test_all_of_a_new_snapshot_is_used(place: Place) -> None:
    with place.open() as home:
        place.backup(home)
        names = list(home.index.segments())
        live = followed(home, names)
        for name in names:
            assert live.live[name] == (1 << len(home.reader.table(name).table)) - 1, name
        assert not any(live.based.values())


def test_of_an_old_segment_just_what_is_left_is_used(place: Place) -> None:
    with place.open() as home:
        place.backup(home)
        name = segment_of(home, newest(home), place.path("file 3"))
        ids = {entry.path: entry.ids for entry in home.catalog(newest(home)).entries()}
        for number in (0, 1, 2, 4, 5):
            place.write(f"file {number}", incompressible(f"new {number}", 9_000))
        (place.source / "large").unlink()
        place.backup(home)
        live = followed(home, [name])
        table = home.reader.table(name)
        assert table.header.kind == DATA
        assert live.live == {name: 1 << table.places[ids[place.path("file 3")]]}
        assert followed(home, [name], 0).live[name] == (1 << len(table.table)) - 1


def test_a_page_that_does_not_read_is_an_error(place: Place) -> None:
    with place.open() as home:
        place.backup(home)
        live = Liveness(home.reader, [])
        with pytest.raises(DamagedError):
            live.follow(Root(bytes(32), next(home.index.segments()), 0))


def test_an_entry_names_what_it_refers_to(place: Place) -> None:
    with place.open() as home:
        place.backup(home)
        for entry in home.catalog(newest(home)).entries():
            found = list(entry.references())
            assert [name for name, _ in found] == list(entry.segments)
            assert all(home.reader.locate(name, chunk_id) for name, chunk_id in found)
        large = next(entry for entry in home.catalog(newest(home)).entries() if entry.path == place.path("large"))
        assert (large.segments[0], large.tree[1:]) in list(large.references())
