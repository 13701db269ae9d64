"""Verifying around damaged packs, manifests, reaches, index and log: what is still there is checked all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.facts import VerificationDone
from siteagent.capture.capture import Capture, Draft
from siteagent.home import Home, changes_of
from siteagent.jobs import packcheck
from siteagent.jobs.verify import verify
from siteagent.store.index import Spot
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.pack import Row, read_trailer
from tests.support.days import eight_days, ids, pruned
from tests.support.homes import (
    Place,
    contents,
    flip,
    flip_in_body,
    forget,
    newest,
    text_segment,
)


def test_a_missing_pack_is_a_problem_and_its_segments_are_damaged(place: Place) -> None:
    with place.open() as home:
        name = text_segment(place, home)
        pack_id, expected = home.reader.spot(name).pack_id, contents(home, newest(home))
    (place.home / "packs" / f"{pack_id.hex()}.pack").unlink()
    with place.open() as home:
        report = verify(home)
        assert report.problems == [(f"packs/{pack_id.hex()}.pack", "a pack is missing")]
        assert [found.name for found in report.damaged] == [name]
        assert report.damaged[0].paths == [place.path("small/later")]
        place.backup(home)
        assert contents(home, newest(home)) == expected


def test_a_damaged_trailer_is_a_problem_but_takes_nothing_with_it(place: Place) -> None:
    with place.open() as home:
        pack_id = home.reader.spot(text_segment(place, home)).pack_id
    path = place.home / "packs" / f"{pack_id.hex()}.pack"
    flip(path, path.stat().st_size - 60)
    for command in ("with the old index", "without an index"):
        with place.open() as home:
            if command == "without an index":
                home.index.reset()
            report = verify(home, "read-data")
            assert [subject for subject, _ in report.problems] == [f"packs/{pack_id.hex()}.pack"]
            assert report.damaged == []
            assert any("without its trailer" in note for note in report.notes)
            assert contents(home, newest(home))


def test_a_pack_put_in_the_place_of_another_is_noticed(place: Place) -> None:
    one, two = place.packs()[:2]
    one.write_bytes(two.read_bytes())
    with place.open() as home:
        report = verify(home)
        assert (f"packs/{one.name}", "a pack is another one than its name says, or another site's") in report.problems


def test_a_pack_whose_root_is_not_in_the_log_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packcheck, "pack_root", lambda rows: bytes(32))
    with place.open() as home:
        problems = verify(home).problems
        assert len(problems) == len(place.packs())
        assert {what for _, what in problems} == {"a pack is not the one that the log has the root of"}


@pytest.mark.parametrize(
    ("folder", "what"),
    [("snapshots", "a manifest is not the one its fact names"), ("reaches", "a reach is not the one its fact names")],
)
def test_damaged_and_missing_files_of_a_snapshot_are_problems(place: Place, folder: str, what: str) -> None:
    with place.open() as home:
        snapshot = newest(home).id.hex()
        path = next((place.home / folder).glob(f"{snapshot}*"))
    data = path.read_bytes()
    flip(path, len(data) // 2)
    with place.open() as home:
        report = verify(home)
        assert report.problems == [(f"{folder}/{path.name}", what)]
        assert report.damaged == []
        place.backup(home)
    path.unlink()
    with place.open() as home:
        assert verify(home).problems == [(f"{folder}/{path.name}", "a file of a snapshot is missing")]
    path.write_bytes(data)
    with place.open() as home:
        assert verify(home).is_good


def test_a_snapshot_without_a_sound_reach_is_traced_by_its_catalog(place: Place) -> None:
    with place.open() as home:
        name = text_segment(place, home)
        snapshot = newest(home).id
        flip(place.home / "reaches" / snapshot.hex(), 90)
        flip_in_body(place, home, name)
    with place.open() as home:
        report = verify(home, "read-data")
        assert [(found.name, found.snapshots) for found in report.damaged] == [(name, [snapshot])]


@pytest.mark.parametrize("more", [True, False])
def test_a_reach_that_differs_from_the_pages_own_sets_is_noticed(
    place: Place, monkeypatch: pytest.MonkeyPatch, more: bool
) -> None:
    """One program writes both, so only a bug makes them differ: garbage collection must not be the first to notice."""
    bogus, run = segment_name(b"b" * 16, 1), Capture.run

    def wrong(capture: Capture) -> Draft:
        draft = run(capture)
        return draft._replace(needed=draft.needed | {bogus} if more else set(sorted(draft.needed)[1:]))

    monkeypatch.setattr(Capture, "run", wrong)
    place.write("new", b"n")
    with place.open() as home:
        place.backup(home)
        report = verify(home)
        reaches = [(subject, what) for subject, what in report.problems if subject.startswith("reaches/")]
        spare, lacking = "has 1 segments that its catalog does not need", "lacks 1 segments that its catalog needs"
        assert reaches == [(f"reaches/{newest(home).id.hex()}", f"a reach {spare if more else lacking}")]
        assert [found.name for found in report.damaged] == ([bogus] if more else [])


@pytest.mark.parametrize("state", ["gone", "poisoned", "stale"])
def test_the_index_is_corrected_and_never_causes_false_alarm(place: Place, state: str) -> None:
    with place.open() as home:
        names = list(home.index.segments())
        spots = [home.reader.spot(name) for name in names]
        if state == "poisoned":
            for pack_id in home.packs.finished():
                rows = _rows(home, pack_id)
                wrong = [replace(row, offset=row.offset + 1) for row in rows]
                home.index.add_pack(pack_id, wrong, [])
        else:
            home.index.reset()
        if state == "stale":
            for pack_id in home.packs.finished():
                home.index.add_pack(pack_id, [], [])
    with place.open() as home:
        report = verify(home, "read-data")
        assert report.is_good, report
        assert [home.reader.spot(name) for name in names] == spots
        assert any("corrected" in note for note in report.notes) == (state != "gone")


def test_an_index_that_breaks_on_the_way_is_made_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """RocksDB noticing damage in its own files must not look like damage of the store."""
    with place.open() as home:
        index, real, asked = home.index, home.index.spot, []

        def failing(segment: SegmentName) -> Spot | None:
            asked.append(segment)
            if len(asked) == 10:
                index.is_broken = True
            return None if index.is_broken else real(segment)

        monkeypatch.setattr(index, "spot", failing)
        report = verify(home, "read-data")
        assert len(asked) > 10
        assert report.is_good, report
        assert "the index was damaged and was made again" in report.notes


def _rows(home: Home, pack_id: bytes) -> list[Row]:
    return read_trailer(home.packs.open(pack_id), "pack")[1]


def test_a_home_that_must_not_be_written_is_checked_and_nothing_is_recorded(place: Place) -> None:
    with place.open() as home:
        old = (place.home / "log" / "log.db").read_bytes()
        place.backup(home)
    (place.home / "log" / "log.db").write_bytes(old)
    with place.open() as home:
        report = verify(home, "read-data")
        assert [subject for subject, _ in report.problems] == ["log"]
        assert "older" in report.problems[0][1]
        assert report.damaged == []
        assert report.snapshots == 2
        assert not any(isinstance(fact.clear, VerificationDone) for fact in home.ledger.facts())


def test_with_a_damaged_log_the_manifests_are_followed(place: Place) -> None:
    database = place.home / "log" / "log.db"
    at = database.read_bytes().rfind(b"snapshot.taken")
    flip(database, at - 30)
    with place.open() as home:
        report = verify(home)
        assert {subject for subject, _ in report.problems} == {"log"}
        assert report.snapshots == 2
        assert report.damaged == []




def test_changes_that_say_something_else_than_the_log_are_a_problem(tmp_path: Path) -> None:
    """They read, and have as many rows as they should."""
    place = eight_days(tmp_path).place
    with place.open() as home:
        forget(home, ids(home)[::2])
        pruned(home)
        assert verify(home).problems == []
        real = changes_of(home.ledger.history())
        for path in (place.home / "changes").iterdir():
            path.unlink()
        home.changes.write(replace(real, snapshots=real.snapshots[::-1]), home.keyring.current.number)
        assert [subject for subject, _ in verify(home).problems] == ["changes"]
