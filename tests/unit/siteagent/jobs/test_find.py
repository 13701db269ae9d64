"""Finding files in many snapshots, and the versions of one path."""

import os
from pathlib import Path

import pytest

from siteagent.jobs.find import Search, find
from siteagent.jobs.versions import Version, versions
from siteagent.sources.pathpattern import PathPattern
from siteagent.store.names import SegmentName
from tests.support.homes import Place


def taken(place: Place, name: str = "docs") -> None:
    with place.open() as home:
        place.backup(home, name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Four snapshots of docs, one of others: report.txt comes, changes, goes and comes back."""
    made = Place(tmp_path).create()
    made.write("sub/deep/note.txt", b"note")
    taken(made)
    made.write("report.txt", b"first")
    taken(made)
    made.write("report.txt", b"second one")
    os.chmod(made.path("sub/deep/note.txt"), 0o600)
    taken(made)
    os.unlink(made.path("report.txt"))
    taken(made)
    taken(made, "others")
    made.write("report.txt", b"third")
    taken(made)
    return made


def found(place: Place, pattern: str, limit: int | None = None) -> Search:
    with place.open() as home:
        search = find(home, PathPattern(pattern), home.ledger.history().wanted, limit)
        assert home.leases.held() == []
        return search


def rows(place: Place, search: Search) -> list[tuple[str, str, int, int]]:
    start = len(os.fsencode(place.source)) + 1
    return [(one.name, os.fsdecode(one.hit.path[start:]), one.hit.size_bytes, one.snapshots) for one in search.found]


def test_a_path_is_shown_once_per_name_as_it_is_in_the_newest_snapshot(place: Place) -> None:
    assert rows(place, found(place, "report.*")) == [("docs", "report.txt", 5, 3)]
    assert rows(place, found(place, "*.txt")) == [
        ("docs", "report.txt", 5, 3), ("docs", "sub/deep/note.txt", 4, 5),
        ("others", "sub/deep/note.txt", 4, 1)]  # fmt: skip


def test_the_newest_and_the_oldest_snapshot_are_named(place: Place) -> None:
    (report,) = found(place, "report.txt").found
    with place.open() as home:
        docs = home.ledger.history().snapshots_named("docs")
    assert (report.newest.id, report.oldest.id) == (docs[4].id, docs[1].id)


def test_a_lost_file_is_found_where_it_was_last(place: Place) -> None:
    os.unlink(place.path("report.txt"))
    taken(place)
    (report,) = found(place, "/**/report.txt").found
    with place.open() as home:
        assert report.newest.id == home.ledger.history().snapshots_named("docs")[4].id


def test_paths_folders_and_limits(place: Place) -> None:
    source = os.fsdecode(place.source)
    assert [row[1] for row in rows(place, found(place, f"{source}/sub/deep/*"))] == ["sub/deep/note.txt"] * 2
    assert [row[1] for row in rows(place, found(place, f"{source}/report.txt"))] == ["report.txt"]
    assert [row[1] for row in rows(place, found(place, "deep/"))] == ["sub/deep"] * 2
    assert rows(place, found(place, "report.txt/")) == []
    search = found(place, "*.txt", 1)
    assert (rows(place, search), search.is_cut) == ([("docs", "report.txt", 5, 3)], True)
    assert not found(place, "*.txt", 3).is_cut
    place.write("sub/a.txt", b"a")
    taken(place)
    search = found(place, "*.txt", 2)
    assert (rows(place, search), search.is_cut) == ([("docs", "report.txt", 5, 4), ("docs", "sub/a.txt", 1, 1)], True)
    assert found(place, "*.txt", 0).found == []


def test_a_limit_does_not_hide_older_snapshots_of_what_is_shown(tmp_path: Path) -> None:
    """In the older snapshot the known path comes after one that is too many."""
    made = Place(tmp_path).create()
    made.write("early.txt", b"early")
    made.write("late.txt", b"late")
    taken(made)
    os.unlink(made.path("early.txt"))
    taken(made)
    search = found(made, "*.txt", 1)
    assert (rows(made, search), search.is_cut) == ([("docs", "late.txt", 4, 2)], True)


def test_pages_that_snapshots_share_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Place(tmp_path).create()
    for number in range(1500):
        made.write(f"a long name to fill pages with {number:05}", b"")
    for _ in range(4):
        taken(made)
    made.write("a long name to fill pages with 00700", b"changed")
    taken(made)
    with made.open() as home:
        wanted, reads = home.ledger.history().wanted, list[bytes]()
        read, within = home.reader.chunk, list[bytes]()

        def counting(name: SegmentName, page: bytes) -> memoryview:
            # What a delta rests on is read for it, and stays at hand.
            if not within:
                reads.append(page)
            within.append(page)
            try:
                return read(name, page)
            finally:
                within.pop()

        monkeypatch.setattr(home.reader, "chunk", counting)
        search = find(home, PathPattern("*00700"), wanted)
        assert [(one.snapshots, one.hit.size_bytes) for one in search.found] == [(5, 7)]
        assert len(reads) == len(set(reads))


def test_a_snapshot_that_does_not_read_is_named_and_the_others_searched(place: Place) -> None:
    with place.open() as home:
        docs = home.ledger.history().snapshots_named("docs")
        # Nothing rests on the newest one: later pages may be deltas of earlier ones.
        lost = docs[-1].summary.root_segment if docs[-1].summary else b""
        spot = home.reader.spot(lost)
    path = place.home / "packs" / f"{spot.pack_id.hex()}.pack"
    data = bytearray(path.read_bytes())
    data[spot.offset + 200] ^= 1
    path.write_bytes(data)
    search = found(place, "report.txt")
    assert [one.id for one, _ in search.unread] == [docs[-1].id]
    assert [one.snapshots for one in search.found] == [2]


def history(place: Place, name: str, series: str = "docs") -> list[Version]:
    with place.open() as home:
        return list(versions(home, place.path(name), home.ledger.history().snapshots_named(series)))


def test_versions_come_change_go_and_come_back(place: Place) -> None:
    found = history(place, "report.txt")
    assert [(one.change, one.type, one.size_bytes, one.snapshots) for one in found] == [
        ("added", "file", 5, 1), ("content", "file", 10, 1), ("removed", None, 0, 1),
        ("added", "file", 5, 1)]  # fmt: skip
    assert history(place, "report.txt", "others") == []


def test_equal_versions_are_one_and_metadata_makes_another(place: Place) -> None:
    first, second = history(place, "sub/deep/note.txt")
    assert (first.change, first.snapshots, second.change, second.snapshots) == ("added", 2, "metadata", 3)
    with place.open() as home:
        docs = home.ledger.history().snapshots_named("docs")
    assert (first.first.id, first.last.id, second.first.id, second.last.id) == (
        docs[0].id, docs[1].id, docs[2].id, docs[4].id)  # fmt: skip


def test_a_folder_shows_when_it_was_there(place: Place) -> None:
    (only,) = history(place, "")
    assert (only.type, only.snapshots, only.change) == ("folder", 5, "added")
    assert history(place, "none") == []
