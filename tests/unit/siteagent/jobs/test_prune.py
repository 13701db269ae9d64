"""Pruning: what goes and what stays, and that all that stays can be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.decisions import (
    HoldPlaced,
    HoldPlacedSealed,
    SnapshotsRecalled,
    SnapshotsRecalledSealed,
)
from shared.errors import DamagedError
from shared.facts import ClockJumped, Fact
from siteagent.disk.local import LocalDisk
from siteagent.home import Home
from siteagent.jobs import restore as restore_job
from siteagent.jobs.backup import BackupRequest, back_up
from siteagent.jobs.leaving import leaving
from siteagent.jobs.needed import GRACE_NS
from siteagent.jobs.packplan import views
from siteagent.jobs.prune import allocated_bytes
from siteagent.jobs.repair_index import repair_index
from siteagent.jobs.repair_log import open_broken, repair_log
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.jobs.verify import verify
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from siteagent.store.nameruns import unpack_names
from siteagent.store.names import SegmentName
from tests.support.days import DAY_NS, Days, days_pass, eight_days, ids, pruned
from tests.support.homes import Place, forget, incompressible, newest

WEEK_NS = 7 * 24 * 3600 * 10**9


@pytest.fixture
def site(tmp_path: Path) -> Days:
    return eight_days(tmp_path)


@pytest.fixture
def home(site: Days) -> Iterator[Home]:
    with site.place.open() as opened:
        yield opened


def files(place: Place) -> dict[str, bytes]:
    folders = ("packs", "snapshots", "reaches")
    return {path.name: path.read_bytes() for folder in folders for path in (place.home / folder).iterdir()}


def test_what_is_forgotten_goes_and_what_is_wanted_stays(site: Days, home: Home) -> None:
    before, going = allocated_bytes(home), ids(home)[::2]
    forget(home, going)
    report = pruned(home)
    assert report.snapshots == going
    assert report.bytes_freed == before - allocated_bytes(home) > 0
    assert report.segments_superseded
    assert home.ledger.history().swept == going
    assert {name.partition(".")[0] for name in files(site.place) if name.endswith(".manifest")} == {
        snapshot.hex() for snapshot in ids(home)
    }
    site.require_whole(home)
    # The index names nothing that went: who finds a chunk by it would look in vain.
    assert set(home.index.segments()) == {row.name for view in views(home) for row in view.rows}
    assert [job.kind for job in home.ledger.history().jobs][-3:] == ["prune", "compact", "verify"]
    assert home.ledger.history().open_jobs == []


def test_nothing_to_do_changes_nothing(site: Days, home: Home) -> None:
    pruned(home)
    before = files(site.place)
    report = pruned(home)
    assert (report.bytes_freed, report.bytes_rewritten, report.segments_swept) == (0, 0, 0)
    assert files(site.place) == before


def test_a_dry_run_changes_nothing_and_is_about_right(site: Days, home: Home) -> None:
    forget(home, ids(home)[::2])
    before = files(site.place)
    foreseen = pruned(home, is_dry_run=True)
    assert files(site.place) == before
    assert len(ids(home)) == 8
    report = pruned(home)
    assert foreseen.snapshots == report.snapshots
    assert foreseen.segments_superseded == report.segments_superseded
    assert foreseen.bytes_freed == pytest.approx(report.bytes_freed, rel=0.3)


def test_waiting_time_and_now(site: Days, home: Home) -> None:
    due = home.ledger.now_ns() + WEEK_NS
    forget(home, ids(home)[:2], due)
    assert pruned(home).snapshots == []
    assert len(leaving(home, is_now=True).going) == 2
    days_pass(home, site.place.clock, 7)
    assert len(pruned(home).snapshots) == 2
    forget(home, ids(home)[:1], due + WEEK_NS)
    assert len(pruned(home, is_now=True).snapshots) == 1


def test_a_recalled_snapshot_is_as_it_was(site: Days, home: Home) -> None:
    going = ids(home)[:3]
    forget(home, going, home.ledger.now_ns() + WEEK_NS)
    pruned(home)
    recalled = SnapshotsRecalled(decision=bytes(16), snapshots=(going[1],))
    home.ledger.record(Fact(recalled, SnapshotsRecalledSealed(user="u", host="h")))
    assert pruned(home, is_now=True).snapshots == [going[0], going[2]]
    assert going[1] in ids(home)
    site.require_whole(home)


def test_a_hold_outlasts_now(site: Days, home: Home) -> None:
    going = ids(home)[:2]
    forget(home, going)
    placed = HoldPlaced(hold=bytes(16), snapshots=(going[0],))
    home.ledger.record(Fact(placed, HoldPlacedSealed(user="u", host="h")))
    report = pruned(home, is_now=True)
    assert report.snapshots == [going[1]]
    assert any("held" in note for note in report.notes)
    site.require_whole(home)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_jumped_proves_no_waiting_time(site: Days, home: Home, hours: int) -> None:
    forget(home, ids(home)[:2])
    now_ns = home.ledger.now_ns() + 3600 * 10**9
    home.ledger.record(Fact(ClockJumped(from_ns=now_ns, to_ns=now_ns + hours * 3600 * 10**9)))
    site.place.clock.time_ns += 30 * 24 * 3600 * 10**9
    report = pruned(home)
    assert report.snapshots == []
    assert any("--now" in note for note in report.notes)
    assert len(pruned(home, is_now=True).snapshots) == 2


def test_a_reach_that_does_not_read_stops_everything(site: Days, home: Home) -> None:
    forget(home, ids(home)[:2])
    path = site.place.home / "reaches" / ids(home)[-1].hex()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    before = files(site.place)
    with pytest.raises(DamagedError, match="nothing can be given up") as caught:
        pruned(home)
    assert "verify" in caught.value.next_step
    assert files(site.place) == before
    assert len(ids(home)) == 8


def test_a_missing_segment_must_be_known_before_anything_goes(site: Days, home: Home) -> None:
    forget(home, ids(home)[:2])
    lost = home.reader.spot(newest_segment(home)).pack_id
    home.packs.delete(lost)
    with pytest.raises(DamagedError, match="in no pack"):
        pruned(home)
    assert len(ids(home)) == 8
    verify(home)
    assert len(pruned(home).snapshots) == 2


def newest_segment(home: Home) -> SegmentName:
    summary = newest(home).summary
    assert summary is not None
    return summary.root_segment


def test_no_segment_of_an_interrupted_backup_goes_before_the_next_try(site: Days, home: Home) -> None:
    with pytest.raises(RuntimeError):
        site.place.write("new", incompressible("new", 3 << 20))
        _failing_backup(site.place, home)
    segments = set(home.index.segments())
    assert pruned(home).segments_swept == 0
    assert set(home.index.segments()) == segments
    days_pass(home, site.place.clock, GRACE_NS // DAY_NS)
    assert pruned(home).segments_swept
    site.require_whole(home)


def _failing_backup(place: Place, home: Home) -> None:
    def fail() -> None:
        raise RuntimeError

    place.clock.sleep(60)
    node, roots = merge_roots([str(place.source).encode()], b"/")
    home.world = replace(home.world, pack_bytes=1 << 20)
    back_up(home, BackupRequest("docs", tuple(roots), PosixView(node, None, None), "u", "h", finish=fail))


@pytest.mark.parametrize("is_lost", [True, False])
def test_an_index_that_is_lost_or_put_back_leads_to_nothing_that_went(site: Days, is_lost: bool) -> None:
    older = site.place.folder / "older"
    shutil.copytree(site.place.home / "index", older)
    with site.place.open() as home:
        forget(home, ids(home)[::2])
        pruned(home)
    shutil.rmtree(site.place.home / "index")
    if not is_lost:
        shutil.copytree(older, site.place.home / "index")
    with site.place.open() as home:
        for name in ("many/0", "many/1"):
            site.place.write(name, site.truth[home.ledger.history().swept[0]][site.place.path(name)])
        site.take(home)
        site.require_whole(home)
        assert all(name not in home.retired for name in reach(home))
        repair_index(home)
        site.require_whole(home)


def reach(home: Home) -> set[SegmentName]:
    return home.successors.closed(home.snapshots.segments(newest(home).id))


def test_a_lost_log_leads_on_from_what_was_compacted(site: Days) -> None:
    with site.place.open() as home:
        going = ids(home)[::2]
        forget(home, going)
        assert pruned(home).segments_superseded
        packs = set(home.packs.finished())
    shutil.rmtree(site.place.home / "log")
    (site.place.home / "log").mkdir()
    with open_broken(site.place.access, "repair log", site.place.world) as home:
        report = repair_log(home)
        assert len(report.snapshots) == 4
        assert report.not_taken == []
        site.require_whole(home)
        assert sorted(home.ledger.history().swept) == sorted(going)
    with site.place.open() as home:
        assert pruned(home, is_now=True).snapshots == []
        assert set(home.packs.finished()) == packs
        site.change(20)
        site.take(home)
        site.require_whole(home)


def test_a_log_from_before_a_prune_is_noticed_and_mended(site: Days) -> None:
    with site.place.open() as home:
        forget(home, ids(home)[::2])
    older = site.place.folder / "older"
    shutil.copytree(site.place.home / "log", older)
    with site.place.open() as home:
        pruned(home)
    shutil.rmtree(site.place.home / "log")
    shutil.copytree(older, site.place.home / "log")
    (site.place.folder / "home.head").unlink()
    with open_broken(site.place.access, "repair log", site.place.world) as home:
        assert repair_log(home).reason
        assert len(ids(home)) == 4
        site.require_whole(home)


def test_without_holes_packs_are_copied(site: Days, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalDisk, "punch", lambda *_: False)
    site.place.write("kept", incompressible("kept", 2_600_000))
    site.place.write("zz", incompressible("zz", 3_000_000))
    site.take(home)
    (site.place.source / "zz").unlink()
    site.take(home)
    forget(home, ids(home)[:-1])
    report = pruned(home)
    assert (report.packs_punched, report.packs_repacked > 0) == (0, True)
    assert report.bytes_freed > 2_500_000
    site.require_whole(home)


def test_the_budget_bounds_what_is_written_again(home: Home) -> None:
    forget(home, ids(home)[::2])
    report = pruned(home, budget_bytes=0)
    assert (report.bytes_rewritten, report.segments_superseded, report.packs_repacked) == (0, 0, 0)


def test_restore_processes_follow_successors(site: Days, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(home, ids(home)[:-1])
    assert pruned(home).segments_superseded
    monkeypatch.setattr(restore_job, "ALONE_ENTRIES_MAX", 0)
    home.world = replace(home.world, may_start_processes=True)
    target = site.place.folder / "restored"
    request = RestoreRequest(newest(home), str(site.place.source).encode(), str(target), "user", "host")
    assert restore(home, [request]).errors == []
    assert {site.place.path(str(file.relative_to(target))): file.read_bytes() for file in target.rglob("*")
            if file.is_file()} == site.truth[newest(home).id]  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["take", "take", "forget", "prune", "index"])),
                      min_size=4, max_size=14))  # fmt: skip
def test_whatever_is_forgotten_in_whatever_order(steps: list[tuple[int, str]],
                                                 tmp_path_factory: pytest.TempPathFactory) -> None:
    place = Place(tmp_path_factory.mktemp("any")).create()
    place.world = replace(place.world, pack_bytes=150_000)
    site, gone = Days(place), set[bytes]()
    site.change(0)
    with place.open() as home:
        site.take(home)
        for number, step in [*steps, (1, "prune")]:
            if step == "take":
                site.change(number)
                site.take(home)
            elif step == "forget":
                going = [snapshot for place, snapshot in enumerate(ids(home)[:-1]) if number >> place % 7 & 1]
                forget(home, going)
                gone.update(going)
            elif step == "prune":
                pruned(home)
            else:
                home.index.reset()
        assert set(ids(home)) == site.truth.keys() - gone
        site.require_whole(home)
    with place.open() as home:
        site.take(home)
        site.require_whole(home)


def test_fifty_snapshots_half_of_them_forgotten_cost_what_the_others_would(tmp_path: Path) -> None:
    """At most 1.15 times a fresh home that was given only those that stay, in order."""
    homes = []
    for name in ("all", "some"):
        (tmp_path / name).mkdir()
        homes.append(Days(Place(tmp_path / name).create()))
    with homes[0].place.open() as home, homes[1].place.open() as fresh:
        for day in range(50):
            for made, opened in zip(homes, (home, fresh), strict=True):
                made.change(day, 60)
                if day % 2 or made is homes[0]:
                    made.take(opened)
        forget(home, ids(home)[::2])
        pruned(home)
        assert len(ids(home)) == len(ids(fresh)) == 25
        homes[0].require_whole(home)
        assert allocated_bytes(home) <= 1.15 * allocated_bytes(fresh)


def test_a_steady_state_costs_little_more_than_what_is_live(tmp_path: Path) -> None:
    """Daily, weekly and four-weekly snapshots over 60 days, pruned every third day: at most 1.25 x the live bytes."""
    for name in ("old", "fresh"):
        (tmp_path / name).mkdir()
    old, fresh = (Days(Place(tmp_path / name).create()) for name in ("old", "fresh"))
    taken = dict[int, bytes]()
    with old.place.open() as home, fresh.place.open() as only_kept:
        for day in range(60):
            for made in (old, fresh):
                made.change(day, 60)
            taken[day] = old.take(home)
            if _is_kept(day, 59):
                fresh.take(only_kept)
            if day % 3 == 0:
                _forget_older(home, taken, day)
        _forget_older(home, taken, 59)
        assert len(ids(home)) == len(ids(only_kept)) == len(taken) < 20
        old.require_whole(home)
        assert allocated_bytes(home) <= 1.25 * allocated_bytes(only_kept)


def _is_kept(day: int, today: int) -> bool:
    return today - day < 7 or (day % 7 == 0 and today - day < 35) or day % 28 == 0


def _forget_older(home: Home, taken: dict[int, bytes], today: int) -> None:
    gone = [day for day in taken if not _is_kept(day, today)]
    if gone:
        forget(home, [taken.pop(day) for day in gone])
        pruned(home)


def test_successors_are_compacted_in_turn(site: Days, home: Home) -> None:
    def days(*numbers: int) -> None:
        for day in numbers:
            site.change(day)
            site.take(home)
        forget(home, ids(home)[:-2])
        pruned(home)

    leaving = site.place.write("leaves later", incompressible("leaves later", 80_000))
    site.place.write("stays", incompressible("stays", 60_000))
    days(20, 21, 22)
    first = {name for new, _ in home.ledger.history().superseded for name in unpack_names(new)}
    assert first
    os.unlink(leaving)
    days(23, 24)
    assert any(name in home.successors for name in first)
    assert {name for name in reach(home) if name in home.successors} == set()
    site.require_whole(home)
