"""Pruning beside other jobs: nothing that a running job relies on goes, and no file is read again for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.errors import UnavailableError
from siteagent.home import Home
from siteagent.jobs import compaction as compaction_job
from siteagent.jobs import packplan as packplan_job
from siteagent.jobs import prune as prune_job
from siteagent.jobs import sweep as sweep_job
from siteagent.jobs.backup import BackupRequest, BackupResult, back_up
from siteagent.jobs.holds import HoldRequest, place_hold
from siteagent.jobs.recall import recall
from siteagent.ledger.state import SnapshotEntry
from siteagent.sources.base import Batch
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from siteagent.store.leases import Lease
from siteagent.store.nameset import NameSet
from tests.support.days import Days, eight_days, ids, pruned
from tests.support.homes import forget, incompressible
from tests.support.site import WHO


@pytest.fixture
def site(tmp_path: Path) -> Days:
    return eight_days(tmp_path)


@pytest.fixture
def home(site: Days) -> Iterator[Home]:
    with site.place.open() as opened:
        yield opened


def beside(site: Days, home: Home, results: list[BackupResult]) -> None:
    """A backup that runs to its end in the middle of a prune."""
    results.append(site.place.backup(home))
    site.note(results[-1].snapshot)


def test_a_backup_beside_a_compaction_reads_no_file_again(site: Days, home: Home,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    forget(home, ids(home)[::2])
    followed, results = compaction_job.followed, list[BackupResult]()

    def interrupted(*arguments: object) -> object:
        found = followed(*arguments)  # type: ignore[arg-type]
        beside(site, home, results)
        return found

    monkeypatch.setattr(prune_job, "followed", interrupted)
    report = pruned(home)
    assert report.segments_superseded
    assert results[0].summary.bytes_read == 0
    assert results[0].snapshot in ids(home)
    site.require_whole(home)


def test_old_content_that_comes_back_beside_a_compaction_is_stored_anew(site: Days, home: Home,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """The index knows it in a segment that is being compacted, where nothing that stays uses it."""
    going = ids(home)[::2]
    forget(home, going)
    followed, results = compaction_job.followed, list[BackupResult]()

    def interrupted(*arguments: object) -> object:
        found = followed(*arguments)  # type: ignore[arg-type]
        for path, data in site.truth[going[1]].items():
            Path(path.decode()).write_bytes(data)
        beside(site, home, results)
        return found

    monkeypatch.setattr(prune_job, "followed", interrupted)
    assert pruned(home).segments_superseded
    assert results[0].summary.bytes_new > 0
    site.require_whole(home)


def test_old_content_that_comes_back_beside_a_sweep_is_stored_anew(site: Days, home: Home,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    going = ids(home)[:-1]
    forget(home, going)
    planned, results = packplan_job.plan_packs, list[BackupResult]()

    def interrupted(*arguments: object, **options: object) -> object:
        for path, data in site.truth[going[0]].items():
            Path(path.decode()).write_bytes(data)
        beside(site, home, results)
        return planned(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sweep_job, "plan_packs", interrupted)
    assert pruned(home).segments_swept
    assert results
    site.require_whole(home)


class _HeldView(PosixView):
    """A source that stands still after its last folder, when all of it was captured, until it is let go."""

    reached, go_on = threading.Event(), threading.Event()

    def batches(self) -> Iterator[Batch]:
        yield from super().batches()
        self.reached.set()
        assert self.go_on.wait(60)


def test_what_turns_out_to_be_needed_may_be_relied_on_again(
    site: Days, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(home, ids(home)[:4])
    everything = [home.snapshots.segments(entry.id, entry.taken.reach) for entry in home.ledger.history().snapshots]
    dead_segments = packplan_job.dead_segments

    def interrupted(*arguments: object) -> object:
        found = dead_segments(*arguments)  # type: ignore[arg-type]
        assert found
        monkeypatch.setattr(sweep_job, "needed_segments", lambda *_: set().union(*everything))
        return found

    monkeypatch.setattr(sweep_job, "dead_segments", interrupted)
    assert pruned(home).segments_swept == 0
    assert home.leases.register("backup").unusable == frozenset()


def test_a_prune_waits_for_a_backup_that_began_before(site: Days, home: Home) -> None:
    """The draft relies on content that only forgotten snapshots have: nothing of it may go."""
    only = site.place.source / "only"
    site.place.write("only", incompressible("only", 300_000))
    site.take(home)
    only.unlink()
    site.take(home)
    going = ids(home)[:-1]
    site.place.write("only", incompressible("only", 300_000))
    site.place.write("new", incompressible("new", 3_000_000))
    view = _HeldView(merge_roots([str(site.place.source).encode()], b"/")[0], None, None)
    results = list[BackupResult]()
    site.place.clock.sleep(60)
    request = BackupRequest("docs", (str(site.place.source).encode(),), view, "u", "h")
    thread = threading.Thread(target=lambda: results.append(back_up(home, request)))
    thread.start()
    assert view.reached.wait(60)
    forget(home, going)
    for _ in range(2):
        # First the compaction would have to wait; then the snapshots are given up already, and the sweep would.
        with pytest.raises(UnavailableError, match="backup"):
            pruned(home)
    assert home.packs.unfinished()
    home.access = replace(home.access, wait_s=60.0)
    threading.Timer(0.2, view.go_on.set).start()
    pruned(home)
    thread.join()
    site.note(results[0].snapshot)
    assert results[0].summary.bytes_new == 3_000_000
    assert (len(ids(home)), ids(home)[-1]) == (2, results[0].snapshot)
    site.require_whole(home)


@pytest.mark.parametrize("decide", [
    lambda home, entry: place_hold(home, WHO, HoldRequest(snapshots=(entry.id,))),
    lambda home, entry: recall(home, WHO, [entry]),
], ids=["held", "recalled"])  # fmt: skip
def test_a_snapshot_that_is_wanted_again_while_a_prune_looks_stays(
    site: Days, home: Home, monkeypatch: pytest.MonkeyPatch, decide: Callable[[Home, SnapshotEntry], object]
) -> None:
    going, looked = ids(home)[:4], sweep_job.require_present
    forget(home, going)

    def interrupted(opened: Home, needed: NameSet) -> None:
        looked(opened, needed)
        decide(opened, next(entry for entry in opened.ledger.history().forgotten if entry.id == going[1]))

    monkeypatch.setattr(prune_job, "require_present", interrupted)
    pruned(home)
    assert set(going) & set(ids(home)) == {going[1]}
    site.require_whole(home)


def test_one_prune_at_a_time(home: Home) -> None:
    with home.leases.pruning(), pytest.raises(UnavailableError, match="another prune"):
        pruned(home)


def test_a_reader_that_knows_old_places_keeps_the_packs_until_it_ends(site: Days, home: Home,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    forget(home, ids(home)[::2])
    planned, leases = packplan_job.plan_packs, list[Lease]()
    packs = set(home.packs.finished())

    def interrupted(*arguments: object, **options: object) -> object:
        leases.append(home.leases.register("restore"))
        return planned(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sweep_job, "plan_packs", interrupted)
    report = pruned(home)
    assert report.packs_deleted == 0
    assert any("restore" in note for note in report.notes)
    assert set(home.packs.finished()) > packs
    site.require_whole(home)
    site.take(home)
    assert set(home.packs.finished()) > packs
    leases[0].end()
    site.take(home)
    assert not packs & set(home.packs.finished()) & set(home.ledger.history().packs_gone)
    site.require_whole(home)
