"""Verifying: a sound home passes in every mode; each kind of damage is found, traced, recorded, and then mended."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.facts import VerificationDone, VerificationDoneSealed
from siteagent.home import Home
from siteagent.jobs import verify as verify_job
from siteagent.jobs.backup import BackupRequest, back_up
from siteagent.jobs.record import Who
from siteagent.jobs.sampling import Sampling
from siteagent.jobs.verify import VerifyProgress, verify
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from siteagent.store.names import SegmentName, segment_name, shown_segment
from siteagent.store.trace import Trace
from siteagent.store.writer import StoreWriter
from tests.support.determined import LabelledRandomness
from tests.support.homes import (
    Place,
    contents,
    flip,
    flip_in_body,
    flip_in_table,
    incompressible,
    newest,
    segment_of,
    text_segment,
)

MODES = ("structure", "read-data", "sample")


def test_a_log_with_a_changed_fact_is_no_sound_home(place: Place) -> None:
    database = place.home / "log" / "log.db"
    flip(database, database.read_bytes().find(b"job.started") - 20)
    with place.open() as home:
        report = verify(home, "structure")
    assert not report.is_good
    assert {subject for subject, _ in report.problems} == {"log"}
    assert any("the manifests were followed instead" in problem for _, problem in report.problems)


def test_a_log_that_was_put_back_is_no_sound_home(place: Place) -> None:
    """Every fact of it reads, and every snapshot that it knows."""
    database = place.home / "log" / "log.db"
    old = database.read_bytes()
    with place.open() as home:
        place.backup(home)
    database.write_bytes(old)
    with place.open() as home:
        problems = verify(home, "structure").problems
    assert ("log", "the log is older than what lies beside it: its high-water mark is newer than it") in problems


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
        name = segment_of(home, newest(home), place.path("small/text"))
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
        assert report.damaged[0].paths == [place.path("large/image"), place.path("small/text")]
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
        assert place.path("large/image") in report.damaged[0].paths


def test_a_damaged_chunk_list_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list lies in another segment than the entries: only the file is lost, and it is found by name."""
    # A page that is a delta of one in the damaged segment would not read either: then no path could be named.
    monkeypatch.setattr(StoreWriter, "_put_page_delta", lambda *_: None)
    place = Place(tmp_path).create()
    place.write("large/image", incompressible("large", 3 << 20))
    with place.open() as home:
        place.backup(home)
        place.write("large/other", b"o")
        os.utime(place.source / "large/image", ns=(7, 7))
        place.backup(home)
        name = _list_segment(home, place.path("large/image"))
        summary = newest(home).summary
        assert summary is not None
        assert summary.root_segment != name
        first, second = home.ledger.history().snapshot_ids
        flip_in_body(place, home, name)
    with place.open() as home:
        report = verify(home)
        assert [(found.name, found.snapshots) for found in report.damaged] == [(name, [first, second])]
        assert place.path("large/image") in report.damaged[0].paths
        assert place.path("large/other") not in report.damaged[0].paths
        place.backup(home)
        assert contents(home, newest(home))[place.path("large/image")] == incompressible("large", 3 << 20)


def test_what_holds_again_is_recorded_as_mended(place: Place) -> None:
    with place.open() as home:
        name = text_segment(place, home)
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
        name = text_segment(place, home)
        flip_in_body(place, home, name)
        verify(home, "read-data")
        assert [found.name for found in verify(home).damaged] == [name]
        assert set(home.ledger.history().damaged) == {name}


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
        name = segment_of(home, entry, place.path("many/3"))
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
