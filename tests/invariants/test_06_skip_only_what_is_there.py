"""Invariant 6: a backup skips only what is really there, and nothing that a running job relies on is taken away.

The shipped jobs run side by side in one owner process under a scheduler that chooses who does the next step
(tests/support/steps.py). Each row of the table in siteagent/store/leases.py gets the order that is dangerous; all
orders within bounds follow, seeded ones, and real threads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.errors import RefusedError, UnavailableError
from siteagent.jobs.repair_index import repair_index
from siteagent.restore import umask
from tests.support.exploration import Path as Order
from tests.support.exploration import at_random, explore
from tests.support.scratch import memory, scratch_folder
from tests.support.sidebyside import Job, SideBySide
from tests.support.steps import Steps, seal_one_by_one
from tests.support.tally import Tally

_SHORT, _LONG = 30, 100_000


@pytest.fixture(autouse=True)
def one_thread_and_no_real_sync(monkeypatch: pytest.MonkeyPatch, no_sync_of_restores: None) -> None:
    """One sealing thread that a job waits for; and what is restored here need not outlive this machine."""
    seal_one_by_one(monkeypatch)


@pytest.fixture
def site() -> Iterator[SideBySide]:
    with scratch_folder(memory()) as folder:
        yield SideBySide(folder)


def jobs_of(site: SideBySide, *names: str) -> dict[str, Job]:
    kinds = {"backup": site.backup, "second": site.backup, "prune": site.prune, "restore": site.restore,
             "forgotten": site.restore_forgotten, "verify": site.verify, "other": site.prune,
             "label": site.label, "recall": site.recall}  # fmt: skip
    return {name: kinds[name] for name in names}


COMMIT, SWEEP = "ledger.record SnapshotTaken", "ledger.record SegmentsSwept"
SUPERSEDE = "ledger.record SegmentsSuperseded"
STARTED, CONDEMN, READ = "ledger.record JobStarted", "leases.condemn", "snapshotfiles.manifest"
Acts = tuple[tuple[str, str], ...]
ROWS: dict[str, Acts] = {
    "backup x sweep": (("prune", SWEEP), ("backup", "end"), ("prune", "end")),
    "sweep x backup, condemned between claim and look": (
        ("prune", CONDEMN), ("backup", "leases.register#2"), ("prune", f"wait|{SWEEP}"), ("backup", COMMIT),
        ("prune", "wait|end"), ("backup", "end"), ("prune", "end")),
    "restore x sweep": (("prune", SWEEP), ("restore", "end"), ("forgotten", "end"), ("prune", "end")),
    "restore x sweep, looked up before": (("forgotten", "leases.register"), ("prune", "end"), ("forgotten", "end")),
    "verify x sweep": (("prune", SWEEP), ("verify", READ), ("prune", "wait"), ("verify", "end"), ("prune", "end")),
    "verify x sweep, packs go": (("prune", "remove packs"), ("verify", "wait"), ("prune", "end"), ("verify", "end")),
    "verify x sweep, packs go while it looks": (("prune", "home.arranging#3"), ("verify", "listed packs#3"),
                                                ("prune", "end"), ("verify", "end")),
    "restore x repack, packs go while it reads": (("prune", "home.arranging#3"), ("restore", "index.spot"),
                                                  ("prune", "end"), ("restore", "end")),
    "sweep x backup": (("prune", CONDEMN), ("backup", COMMIT), ("prune", "wait"), ("backup", "end"), ("prune", "end")),
    "sweep x restore": (("forgotten", STARTED), ("prune", "wait"), ("forgotten", "end"), ("prune", "end")),
    "sweep x restore, manifests": (("prune", CONDEMN), ("restore", STARTED), ("prune", "wait"), ("restore", "end"),
                                   ("prune", "end")),
    "sweep x verify": (("prune", CONDEMN), ("verify", READ), ("prune", "wait"), ("verify", "end"), ("prune", "end")),
    "backup x compaction": (("prune", SUPERSEDE), ("backup", "end"), ("prune", "end")),
    "backup x compaction, commit after it": (("prune", SUPERSEDE), ("backup", COMMIT), ("prune", CONDEMN),
                                             ("backup", "end"), ("prune", "end")),
    "backup x compaction, its pack without a name": (("prune", "name packs"), ("backup", "end"), ("prune", "end")),
    "compaction x backup": (("backup", COMMIT), ("prune", "wait"), ("backup", "end"), ("prune", "end")),
    "restore x compaction": (("prune", SUPERSEDE), ("restore", "index.spot"), ("prune", "wait"), ("restore", "end"),
                             ("prune", "end")),
    "compaction x restore": (("restore", STARTED), ("prune", "wait"), ("restore", "end"), ("prune", "end")),
    "verify x compaction": (("prune", "name packs"), ("verify", READ), ("prune", "wait"), ("verify", "end"),
                            ("prune", "end")),
    "compaction x verify": (("verify", READ), ("prune", "wait"), ("verify", "end"), ("prune", "end")),
    "backup x verify": (("verify", "listed packs#3"), ("backup", "end"), ("verify", "end")),
    "restore x repack": (("prune", "ledger.record PacksReplaced"), ("restore", "index.spot"), ("prune", "wait"),
                         ("restore", "end"), ("prune", "end")),
    "repack x restore": (("prune", CONDEMN), ("restore", "index.spot"), ("prune", "wait"), ("restore", "end"),
                         ("prune", "end")),
    "restore x repack, index and pack go": (("prune", "remove packs"), ("restore", "wait"), ("prune", "end"),
                                            ("restore", "end")),
    **{f"restore x repack, pack {number} goes": (("prune", f"remove packs#{number}"), ("restore", "wait"),
                                                 ("prune", "end"), ("restore", "end")) for number in (2, 3)},
    "backup x repack, its pack without a name": (("prune", "name packs#2"), ("backup", "end"), ("prune", "end")),
    "prune x prune": (("prune", SWEEP), ("other", "end"), ("prune", "end")),
    "backup x backup": (("backup", COMMIT), ("second", "end"), ("backup", "end")),
    "backup x backup, packs found": (("second", STARTED), ("backup", COMMIT), ("second", "end"), ("backup", "end")),
    "backup x backup, one is cut off": (("second", STARTED), ("backup", COMMIT), ("second", "end"), ("backup", "kill")),
    "backup x backup, the other is cut off": (("backup", COMMIT), ("second", "name snapshots"), ("backup", "kill"),
                                              ("second", "end")),
    "prune x recall": (("recall", STARTED), ("prune", "wait"), ("recall", "end"), ("prune", "end")),
    "recall x prune": (("recall", "home.deciding"), ("prune", CONDEMN), ("recall", "end"), ("prune", "end")),
    "start x start": (("backup", "leases.held"), ("second", "wait"), ("backup", COMMIT), ("second", "end"),
                      ("backup", "end")),
    "start x start, prepared and not listed yet": (
        ("backup", "leases.register"), ("second", "leases.held|wait"), ("backup", COMMIT), ("second", "end"),
        ("backup", "end")),
    "start of a backup x start of what writes facts only": (
        ("label", "leases.held"), ("backup", f"wait|{COMMIT}"), ("label", "end"), ("backup", "end")),
    "start of a prune x start": (("prune", "leases.held"), ("backup", "wait"), ("prune", SWEEP), ("backup", "end"),
                                 ("prune", "end")),
    "start x verify": (("verify", READ), ("backup", "end"), ("verify", "end")),
    "start x end of a verify": (("verify", "ledger.record VerificationDone"), ("backup", "leases.held"),
                                ("verify", "wait"), ("backup", "end"), ("verify", "end")),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_table(row: str, site: SideBySide, tally: Tally) -> None:
    acts = ROWS[row]
    site.can_punch = "repack" not in row
    steps = site.follow(jobs_of(site, *dict(acts)), *acts)
    tally("schedules of the table of leases", 1)
    found = {name: job.result for name, job in steps.jobs.items()}
    refused = {name: job.error for name, job in steps.jobs.items() if job.error is not None}
    if row in _CHECKS:
        _CHECKS[row](found, refused)
    assert row in _REFUSED or not refused


_REFUSED = {"restore x sweep, looked up before", "prune x prune", "backup x backup, one is cut off",
            "backup x backup, the other is cut off"}  # fmt: skip


Found = dict[str, Any]
Refused = dict[str, BaseException]


def _stores_anew(found: Found, _: Refused) -> None:
    assert found["prune"].segments_swept
    assert found["prune"].segments_superseded
    assert (found["backup"].summary.bytes_read, found["backup"].summary.bytes_new) == (55_000, 55_000)


def _stores_half_anew(found: Found, _: Refused) -> None:
    """Only what is closed; what is to be condemned later is found, and stays for it."""
    assert found["prune"].segments_superseded
    assert (found["backup"].summary.bytes_read, found["backup"].summary.bytes_new) == (55_000, 25_000)


def _finds_all(found: Found, _: Refused) -> None:
    assert found["prune"].segments_superseded == 0
    assert found["backup"].summary.bytes_new == 5_000


def _is_repacked(found: Found, _: Refused) -> None:
    assert found["prune"].packs_repacked


def _is_told_that_it_was_pruned(found: Found, refused: Refused) -> None:
    assert isinstance(refused["forgotten"], RefusedError)
    assert found["prune"].segments_swept


def _does_not_see_it(found: Found, _: Refused) -> None:
    assert (found["restore"], found["forgotten"]) == ("restored", "not there")


def _is_told_of_the_other(_: Found, refused: Refused) -> None:
    assert isinstance(refused["other"], UnavailableError)
    assert "another prune" in str(refused["other"])


def _uses_what_the_other_stored(found: Found, _: Refused) -> None:
    assert found["second"].summary.bytes_new == 0


def _trusts_no_pack_without_a_fact(found: Found, _: Refused) -> None:
    assert found["second"].summary.bytes_new == found["backup"].summary.bytes_new == 5_000


_CHECKS: dict[str, Callable[[Found, Refused], None]] = {
    "backup x sweep": _stores_anew, "sweep x backup, condemned between claim and look": _stores_anew,
    "restore x sweep": _does_not_see_it, "restore x sweep, looked up before": _is_told_that_it_was_pruned,
    "sweep x backup": _stores_half_anew, "backup x compaction": _stores_half_anew,
    "backup x compaction, commit after it": _stores_half_anew, "compaction x backup": _finds_all,
    "restore x repack": _is_repacked, "repack x restore": _is_repacked,
    "restore x repack, index and pack go": _is_repacked, "prune x prune": _is_told_of_the_other,
    "backup x backup": _trusts_no_pack_without_a_fact, "backup x backup, packs found": _uses_what_the_other_stored,
    "backup x backup, one is cut off": _uses_what_the_other_stored,
}  # fmt: skip


@pytest.mark.parametrize(("names", "can_punch"), [
    (("backup", "prune"), True), (("prune", "backup"), False), (("prune", "verify"), False),
    (("prune", "restore"), False), (("prune", "forgotten"), True), (("backup", "second"), True),
    (("backup", "verify"), True),
])  # fmt: skip
def test_all_orders_within_bounds(names: tuple[str, ...], can_punch: bool, site: SideBySide, tally: Tally,
                                  is_long_run: bool, seed: int) -> None:
    """Short: a seeded choice among the orders of two switches; long: all of these, and all of twelve choices."""
    site.can_punch = can_punch
    jobs = jobs_of(site, *names)

    def run(order: Order) -> None:
        site.run(jobs, order, Steps())

    def run_coarse(order: Order) -> None:
        site.run(jobs, order, Steps(lambda label: label.startswith(_COARSE)))

    count, is_all = explore(run, depth=1000, switches=2, limit=_LONG if is_long_run else _SHORT, seed=seed)
    if is_long_run:
        assert is_all
        count += explore(run_coarse, depth=12, switches=12, limit=_LONG, seed=seed)[0]
    tally("orders of two jobs", count)


_COARSE = ("ledger.record S", "leases.register", "leases.c", "home.arranging", "remove packs", "name snapshots")


def test_seeded_orders_of_five_jobs(site: SideBySide, tally: Tally, is_long_run: bool, seed: int) -> None:
    jobs = jobs_of(site, "backup", "prune", "verify", "second", "restore")
    count, succeeded = 2_000 if is_long_run else 25, set[str]()
    for number in range(seed, seed + count):
        site.can_punch = number % 2 == 0
        try:
            succeeded |= site.run(jobs, at_random(number), Steps(lambda label: label != "index.spot")).succeeded()
        except AssertionError as error:
            raise AssertionError(f"again: FARKEEP_TEST_SEED={number}") from error
    assert succeeded == jobs.keys()
    tally("random orders of five jobs", count)


def test_repair_of_the_index_waits_for_nobody_and_disturbs_nobody(site: SideBySide) -> None:
    with site.opened(Steps()) as home:
        lease = home.leases.register("restore")
        with pytest.raises(UnavailableError, match="restore"):
            repair_index(home)
        lease.end()
        assert repair_index(home).is_good


def test_threads_as_they_come(site: SideBySide, tally: Tally, is_long_run: bool, seed: int,
                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Real locks, real waits, the interpreter switching as often as it can."""
    monkeypatch.undo()
    monkeypatch.setattr("siteagent.jobs.restore.sync_target", lambda handle: None)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    jobs = jobs_of(site, "backup", "prune", "verify", "second", "restore", "forgotten")
    rounds = 60 if is_long_run else 3
    try:
        for number in range(rounds):
            # A prune may have to give up, and find nothing of what was forgotten left for a restore.
            assert site.run_free(jobs, seed + number).succeeded() >= jobs.keys() - {"prune", "forgotten"}
    finally:
        sys.setswitchinterval(interval_s)
    tally("rounds of six jobs in threads", rounds)


def test_restores_side_by_side_share_one_absence_of_the_mask(site: SideBySide) -> None:
    before = os.umask(0o027)
    try:
        site.follow({"first": site.restore, "second": site.restore}, ("first", STARTED), ("second", "end"),
                    ("first", "end"))
        umask.take_away()
        umask.take_away()
        umask.put_back()
        assert os.umask(0) == 0
        umask.put_back()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
