"""Verifying: a sound home passes in every mode; each kind of damage is found, traced, recorded, and then mended."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shared.facts import VerificationDone, VerificationDoneSealed
from siteagent.home import Home
from siteagent.jobs import backup as backup_job
from siteagent.jobs import packcheck
from siteagent.jobs import verify as verify_job
from siteagent.jobs.backup import BackupRequest, back_up
from siteagent.jobs.record import Who
from siteagent.jobs.sampling import Sampling
from siteagent.jobs.verify import VerifyProgress, verify
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from siteagent.store.catalog import Catalog
from siteagent.store.chunklist import PageSource
from siteagent.store.index import Spot
from siteagent.store.names import SegmentName, segment_name, shown_segment
from siteagent.store.pack import Row, read_trailer
from siteagent.store.reach import reach_of
from siteagent.store.trace import Trace
from tests.support.determined import LabelledRandomness
from tests.support.homes import Place, contents, flip, flip_in_body, flip_in_table, incompressible, newest, segment_of

MODES = ("structure", "read-data", "sample")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home with two snapshots: a small file alone in its segment, a large file, and a file of the second one."""
    place = Place(tmp_path).create()
    place.write("large/image", incompressible("large", 3 << 20))
    place.write("small/text", b"some text " * 50)
    with place.open() as home:
        place.backup(home)
        place.write("small/later", b"more text " * 50)
        place.backup(home)
    return place


def _path(place: Place, name: str) -> bytes:
    return os.fsencode(place.source / name)


def _text_segment(place: Place, home: Home) -> SegmentName:
    return segment_of(home, newest(home), _path(place, "small/later"))


@pytest.mark.parametrize("mode", MODES)
def test_a_sound_home_passes(place: Place, mode: str) -> None:
    with place.open() as home:
        report = verify(home, mode, 30.0, who=Who("user", "host"))  # type: ignore[arg-type]
        assert report.is_good, report
        assert report.snapshots == 2
        rows = len(list(home.index.segments()))
        assert report.segments_checked == rows
        whole = {"structure": 0, "read-data": rows}.get(mode, report.segments_read_whole)
        assert report.segments_read_whole == whole
        assert report.bytes_read > (3 << 20 if mode == "read-data" else 5000)
        assert report.not_proven
        facts = [fact for fact in home.ledger.facts() if isinstance(fact.clear, VerificationDone)]
        assert len(facts) == 1
        clear, sealed = facts[0].clear, facts[0].sealed
        assert isinstance(clear, VerificationDone)
        assert isinstance(sealed, VerificationDoneSealed)
        assert (clear.mode, clear.segments_checked, clear.damaged, clear.mended) == (mode, rows, (), ())
        job = home.ledger.history().jobs[-1]
        assert (job.kind, job.outcome, job.started and job.started.user) == ("verify", "done", "user")


def test_what_was_not_proven_is_said(place: Place) -> None:
    with place.open() as home:
        assert any("was not read" in text for text in verify(home).not_proven)
        assert not any("was not read" in text for text in verify(home, "read-data").not_proven)


def test_one_flipped_byte_from_finding_to_mending(place: Place) -> None:
    """Found with the right paths and snapshots; stored anew by the next backup of the unchanged source; read well."""
    with place.open() as home:
        name = segment_of(home, newest(home), _path(place, "small/text"))
        first, second = home.ledger.history().snapshot_ids
        expected = contents(home, newest(home))
        flip_in_body(place, home, name)
    with place.open() as home:
        assert verify(home).is_good
        report = verify(home, "read-data")
        assert not report.is_good
        assert [(found.segment, found.snapshots) for found in report.damaged] == [
            (shown_segment(name), [first, second]),
        ]  # fmt: skip
        assert report.damaged[0].paths == [_path(place, "large/image"), _path(place, "small/text")]
        assert report.damaged[0].stretches == []
        assert not report.damaged[0].is_cut
        assert set(home.ledger.history().damaged) == {name}
        assert home.ledger.history().jobs[-1].outcome == "partial"
    with place.open() as home:
        result = place.backup(home)
        assert result.summary.quality == "live"
        assert result.summary.counts.changed <= 2
        assert result.errors == result.alarms == []
        assert contents(home, newest(home)) == expected
        report = verify(home, "read-data")
        assert [found.snapshots for found in report.damaged] == [[first, second]]
        assert report.problems == []
        assert name not in home.snapshots.segments(newest(home).id)


@pytest.mark.parametrize("spoil", [flip_in_body, flip_in_table])
@pytest.mark.parametrize("mode", ["structure", "read-data"])
def test_a_damaged_catalog_segment_is_found_and_stored_anew(
    place: Place, mode: str, spoil: Callable[[Place, Home, SegmentName], object]
) -> None:
    with place.open() as home:
        first, second = home.ledger.history().snapshots
        assert second.summary is not None
        name = second.summary.root_segment
        expected = contents(home, second)
        spoil(place, home, name)
    with place.open() as home:
        report = verify(home, mode)  # type: ignore[arg-type]
        assert [(found.name, found.snapshots) for found in report.damaged] == [(name, [second.id])]
        assert [(part.folder, part.after, part.until) for part in report.damaged[0].stretches] == [(b"/", b"", b"")]
        assert contents(home, first)
    with place.open() as home:
        result = place.backup(home)
        assert any("read again" in note for note in result.notes)
        assert contents(home, newest(home)) == expected
        assert [found.snapshots for found in verify(home, "read-data").damaged] == [[second.id]]


def test_damage_that_a_backup_meets_before_any_verification_is_not_built_upon(place: Place) -> None:
    with place.open() as home:
        summary = newest(home).summary
        assert summary is not None
        expected = contents(home, newest(home))
        flip_in_body(place, home, summary.root_segment)
    with place.open() as home:
        place.backup(home)
        assert contents(home, newest(home)) == expected
        report = verify(home, "read-data")
        assert newest(home).id not in report.damaged[0].snapshots


def _list_segment(home: Home, path: bytes) -> SegmentName:
    found = next(entry for entry in home.catalog(newest(home)).entries() if entry.path == path)
    assert found.tree
    return found.segments[0]


def test_a_chunk_deep_in_a_large_file_is_traced_through_its_list(place: Place) -> None:
    with place.open() as home:
        found = next(entry for entry in home.catalog(newest(home)).entries() if entry.name == b"image")
        pieces = list(home.catalog(newest(home)).pieces(found))
        last = pieces[-3].segment
        assert last not in found.segments
        flip_in_body(place, home, last)
    with place.open() as home:
        report = verify(home, "read-data")
        assert [item.name for item in report.damaged] == [last]
        assert _path(place, "large/image") in report.damaged[0].paths


def test_a_damaged_chunk_list_names_its_file(tmp_path: Path) -> None:
    """The list lies in another segment than the entries: only the file is lost, and it is found by name."""
    place = Place(tmp_path).create()
    place.write("large/image", incompressible("large", 3 << 20))
    with place.open() as home:
        place.backup(home)
        place.write("large/other", b"o")
        os.utime(place.source / "large/image", ns=(7, 7))
        place.backup(home)
        name = _list_segment(home, _path(place, "large/image"))
        summary = newest(home).summary
        assert summary is not None
        assert summary.root_segment != name
        first, second = home.ledger.history().snapshot_ids
        flip_in_body(place, home, name)
    with place.open() as home:
        report = verify(home)
        assert [(found.name, found.snapshots) for found in report.damaged] == [(name, [first, second])]
        assert _path(place, "large/image") in report.damaged[0].paths
        assert _path(place, "large/other") not in report.damaged[0].paths
        place.backup(home)
        assert contents(home, newest(home))[_path(place, "large/image")] == incompressible("large", 3 << 20)


def test_a_missing_pack_is_a_problem_and_its_segments_are_damaged(place: Place) -> None:
    with place.open() as home:
        name = _text_segment(place, home)
        pack_id, expected = home.reader.spot(name).pack_id, contents(home, newest(home))
    (place.home / "packs" / f"{pack_id.hex()}.pack").unlink()
    with place.open() as home:
        report = verify(home)
        assert report.problems == [(f"packs/{pack_id.hex()}.pack", "a pack is missing")]
        assert [found.name for found in report.damaged] == [name]
        assert report.damaged[0].paths == [_path(place, "small/later")]
        place.backup(home)
        assert contents(home, newest(home)) == expected


def test_a_damaged_trailer_is_a_problem_but_takes_nothing_with_it(place: Place) -> None:
    with place.open() as home:
        pack_id = home.reader.spot(_text_segment(place, home)).pack_id
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
        name = _text_segment(place, home)
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
    bogus = segment_name(b"b" * 16, 1)

    def wrong(catalog: Catalog, source: PageSource) -> set[SegmentName]:
        needed = reach_of(catalog, source)
        return needed | {bogus} if more else set(sorted(needed)[1:])

    monkeypatch.setattr(backup_job, "reach_of", wrong)
    place.write("new", b"n")
    with place.open() as home:
        place.backup(home)
        report = verify(home)
        reaches = [(subject, what) for subject, what in report.problems if subject.startswith("reaches/")]
        spare, lacking = "has 1 segments that its catalog does not need", "lacks 1 segments that its catalog needs"
        assert reaches == [(f"reaches/{newest(home).id.hex()}", f"a reach {spare if more else lacking}")]
        assert [found.name for found in report.damaged] == ([bogus] if more else [])


def test_what_holds_again_is_recorded_as_mended(place: Place) -> None:
    with place.open() as home:
        name = _text_segment(place, home)
        path, offset = flip_in_body(place, home, name)
        assert not verify(home, "read-data").is_good
    flip(path, offset)
    with place.open() as home:
        report = verify(home)
        assert report.is_good
        assert report.mended == [shown_segment(name)]
        assert report.segments_read_whole == 1
        assert home.ledger.history().damaged == {}


def test_recorded_damage_stays_until_it_is_mended(place: Place) -> None:
    with place.open() as home:
        name = _text_segment(place, home)
        flip_in_body(place, home, name)
        verify(home, "read-data")
        assert [found.name for found in verify(home).damaged] == [name]
        assert set(home.ledger.history().damaged) == {name}


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


def test_a_sample_reads_about_its_share_and_at_least_one(place: Place) -> None:
    names = [segment_name(b"r" * 16, number) for number in range(4000)]
    randomness = LabelledRandomness("sample")
    samplings = Sampling(randomness, 10.0), Sampling(randomness, 10.0)
    chosen = [{name for name in names if sampling.has(name)} for sampling in samplings]
    assert all(300 < len(share) < 500 for share in chosen)
    assert chosen[0] != chosen[1]
    assert all(Sampling(randomness, 100.0).has(name) for name in names)
    assert not any(Sampling(randomness, 0.0).has(name) for name in names)
    with place.open() as home:
        report = verify(home, "sample", 0.000001)
        assert (report.segments_read_whole, report.is_good) == (1, True)


def test_a_sample_finds_damage_in_the_one_segment_it_reads(place: Place) -> None:
    with place.open() as home:
        for name in list(home.index.segments()):
            flip_in_body(place, home, name)
    with place.open() as home:
        report = verify(home, "sample", 0.000001)
        assert len([found for found in report.damaged if "digest" in found.what]) == 1


def test_a_segment_that_no_snapshot_needs_is_checked_too(place: Place) -> None:
    """The next backup may use its chunks again."""
    spare = incompressible("spare", 3 << 20)
    with place.open() as home:
        with pytest.raises(ZeroDivisionError):
            _backup_that_fails(place, home, spare)
        place.backup(home, "other")
    with place.open() as home:
        names = set(home.index.segments()) - {
            name for entry in home.ledger.history().snapshots for name in home.snapshots.segments(entry.id)
        }
        assert names
        for name in names:
            flip_in_body(place, home, name)
        report = verify(home, "read-data")
        assert {found.name for found in report.damaged} == names
        assert all(found.snapshots == [] and found.paths == [] for found in report.damaged)


def _backup_that_fails(place: Place, home: Home, data: bytes) -> None:
    place.write("spare", data)

    def fail() -> None:
        raise ZeroDivisionError

    node, roots = merge_roots([os.fsencode(place.source)], b"/")
    try:
        home.world = replace(home.world, pack_bytes=1000)
        back_up(home, BackupRequest("docs", tuple(roots), PosixView(node, None, None), "u", "h", finish=fail))
    finally:
        (place.source / "spare").unlink()


def test_paths_are_cut_at_their_limit_and_that_is_said(place: Place) -> None:
    for number in range(10):
        place.write(f"many/{number}", b"%d" % number)
    with place.open() as home:
        place.backup(home)
        entry = newest(home)
        name = segment_of(home, entry, _path(place, "many/3"))
        assert entry.summary is not None
        trace = Trace(home.reader, {name}, paths_max=4)
        trace.follow(home.catalog(entry).root)
        assert len(trace.found[name].paths) == 4
        assert trace.found[name].is_cut


def test_progress_is_told(place: Place) -> None:
    seen: list[VerifyProgress] = []
    with place.open() as home:
        verify(home, "read-data", watch=seen.append)
        progress = seen[0]
        assert progress.stage == "tracing"
        assert progress.packs_done == progress.packs == len(place.packs())
        assert (progress.snapshots_done, progress.snapshots) == (2, 2)
        assert progress.bytes_read > 3 << 20


def test_trouble_of_the_check_itself_is_raised_and_recorded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(verify_job, "known_snapshots", broken)
    with place.open() as home:
        with pytest.raises(ZeroDivisionError):
            verify(home)
        assert home.ledger.history().jobs[-1].outcome == "failed"
        assert home.leases.held() == []


def test_every_flipped_bit_of_a_small_home_is_noticed_or_means_nothing(tmp_path: Path, seed: int) -> None:
    """A sample of all bytes of packs, manifests and reaches (all of them in the long run of the crash tests)."""
    place = Place(tmp_path).create()
    place.write("a", b"alpha")
    place.write("b/c", b"gamma" * 20)
    with place.open() as home:
        place.backup(home)
    files = [*place.packs(), *(place.home / "snapshots").iterdir(), *(place.home / "reaches").iterdir()]
    chance = random.Random(seed)
    for _ in range(40):
        path = files[chance.randrange(len(files))]
        data = path.read_bytes()
        at = chance.randrange(len(data))
        flip(path, at, 1 << chance.randrange(8))
        with place.open() as home:
            assert not verify(home, "read-data").is_good, (path, at)
        path.write_bytes(data)
    with place.open() as home:
        assert verify(home, "read-data").is_good
