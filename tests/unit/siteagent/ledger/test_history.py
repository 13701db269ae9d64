"""The projection: what it adds up to, as of any past moment, and that its cache is worth nothing but time."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.chain import Position
from shared.codec import encode
from shared.decisions import SegmentsSwept
from shared.errors import RefusedError
from shared.facts import (
    Fact,
    JobEndedSealed,
    JobStarted,
    JobStartedSealed,
    LogReadopted,
    LogReadoptedSealed,
    PacksStored,
    RunAbandoned,
    RunAbandonedSealed,
    SnapshotTaken,
    VerificationDone,
    VerificationDoneSealed,
)
from siteagent.ledger import history_cache
from siteagent.ledger.history import History
from siteagent.ledger.ledger import CACHED_TAIL_FACTS, Ledger
from siteagent.ledger.reading import FactReader, RecordedFact
from siteagent.ledger.state import empty_state
from siteagent.ledger.stored import ChainedFact
from tests.support.determined import LabelledRandomness
from tests.support.ledgers import MINUTE_NS, Site, sample_pack


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


def image(ledger: Ledger, as_of: Position | int | None = None) -> bytes:
    """Everything a projection holds, as bytes."""
    return encode(ledger.history(as_of).to_state([], []))


def job(site: Site, **parts: object) -> list[Fact]:
    identity = site.id()
    done = VerificationDone(job=identity, mode="full", segments_checked=1, bytes_read=2, **parts)  # type: ignore[arg-type]
    return [
        Fact(JobStarted(job=identity, kind="verify"), JobStartedSealed(user="u", host="h")),
        Fact(done, VerificationDoneSealed(percent=100.0)),
    ]


def test_snapshots_by_order_id_and_name(site: Site) -> None:
    with site.create() as ledger:
        for name, quality in (("home", "live"), ("mail", "live"), ("home", "app"), ("home", "partial")):
            ledger.record(*site.backup(name, quality=quality))  # type: ignore[arg-type]
        history = ledger.history()
        summaries = [entry.summary for entry in history.snapshots if entry.summary]
        assert [one.name for one in summaries] == history.snapshot_names == ["home", "mail", "home", "home"]
        ids = [entry.id for entry in history.snapshots]
        assert history.snapshot_ids == ids
        assert history.snapshot(ids[1]) == history.snapshots[1]
        assert history.snapshot(bytes(16)) is None
        assert [entry.id for entry in history.snapshots_named("home")] == [ids[0], ids[2], ids[3]]
        newest = [history.newest_snapshot(), history.newest_snapshot("mail")]
        newest.append(history.newest_snapshot("home", is_good=True))
        assert [entry.id for entry in newest if entry] == [ids[3], ids[1], ids[2]]
        assert history.newest_snapshot("nobody") is None
        assert ledger.contains(history.snapshots[2].position)


def test_packs_are_present_from_their_fact_until_their_run_is_abandoned(site: Site) -> None:
    run, one, two, three = site.id(), site.id(), site.id(), site.id()
    with site.create() as ledger:
        ledger.record(Fact(PacksStored(run=run, packs=(sample_pack(one), sample_pack(two)))))
        ledger.record(Fact(LogReadopted(snapshots=(), packs=(sample_pack(three),)), LogReadoptedSealed(reason="r")))
        assert ledger.history().packs == {pack: sample_pack(pack) for pack in (one, two, three)}
        ledger.record(Fact(RunAbandoned(run=run, packs=(one,)), RunAbandonedSealed(reason="cut off")))
        assert set(ledger.history().packs) == {two, three}
        assert ledger.history().runs_abandoned == {run: ledger.head.position.sequence}


def test_a_pack_that_was_given_up_does_not_come_back(site: Site) -> None:
    """Whatever is taken back of older facts that name it."""
    run, one, sweep = site.id(), site.id(), site.id()
    with site.create() as ledger:
        ledger.record(Fact(PacksStored(run=run, packs=(sample_pack(one),))))
        started = Fact(JobStarted(job=sweep, kind="prune"), JobStartedSealed(user="u", host="h"))
        ledger.record(started, Fact(SegmentsSwept(job=sweep, snapshots=(), segments=b"", packs=(one,))))
        ledger.record(Fact(LogReadopted(snapshots=(), packs=(sample_pack(one),)), LogReadoptedSealed(reason="r")))
        assert (ledger.history().packs, ledger.history().packs_gone) == ({}, [one])


def test_the_packs_of_a_snapshot_are_present(site: Site) -> None:
    with site.create() as ledger:
        facts = site.backup()
        ledger.record(*facts)
        taken = facts[2].clear
        assert isinstance(taken, SnapshotTaken)
        assert taken.packs[0].id in ledger.history().packs


def test_jobs_are_open_until_they_end(site: Site) -> None:
    with site.create() as ledger:
        facts = site.backup()
        ledger.record(*facts[:3])
        (running,) = ledger.history().open_jobs
        assert (running.kind, running.outcome, running.ended) == ("backup", "", None)
        site.clock.pass_ns(5 * MINUTE_NS)
        ledger.record(facts[3])
        assert ledger.history().open_jobs == []
        (ended,) = ledger.history().jobs
        assert (ended.outcome, ended.ended) == ("done", JobEndedSealed(counters={"files": 3}, message="canary-message"))
        assert ended.ended_ns - ended.started_ns == 5 * MINUTE_NS


def test_damaged_segments_stay_so_until_they_read_well(site: Site) -> None:
    one, two = b"1" * 20, b"2" * 20
    with site.create() as ledger:
        first = ledger.record(*job(site, damaged=(one, two)))
        second = ledger.record(*job(site, damaged=(two,), mended=(one,)))
        assert ledger.history().damaged == {two: second}
        assert ledger.history(first).damaged == {one: first, two: first}


def test_every_past_position_gives_what_was_known_then(site: Site) -> None:
    with site.create() as ledger:
        known = []
        for number in range(6):
            ledger.record(*site.backup(f"name-{number}"))
            known.append((ledger.head.position, image(ledger)))
        ledger.open_log_epoch("asked")
        for position, then in known:
            assert image(ledger, position) == then
        with pytest.raises(RefusedError, match="does not contain"):
            ledger.history(Position(bytes(16), bytes(32), 1, bytes(32)))


def test_as_of_a_time_includes_that_very_moment(site: Site) -> None:
    with site.create() as ledger:
        known = []
        for number in range(4):
            site.clock.pass_ns(10 * MINUTE_NS + number)
            ledger.record(*site.backup(f"name-{number}"))
            known.append((site.clock.now_ns(), image(ledger)))
        for time_ns, then in known:
            assert image(ledger, time_ns) == then
            assert image(ledger, time_ns - 1) != then
        assert ledger.history(0).facts == 0


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    read, counted = FactReader.read, []

    def counting(self: FactReader, fact: ChainedFact) -> RecordedFact:
        counted.append(fact.place)
        return read(self, fact)

    monkeypatch.setattr(FactReader, "read", counting)
    return counted


def long_log(site: Site) -> bytes:
    """A log long enough for a cache; the projection of it."""
    with site.create() as ledger:
        while ledger.history().facts <= CACHED_TAIL_FACTS:
            ledger.record(*site.backup())
        ledger.record(*job(site, damaged=(b"x" * 20,)))
        return image(ledger)


def test_a_warm_cache_replays_only_the_tail(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = long_log(site)
    assert (site.home / "log" / "history").exists()
    reads = count_reads(monkeypatch)
    with site.open() as ledger:
        assert image(ledger) == expected
        assert reads == []
        ledger.record(*site.backup()[:1])
        reads.clear()
        grown = image(ledger)
        assert len(reads) == 1
    with site.open() as ledger:
        assert image(ledger) == grown
        assert list(ledger.facts())[-1].sealed == site.backup()[0].sealed


def test_a_short_tail_is_not_worth_a_new_cache(site: Site) -> None:
    long_log(site)
    path = site.home / "log" / "history"
    before = path.read_bytes()
    with site.open() as ledger:
        ledger.record(*site.backup())
        ledger.history()
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "newer", "foreign", "future"])
def test_a_bad_cache_costs_time_only(site: Site, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = long_log(site)
    path = site.home / "log" / "history"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    elif damage == "newer":
        path.write_bytes(content[:4] + b"\xff" + content[5:])
    elif damage == "foreign":
        other = Site(tmp_path / "other", randomness=LabelledRandomness("other"))
        long_log(other)
        path.write_bytes((other.home / "log" / "history").read_bytes())
    else:
        log = site.database.read_bytes()
        with site.open() as ledger:
            for _ in range(CACHED_TAIL_FACTS):
                ledger.record(*site.backup())
            ledger.history()
        assert path.read_bytes() != content
        site.database.write_bytes(log)
    reads = count_reads(monkeypatch)
    with site.open(is_trusted=False) as ledger:
        assert image(ledger) == expected
        assert ledger.history().facts <= len(reads)


def test_a_cache_that_cannot_be_written_is_no_failure(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.home / "log").mkdir()
    (site.home / "log" / "history").mkdir()
    expected = long_log(site)
    with site.open() as ledger:
        assert image(ledger) == expected


def test_a_program_that_folds_otherwise_does_not_trust_the_cache(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    long_log(site)
    monkeypatch.setattr(history_cache, "VERSION", history_cache.VERSION + 1)
    reads = count_reads(monkeypatch)
    with site.open() as ledger:
        assert 0 < ledger.history().facts == len(reads)


def test_the_log_clock_goes_on_after_a_warm_start(site: Site) -> None:
    long_log(site)
    site.clock.wall_ns -= 30 * 1_000_000_000
    with site.open() as ledger:
        before = ledger.history().last_stamp
        ledger.record(*site.backup())
        after = ledger.history().last_stamp
        assert before and after and after.time_ns == before.time_ns
        assert after.wall_ns == site.clock.wall_ns


def test_an_empty_history_knows_nothing() -> None:
    history = History(empty_state(bytes(16)))
    assert (history.facts, history.last_stamp, history.snapshots, history.packs) == (0, None, [], {})
