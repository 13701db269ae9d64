"""Mending packs: what reads is kept, what does not is named, and nothing readable is ever removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from siteagent.home import Home
from siteagent.jobs.prune import PruneRequest, prune
from siteagent.jobs.record import Who
from siteagent.jobs.repair_packs import repair_packs
from siteagent.jobs.verify import verify
from siteagent.store.names import shown_segment
from tests.support.homes import (
    Place,
    contents,
    flip,
    flip_in_body,
    incompressible,
    newest,
    segment_of,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path).create()
    made.write("a", incompressible("a", 900_000))
    made.write("large", incompressible("large", 3 << 20))
    made.write("small", b"text" * 100)
    with made.open() as home:
        made.backup(home)
    return made


def pack_of(place: Place, home: Home, name: str) -> Path:
    spot = home.reader.spot(segment_of(home, newest(home), place.path(name)))
    return place.home / "packs" / f"{spot.pack_id.hex()}.pack"


def test_sound_packs_are_left_alone(place: Place) -> None:
    before = place.packs()
    with place.open() as home:
        report = repair_packs(home)
        assert report.is_good
        assert (report.packs, report.mended) == (len(before), [])
    assert place.packs() == before


def test_a_pack_without_a_trailer_is_made_whole(place: Place) -> None:
    with place.open() as home:
        expected = contents(home, newest(home))
        path = pack_of(place, home, "large")
        flip(path, path.stat().st_size - 1)
        assert not verify(home).is_good
        report = repair_packs(home)
        assert report.is_good
        (mended,) = report.mended
        assert mended.saved >= 4
        assert mended.aside == ""
        assert not path.exists()
        assert verify(home, "read-data").is_good
        assert contents(home, newest(home)) == expected
        assert repair_packs(home).mended == []
    with place.open() as home:
        place.backup(home)
        assert verify(home, "read-data").is_good


def test_of_a_damaged_segment_the_others_are_saved_and_the_old_file_is_kept(place: Place) -> None:
    with place.open() as home:
        lost = segment_of(home, newest(home), place.path("a"))
        path, _ = flip_in_body(place, home, lost)
        assert repair_packs(home).mended == []
        verify(home, "read-data")
        report = repair_packs(home)
        assert not report.is_good
        (mended,) = report.mended
        assert mended.lost == [shown_segment(lost)]
        assert mended.aside == f"packs/{path.name}.aside"
        assert (place.home / mended.aside).exists()
        found = verify(home, "read-data")
        assert [damaged.name for damaged in found.damaged] == [lost]
        assert found.problems == []
        assert home.ledger.history().jobs[-2].outcome == "partial"
        place.write("large", incompressible("other", 100))
        place.backup(home)
        assert contents(home, newest(home))[place.path("a")] == incompressible("a", 900_000)
        assert lost in home.ledger.history().damaged
        prune(home, PruneRequest(Who("u", "h"), is_now=True))
    assert (place.home / mended.aside).exists()


def test_a_segment_that_does_not_open_in_a_pack_without_trailer_is_named_by_the_index(place: Place) -> None:
    with place.open() as home:
        lost = segment_of(home, newest(home), place.path("a"))
        path, _ = flip_in_body(place, home, lost)
        flip(path, path.stat().st_size - 1)
        report = repair_packs(home)
        assert report.mended[0].lost == [shown_segment(lost)]
        assert report.mended[0].aside
        assert lost in home.ledger.history().damaged


def test_a_cut_off_tail_without_an_index_is_counted(place: Place) -> None:
    with place.open() as home:
        path = pack_of(place, home, "large")
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 300_000)
        home.index.reset()
        report = repair_packs(home)
        assert report.mended[0].unnamed in (1, 2)
        assert report.mended[0].aside
        assert not report.is_good
