"""Making the index again: from trailers and tables, around damage, and without touching anything else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from siteagent.home import Home
from siteagent.jobs.repair_index import IndexRepair, repair_index
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.segment import HEADER_BYTES
from tests.support.homes import Place, contents, flip, flip_in_body, flip_in_table, incompressible, newest, segment_of


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path).create()
    place.write("large", incompressible("large", 4 << 20))
    place.write("small", b"text" * 100)
    with place.open() as home:
        place.backup(home)
    return place


def _others(place: Place) -> dict[str, bytes]:
    """Every file of packs, manifests and reaches."""
    folders = ("packs", "snapshots", "reaches")
    return {str(path): path.read_bytes() for folder in folders for path in (place.home / folder).iterdir()}


def _state(home: Home) -> tuple[list[SegmentName], list[object]]:
    names = list(home.index.segments())
    return names, [home.index.spot(name) for name in names]


def test_the_index_is_the_same_as_before(place: Place) -> None:
    before = _others(place)
    with place.open() as home:
        state, expected = _state(home), contents(home, newest(home))
        seen: list[IndexRepair] = []
        report = repair_index(home, watch=seen.append)
        assert report.is_good
        assert seen == [report]
        assert report.packs == report.packs_done == len(place.packs())
        assert report.segments == len(state[0])
        assert _state(home) == state
        assert home.index.packs() == set(home.packs.finished())
        assert contents(home, newest(home)) == expected
        job = home.ledger.history().jobs[-1]
        assert (job.kind, job.outcome) == ("repair", "done")
        result = place.backup(home)
        assert result.summary.bytes_new == 0
    assert {name: data for name, data in _others(place).items() if name in before} == before


@pytest.mark.parametrize("state", ["gone", "garbage", "lying"])
def test_whatever_the_index_was(place: Place, state: str) -> None:
    with place.open() as home:
        good, expected = _state(home), contents(home, newest(home))
        if state == "lying":
            home.index.reset()
            for pack_id in home.packs.finished():
                home.index.add_pack(pack_id, [], [])
    for path in (place.home / "index").iterdir():
        if state == "gone":
            path.unlink()
        elif state == "garbage":
            path.write_bytes(incompressible(path.name, 999))
    with place.open() as home:
        assert repair_index(home).is_good
        assert _state(home) == good
        assert contents(home, newest(home)) == expected


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_pack_without_its_trailer_is_walked(place: Place, how: str) -> None:
    with place.open() as home:
        good, expected = _state(home), contents(home, newest(home))
        pack_id = home.reader.spot(segment_of(home, newest(home), os.fsencode(place.source / "large"))).pack_id
    path = place.home / "packs" / f"{pack_id.hex()}.pack"
    if how == "flipped":
        flip(path, path.stat().st_size - 50)
    else:
        os.truncate(path, path.stat().st_size - 20)
    with place.open() as home:
        report = repair_index(home)
        assert [subject for subject, _ in report.walked] == [f"packs/{path.name}"]
        assert report.left_out == []
        assert not report.is_good
        assert _state(home) == good
        assert contents(home, newest(home)) == expected
        assert home.ledger.history().jobs[-1].outcome == "partial"


def test_a_pack_that_was_cut_in_a_segment_keeps_the_ones_before(place: Place) -> None:
    with place.open() as home:
        names, spots = _state(home)
        first = segment_of(home, newest(home), os.fsencode(place.source / "large"))
        pack_id = home.reader.spot(first).pack_id
    inside = [(spot.offset, name) for name, spot in zip(names, spots, strict=True) if spot.pack_id == pack_id]  # type: ignore[attr-defined]
    inside.sort()
    path = place.home / "packs" / f"{pack_id.hex()}.pack"
    os.truncate(path, inside[2][0] + 5000)
    with place.open() as home:
        report = repair_index(home)
        found = set(home.index.segments())
        assert {name for _, name in inside[:2]} <= found
        assert found.isdisjoint(name for _, name in inside[2:])
        assert len(report.walked) == 1


@pytest.mark.parametrize("where", ["header", "table"])
def test_a_segment_counts_only_if_header_and_table_read_back(place: Place, where: str) -> None:
    with place.open() as home:
        name = segment_of(home, newest(home), os.fsencode(place.source / "large"))
        spot = home.reader.spot(name)
        at = spot.offset + (40 if where == "header" else HEADER_BYTES + 30)
        flip(place.home / "packs" / f"{spot.pack_id.hex()}.pack", at)
    with place.open() as home:
        report = repair_index(home)
        assert [shown for shown, _ in report.left_out] == [shown_segment(name)]
        assert home.index.spot(name) is None
        assert report.walked == []


def test_a_damaged_body_stays_in_the_index_for_verify_to_find(place: Place) -> None:
    with place.open() as home:
        name = segment_of(home, newest(home), os.fsencode(place.source / "large"))
        flip_in_body(place, home, name)
        assert repair_index(home).is_good
        assert home.index.spot(name) is not None


def test_it_works_on_a_home_that_must_not_be_written(place: Place) -> None:
    with place.open() as home:
        old = (place.home / "log" / "log.db").read_bytes()
        place.backup(home)
    (place.home / "log" / "log.db").write_bytes(old)
    with place.open() as home:
        facts = home.ledger.history().facts
        report = repair_index(home)
        assert report.is_good
        assert "not recorded" in report.notes[0]
        assert home.ledger.history().facts == facts
        assert contents(home, newest(home))


def test_a_pack_that_cannot_be_opened_is_left_out_and_named(place: Place) -> None:
    path = place.packs()[0]
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.with_suffix(".away"))
    with place.open() as home:
        report = repair_index(home)
        assert [subject for subject, _ in report.left_out] == [f"packs/{path.name}"]


def test_a_table_flip_is_no_reason_to_stop(place: Place) -> None:
    with place.open() as home:
        for name in list(home.index.segments())[:3]:
            flip_in_table(place, home, name)
    with place.open() as home:
        report = repair_index(home)
        assert len(report.left_out) == 3
        assert report.packs_done == report.packs
