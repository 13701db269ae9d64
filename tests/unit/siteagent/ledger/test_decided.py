"""Decisions about what is kept, folded: what they change, as of any past position, and through the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.chain import NO_ID, Position
from shared.codec import encode
from shared.decisions import (
    HoldPlaced,
    HoldPlacedSealed,
    HoldReleased,
    HoldReleasedSealed,
    SegmentsSwept,
    SnapshotLabelled,
    SnapshotLabelledSealed,
    SnapshotsForgotten,
    SnapshotsForgottenSealed,
    SnapshotsRecalled,
    SnapshotsRecalledSealed,
)
from shared.errors import BugError
from shared.facts import ClockJumped, Fact, JobStarted, JobStartedSealed, Subject
from siteagent.ledger.history import History
from siteagent.ledger.ledger import CACHED_TAIL_FACTS, Ledger
from siteagent.ledger.reading import FactReader, Mark
from siteagent.ledger.state import SnapshotEntry
from tests.support.histories import add_fact, add_snapshot, new_history
from tests.support.ledgers import MINUTE_NS, SOURCE, Site

HOUR_NS = 60 * MINUTE_NS
WHO = {"user": "canary-user", "host": "canary-host"}
ONE, TWO, THREE, HOLD = (bytes([number]) * 16 for number in (1, 2, 3, 9))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


@pytest.fixture
def history() -> History:
    """Two snapshots of docs, one of mail, at hours 1 to 3."""
    made = new_history()
    for hour, (snapshot, name) in enumerate(((ONE, "docs"), (TWO, "docs"), (THREE, "mail")), 1):
        add_snapshot(made, snapshot, name, hour * HOUR_NS)
    return made


def entry(history: History, snapshot: bytes) -> SnapshotEntry:
    found = history.snapshot(snapshot)
    assert found is not None
    return found


def label(snapshot: bytes, **change: object) -> Fact:
    return Fact(SnapshotLabelled(snapshot=snapshot), SnapshotLabelledSealed(**WHO, **change))  # type: ignore[arg-type]


def forget(site_id: bytes, *snapshots: bytes, sweep_after_ns: int = 5) -> Fact:
    return Fact(SnapshotsForgotten(decision=site_id, snapshots=snapshots, sweep_after_ns=sweep_after_ns),
                SnapshotsForgottenSealed(**WHO))  # fmt: skip


def recall(site_id: bytes, *snapshots: bytes) -> Fact:
    return Fact(SnapshotsRecalled(decision=site_id, snapshots=snapshots), SnapshotsRecalledSealed(**WHO))


def fold(history: History, fact: Fact, time_ns: int = 10 * HOUR_NS) -> None:
    add_fact(history, fact.clear, fact.sealed, time_ns)


# Labels


def test_tags_come_and_go_and_keep_their_order(history: History) -> None:
    fold(history, label(ONE, tags_added=("b", "a")))
    fold(history, label(ONE, tags_added=("c", "a"), tags_removed=("b",)))
    assert entry(history, ONE).tags == ("a", "c")
    assert entry(history, TWO).tags == ()
    fold(history, label(ONE, tags_removed=("never there", "a")))
    assert entry(history, ONE).tags == ("c",)


def test_a_note_stays_until_another_one_comes(history: History) -> None:
    fold(history, label(ONE, note="first"))
    fold(history, label(ONE, tags_added=("a",)))
    assert (entry(history, ONE).note, entry(history, ONE).tags) == ("first", ("a",))
    fold(history, label(ONE, note=""))
    assert entry(history, ONE).note == ""


def test_a_label_that_cannot_be_read_or_is_of_nothing_known_changes_nothing(history: History) -> None:
    before = encode(history.snapshots)
    add_fact(history, SnapshotLabelled(snapshot=ONE), Mark.ERASED, HOUR_NS)
    fold(history, label(HOLD, note="of nothing"))
    assert encode(history.snapshots) == before


# Forgotten, recalled, swept


def test_a_forgotten_snapshot_is_listed_apart_and_found_by_its_id_alone(history: History) -> None:
    fold(history, forget(HOLD, TWO, sweep_after_ns=99), 7 * HOUR_NS)
    assert [found.id for found in history.wanted] == [ONE, THREE]
    assert [found.id for found in history.forgotten] == [TWO]
    assert history.snapshot_ids == [ONE, TWO, THREE]
    assert history.snapshot_names == ["docs", "mail"]
    assert [found.id for found in history.snapshots_named("docs")] == [ONE]
    newest = history.newest_snapshot("docs", is_good=True)
    assert newest is not None and newest.id == ONE
    assert (entry(history, TWO).forgotten_ns, entry(history, TWO).sweep_after_ns) == (7 * HOUR_NS, 99)


def test_a_recalled_snapshot_is_as_if_never_forgotten(history: History) -> None:
    before = encode(history.snapshots)
    fold(history, forget(HOLD, ONE, TWO, THREE))
    assert history.newest_snapshot() is None
    fold(history, recall(ONE, ONE, TWO, THREE))
    assert encode(history.snapshots) == before
    assert history.forgotten == []


def test_a_swept_snapshot_is_gone_and_comes_back_by_nothing(history: History) -> None:
    fold(history, forget(HOLD, TWO))
    fold(history, Fact(SegmentsSwept(job=ONE, snapshots=(TWO,), segments=b"set")))
    fold(history, recall(ONE, TWO))
    fold(history, label(TWO, note="late"))
    assert history.snapshot(TWO) is None
    assert set(history.swept) == {TWO}
    assert [found.id for found in history.snapshots] == [ONE, THREE]


def test_generations_count_swept_snapshots_too(history: History) -> None:
    fold(history, Fact(SegmentsSwept(job=ONE, snapshots=(ONE, TWO), segments=b"")))
    add_snapshot(history, HOLD, "docs", 20 * HOUR_NS)
    assert entry(history, HOLD).generation == 2


# Holds


def place(history: History, *, name: str = "", subject: bytes = NO_ID, sealed: Mark | None = None,
          **clear: object) -> None:
    part = HoldPlaced(hold=HOLD, **clear)  # type: ignore[arg-type]
    add_fact(history, part, sealed or HoldPlacedSealed(**WHO, reason="why", name=name), 10 * HOUR_NS, subject)


def held(history: History, now_ns: int = 11 * HOUR_NS) -> list[bytes]:
    return [found.id for found in history.snapshots if any(hold.holds(found, now_ns) for hold in history.holds)]


def test_a_hold_on_snapshots_a_name_or_everything(history: History) -> None:
    for clear, name, expected in (({"snapshots": (ONE, THREE)}, "", [ONE, THREE]), ({"is_whole": True}, "docs",
                                  [ONE, TWO]), ({"is_whole": True}, "", [ONE, TWO, THREE])):  # fmt: skip
        place(history, name=name, **clear)
        assert held(history) == expected
        (hold,) = history.holds
        assert (hold.user, hold.reason, hold.is_everything) == ("canary-user", "why", len(expected) == 3)
        fold(history, Fact(HoldReleased(hold=HOLD)))
        assert held(history) == []


def test_later_snapshots_of_a_held_name_are_held(history: History) -> None:
    place(history, name="docs", is_whole=True)
    add_snapshot(history, HOLD, "docs", 20 * HOUR_NS)
    assert held(history) == [ONE, TWO, HOLD]


def test_a_hold_ends_at_its_time(history: History) -> None:
    place(history, is_whole=True, until_ns=15 * HOUR_NS)
    assert held(history, 15 * HOUR_NS - 1) == [ONE, TWO, THREE]
    assert held(history, 15 * HOUR_NS) == []


@pytest.mark.parametrize(("release_ns", "is_over"), [(15 * HOUR_NS - 1, False), (15 * HOUR_NS, True)])
def test_a_lock_is_not_released_before_its_time_whatever_the_log_says(history: History, release_ns: int,
                                                                     is_over: bool) -> None:
    place(history, is_whole=True, until_ns=15 * HOUR_NS, is_lock=True)
    fold(history, Fact(HoldReleased(hold=HOLD)), release_ns)
    assert (history.holds == []) is is_over


def test_where_a_name_cannot_be_read_the_source_tells_what_is_held(history: History) -> None:
    docs, mail = b"d" * 16, b"m" * 16
    erased, other = b"4" * 16, b"5" * 16
    add_snapshot(history, erased, "docs", 20 * HOUR_NS, mark=Mark.ERASED, subject=docs)
    add_snapshot(history, other, "mail", 21 * HOUR_NS, mark=Mark.UNREADABLE, subject=mail)
    place(history, name="docs", is_whole=True, subject=docs)
    assert held(history) == [ONE, TWO, erased]
    fold(history, Fact(HoldReleased(hold=HOLD)))
    place(history, sealed=Mark.ERASED, is_whole=True, subject=docs)
    assert held(history) == [erased]
    fold(history, Fact(HoldReleased(hold=HOLD)))
    place(history, name="docs", is_whole=True)
    assert held(history) == [ONE, TWO, erased, other]
    fold(history, Fact(HoldReleased(hold=HOLD)))
    place(history, sealed=Mark.UNREADABLE, is_whole=True)
    assert held(history) == [ONE, TWO, THREE, erased, other]


# The clock


def test_a_confirmation_covers_the_jumps_before_it_and_none_after(history: History) -> None:
    jump = ClockJumped(from_ns=0, to_ns=60 * MINUTE_NS)
    confirmed = Fact(JobStarted(job=ONE, kind="confirm-clock"), JobStartedSealed(user="u", host="h"))
    fold(history, Fact(ClockJumped(from_ns=59 * MINUTE_NS, to_ns=0)))
    assert history.unconfirmed_jumps == []
    fold(history, Fact(jump))
    assert history.unconfirmed_jumps == [jump]
    fold(history, Fact(JobStarted(job=TWO, kind="forget"), JobStartedSealed(user="u", host="h")))
    assert history.unconfirmed_jumps == [jump]
    fold(history, confirmed)
    assert history.unconfirmed_jumps == []
    back = ClockJumped(from_ns=60 * MINUTE_NS, to_ns=0)
    fold(history, Fact(back))
    assert history.unconfirmed_jumps == [back]
    assert len(history.jumps) == 3


# In a log


def image(ledger: Ledger, as_of: Position | None = None) -> bytes:
    return encode(ledger.history(as_of).to_state([], []))


def decide(site: Site, ledger: Ledger) -> list[Position]:
    """Three snapshots and one decision of every kind; the positions after each."""
    ids = []
    for _ in range(3):
        facts = site.backup("canary-source-name")
        ledger.record(*facts)
        ids.append(facts[2].clear.snapshot)  # type: ignore[attr-defined]
    hold, positions = site.id(), []
    for fact in (
        label(ids[0], tags_added=("x",), note="n"),
        Fact(HoldPlaced(hold=hold, is_whole=True), HoldPlacedSealed(**WHO, name="canary-source-name"), SOURCE),
        forget(site.id(), ids[0], ids[1]),
        recall(site.id(), ids[0]),
        Fact(HoldReleased(hold=hold), HoldReleasedSealed(**WHO)),
    ):  # fmt: skip
        site.clock.pass_ns(MINUTE_NS)
        positions.append(ledger.record(fact))
    prune = Fact(JobStarted(job=hold, kind="prune"), JobStartedSealed(user="u", host="h"))
    positions.append(ledger.record(prune, Fact(SegmentsSwept(job=hold, snapshots=(ids[1],), segments=b""))))
    return positions


def test_every_past_position_shows_what_was_decided_until_then(site: Site) -> None:
    with site.create() as ledger:
        positions = decide(site, ledger)
        seen = []
        for position in positions:
            past = ledger.history(position)
            seen.append((len(past.wanted), len(past.forgotten), len(past.swept), len(past.holds)))
        assert seen == [(3, 0, 0, 0), (3, 0, 0, 1), (1, 2, 0, 1), (2, 1, 0, 1), (2, 1, 0, 0), (2, 0, 1, 0)]
        assert image(ledger, positions[-1]) == image(ledger)


def test_what_was_decided_comes_through_the_cache(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with site.create() as ledger:
        while ledger.history().facts <= CACHED_TAIL_FACTS:
            ledger.record(*site.backup())
        decide(site, ledger)
        ledger.record(forget(site.id(), ledger.history().snapshot_ids[0]))
        ledger.record(Fact(HoldPlaced(hold=HOLD, is_whole=True), HoldPlacedSealed(**WHO, name="x"), SOURCE))
        ledger.record(Fact(ClockJumped(from_ns=0, to_ns=HOUR_NS)))
        expected, wanted = image(ledger), [found.id for found in ledger.history().wanted]
    replayed = []
    monkeypatch.setattr(FactReader, "read", lambda _, fact: replayed.append(fact))
    with site.open() as ledger:
        assert image(ledger) == expected
        assert [found.id for found in ledger.history().wanted] == wanted
        assert (len(ledger.history().forgotten), len(ledger.history().unconfirmed_jumps)) == (1, 1)
        assert ledger.history().holds[0].subject != NO_ID
    assert replayed == []


def test_a_hold_is_placed_once_and_a_decision_made_once(site: Site) -> None:
    with site.create() as ledger:
        decision = site.id()
        ledger.record(forget(decision, ONE))
        with pytest.raises(BugError):
            ledger.record(recall(decision, ONE))
        ledger.record(Fact(HoldPlaced(hold=HOLD), HoldPlacedSealed(**WHO)))
        ledger.record(Fact(HoldReleased(hold=HOLD), HoldReleasedSealed(**WHO)))
        with pytest.raises(BugError):
            ledger.record(Fact(HoldReleased(hold=HOLD), HoldReleasedSealed(**WHO)))


def test_an_erased_source_takes_its_labels_along(site: Site) -> None:
    with site.create() as ledger:
        facts = site.backup("canary-source-name")
        ledger.record(*facts)
        snapshot = facts[2].clear.snapshot  # type: ignore[attr-defined]
        sealed = SnapshotLabelledSealed(user="u", host="h", note="canary-note")
        ledger.record(Fact(SnapshotLabelled(snapshot=snapshot), sealed, SOURCE))
        assert entry(ledger.history(), snapshot).note == "canary-note"
        ledger.erase_subject(Subject(kind="source", name="canary-source-name"), "asked for")
        assert entry(ledger.history(), snapshot).note == ""
    assert b"canary-note" not in site.database.read_bytes()


def test_log_time_now_is_never_before_the_newest_fact(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        newest = ledger.history().last_stamp
        assert newest is not None
        site.clock.pass_ns(MINUTE_NS)
        assert ledger.now_ns() == site.clock.wall_ns
        site.clock.wall_ns -= 5 * HOUR_NS
        assert ledger.now_ns() == newest.time_ns


def test_the_newest_jobs_come_first(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup(), *site.backup())
        jobs = ledger.history().jobs
        assert list(ledger.history().newest_jobs()) == jobs[::-1]
        assert len(jobs) == 2
