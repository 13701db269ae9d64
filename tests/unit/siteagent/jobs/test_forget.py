"""Forgetting and recalling: what is recorded, what stands against it, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.decisions import SegmentsSwept
from shared.errors import RefusedError
from shared.facts import ClockJumped, Fact, JobStarted, JobStartedSealed, Subject
from siteagent.home import Home
from siteagent.jobs.forget import (
    GRACE_DEFAULT_NS,
    Forgetting,
    Manner,
    RuleRequest,
    forget_by_rules,
    forget_named,
)
from siteagent.jobs.holds import HoldRequest, place_hold
from siteagent.jobs.recall import recall
from siteagent.jobs.retention import parse_rules
from siteagent.ledger.reading import Mark
from tests.support.homes import Place
from tests.support.series import entries, kinds, take, take_daily
from tests.support.site import WHO

HOUR_NS = 3600 * 10**9


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path).create()


@pytest.fixture
def home(place: Place) -> Iterator[Home]:
    with place.open() as opened:
        yield opened


def by_rules(home: Home, text: str, manner: Manner | None = None, **given: object) -> Forgetting:
    request = RuleRequest(rules=parse_rules(text), **given)  # type: ignore[arg-type]
    return forget_by_rules(home, WHO, request, manner or Manner())


def wanted(home: Home) -> list[bytes]:
    return [entry.id for entry in home.ledger.history().wanted]


def ids_of(result: Forgetting) -> list[bytes]:
    return [entry.id for entry in result.forgotten]


# Named


def test_a_named_snapshot_is_forgotten_in_one_recorded_job(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 3)
    result = forget_named(home, WHO, entries(home, ids[:2]), Manner())
    assert kinds(home, 3) == ["job.started", "snapshots.forgotten", "job.ended"]
    assert (ids_of(result), wanted(home)) == (ids[:2], ids[2:])
    assert [entry.sweep_after_ns for entry in home.ledger.history().forgotten] == [result.sweep_after_ns] * 2
    assert result.sweep_after_ns == place.clock.now_ns() + GRACE_DEFAULT_NS
    job = home.ledger.history().jobs[-1]
    assert job.ended is not None and job.started is not None
    assert (job.kind, job.outcome, job.ended.counters) == ("forget", "done", {"forgotten": 2})
    assert job.started.what == tuple(snapshot.hex() for snapshot in ids[:2])


def test_now_means_that_it_may_be_swept_at_once(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 2)
    forget_named(home, WHO, entries(home, ids[:1]), Manner(grace_ns=0))
    (entry,) = home.ledger.history().forgotten
    assert entry.sweep_after_ns <= home.ledger.now_ns()


def test_the_grace_runs_in_log_time(place: Place) -> None:
    """A clock that was put back by a year does not make the grace end a year earlier."""
    with place.open() as home:
        ids = take_daily(place, home, 2)
        log_ns = home.ledger.now_ns()
    place.clock.time_ns -= 365 * 24 * HOUR_NS
    with place.open() as home:
        result = forget_named(home, WHO, entries(home, ids[:1]), Manner(grace_ns=HOUR_NS))
        assert result.sweep_after_ns == log_ns + HOUR_NS
        rehearsal = by_rules(home, "last 1", Manner(grace_ns=HOUR_NS), confirms_clock=True)
        assert rehearsal.sweep_after_ns == log_ns + HOUR_NS


def test_what_is_forgotten_already_stays_as_it_is(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 3)
    first = forget_named(home, WHO, entries(home, ids[:1]), Manner())
    place.clock.sleep(60)
    second = forget_named(home, WHO, entries(home, ids[:2]), Manner(grace_ns=0))
    assert ([entry.id for entry in second.already], ids_of(second)) == (ids[:1], ids[1:2])
    found = {entry.id: entry.sweep_after_ns for entry in home.ledger.history().forgotten}
    assert found == {ids[0]: first.sweep_after_ns, ids[1]: second.sweep_after_ns}


def test_a_dry_run_records_nothing(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 3)
    head = home.ledger.head.position
    assert ids_of(forget_named(home, WHO, entries(home, ids[:1]), Manner(is_dry_run=True))) == ids[:1]
    assert ids_of(by_rules(home, "last 2", Manner(is_dry_run=True))) == ids[:1]
    by_rules(home, "last 2", Manner(is_dry_run=True), confirms_clock=True)
    assert home.ledger.head.position == head


@pytest.mark.parametrize(("taken", "named", "is_last"), [
    (["live"], [0], True), (["live", "live"], [1], False), (["live", "live"], [0], False),
    (["live", "live"], [0, 1], True), (["live", "partial"], [0], True), (["live", "partial"], [1], False),
    (["live", "partial"], [0, 1], True), (["partial"], [0], True), (["partial", "partial"], [0], False),
    (["partial", "partial"], [0, 1], True),
])  # fmt: skip
def test_the_last_good_one_goes_only_when_asked_for(place: Place, home: Home, taken: list[str], named: list[int],
                                                    is_last: bool) -> None:
    take_daily(place, home, 3, "other")
    ids = [take(home, quality=quality) for quality in taken]  # type: ignore[arg-type]
    chosen, before = entries(home, [ids[number] for number in named]), wanted(home)
    if is_last:
        with pytest.raises(RefusedError, match="this is the last") as caught:
            forget_named(home, WHO, chosen, Manner())
        assert "--yes-last" in caught.value.next_step
        assert wanted(home) == before
        assert home.ledger.history().jobs[-1].outcome == "refused"
        forget_named(home, WHO, chosen, Manner(), allows_last=True)
    else:
        forget_named(home, WHO, chosen, Manner())
    assert wanted(home) == [snapshot for snapshot in before if snapshot not in {entry.id for entry in chosen}]


def test_a_forgotten_one_does_not_count_as_another_good_one(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 2)
    forget_named(home, WHO, entries(home, ids[:1]), Manner())
    with pytest.raises(RefusedError, match="the last good snapshot of docs"):
        forget_named(home, WHO, entries(home, ids[1:]), Manner())


def test_what_was_erased_may_go_by_its_id(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 2)
    home.ledger.erase_subject(Subject(kind="source", name="docs"), "asked for")
    assert by_rules(home, "last 1").forgotten == []
    assert ids_of(forget_named(home, WHO, entries(home, ids), Manner())) == ids


def test_what_cannot_be_read_may_be_the_last_good_one(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 2)
    closed = [replace(entry, summary=None, mark=Mark.UNREADABLE) for entry in entries(home, ids[:1])]
    with pytest.raises(RefusedError, match="it may be the last good one"):
        forget_named(home, WHO, closed, Manner())
    forget_named(home, WHO, closed, Manner(), allows_last=True)
    assert wanted(home) == ids[1:]


# Holds


@pytest.mark.parametrize("is_lock", [False, True])
def test_what_is_held_is_refused_by_name_and_kept_by_rule(place: Place, home: Home, is_lock: bool) -> None:
    ids = take_daily(place, home, 3)
    until_ns = place.clock.now_ns() + HOUR_NS
    hold = place_hold(home, WHO, HoldRequest(snapshots=(ids[0],), until_ns=until_ns, is_lock=is_lock, reason="a case"))
    digits = hold.id.hex()[:12]
    for manner in (Manner(), Manner(is_dry_run=True)):
        with pytest.raises(RefusedError) as caught:
            forget_named(home, WHO, entries(home, ids[:2]), manner, allows_last=True)
        assert f"{'lock' if is_lock else 'hold'} {digits} of tester, until 2" in caught.value.message
        assert "(a case)" in caught.value.message
        assert caught.value.subject == ids[0].hex()
        assert (f"farkeep release {digits}" in caught.value.next_step) is not is_lock
    result = by_rules(home, "last 1")
    assert ids_of(result) == ids[1:2]
    assert result.judged[0].rules == (f"{'lock' if is_lock else 'hold'} {digits}",)
    place.clock.sleep(3600)
    assert ids_of(by_rules(home, "last 1")) == ids[:1]


# By rule


def test_each_name_is_judged_by_itself(place: Place, home: Home) -> None:
    docs, mail = take_daily(place, home, 4), take_daily(place, home, 4, "mail")
    result = by_rules(home, "last 2")
    assert ids_of(result) == [*docs[:2], *mail[:2]]
    assert [judged.is_kept for judged in result.judged] == [False, False, True, True] * 2
    fact = home.ledger.newest_facts(2)[0]
    assert fact.sealed.rules == "last 2"  # type: ignore[union-attr]


def test_one_name_may_be_chosen(place: Place, home: Home) -> None:
    docs, mail = take_daily(place, home, 3), take_daily(place, home, 3, "mail")
    assert ids_of(by_rules(home, "last 2", name="mail")) == mail[:1]
    assert wanted(home) == [*docs, *mail[1:]]
    with pytest.raises(RefusedError, match="no snapshot of this name") as caught:
        by_rules(home, "last 2", name="pics")
    assert caught.value.next_step == "the names are: docs, mail"


def test_the_same_rules_again_forget_nothing(place: Place, home: Home) -> None:
    take_daily(place, home, 5)
    by_rules(home, "daily 3")
    left = wanted(home)
    assert by_rules(home, "daily 3").forgotten == []
    assert wanted(home) == left


def test_rules_never_take_the_last_good_one(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 2)
    ids += [take(home, quality="partial") for _ in range(2)]
    result = by_rules(home, "last 1", agreed_count=2)
    assert wanted(home) == [ids[1], ids[3]]
    assert result.judged[1].rules == ("last good",)


# The brake


@pytest.mark.parametrize(("taken", "rules", "going"), [
    ((8,), "last 3", 5), ((8,), "last 4", 0), ((3,), "last 1", 0), ((4,), "last 2", 0), ((4,), "last 1", 3),
    ((2, 2, 2), "last 1", 0), ((3, 3), "last 1", 4), ((4, 9), "tag x", 11),
])  # fmt: skip
def test_more_than_half_at_once_is_asked_about(place: Place, home: Home, taken: tuple[int, ...], rules: str,
                                               going: int) -> None:
    for number, days in enumerate(taken):
        take_daily(place, home, days, f"name-{number}")
    before = wanted(home)
    rehearsal = by_rules(home, rules, Manner(is_dry_run=True))
    assert rehearsal.needed_count == (going or None)
    if not going:
        assert ids_of(by_rules(home, rules)) == ids_of(rehearsal)
        return
    with pytest.raises(RefusedError, match="more than half") as caught:
        by_rules(home, rules)
    assert f"--yes-forget {going}" in caught.value.next_step
    for wrong in (going - 1, going + 1, 0):
        with pytest.raises(RefusedError, match=f"{going} snapshots would be forgotten, not {wrong}"):
            by_rules(home, rules, agreed_count=wrong)
    assert wanted(home) == before
    assert len(by_rules(home, rules, agreed_count=going).forgotten) == going


def test_one_name_that_would_lose_most_is_asked_about_among_many(place: Place, home: Home) -> None:
    for name in ("a", "b", "c"):
        take_daily(place, home, 2, name)
    take_daily(place, home, 5, "docs")
    with pytest.raises(RefusedError, match="3 of 5 snapshots of docs"):
        by_rules(home, "last 2")


def test_a_number_that_is_wrong_is_refused_also_when_none_is_needed(place: Place, home: Home) -> None:
    take_daily(place, home, 4)
    with pytest.raises(RefusedError, match="1 snapshots would be forgotten, not 2"):
        by_rules(home, "last 3", agreed_count=2)
    assert len(wanted(home)) == 4


def test_rules_that_were_agreed_to_are_not_asked_about_again_others_are(place: Place, home: Home) -> None:
    """Many backups a day and few rules: every night more than half goes, and that is what was asked for."""
    take_daily(place, home, 8)
    by_rules(home, "last 2", agreed_count=6)
    take_daily(place, home, 8)
    assert len(by_rules(home, "last 2").forgotten) == 8
    take_daily(place, home, 8)
    with pytest.raises(RefusedError, match="more than half"):
        by_rules(home, "last 1")
    with pytest.raises(RefusedError, match="more than half"):
        by_rules(home, "last 2", name="docs")
    assert by_rules(home, "last 99", name="docs").forgotten == []
    assert len(by_rules(home, "last 2").forgotten) == 8
    take_daily(place, home, 8)
    by_rules(home, "last 99")
    with pytest.raises(RefusedError, match="more than half"):
        by_rules(home, "last 2")


# The clock


def jump(home: Home) -> None:
    home.ledger.record(Fact(ClockJumped(from_ns=0, to_ns=2 * HOUR_NS)))


def test_a_jump_suspends_rules_until_it_is_confirmed_once(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 3)
    jump(home)
    for _ in range(2):
        with pytest.raises(RefusedError, match="the clock of this machine jumped") as caught:
            by_rules(home, "last 2")
        assert "--confirm-clock" in caught.value.next_step
    rehearsal = by_rules(home, "last 2", Manner(is_dry_run=True))
    assert ids_of(rehearsal) == ids[:1]
    assert "--confirm-clock" in rehearsal.notes[0]
    assert wanted(home) == ids
    assert ids_of(by_rules(home, "last 2", confirms_clock=True)) == ids[:1]
    more = take_daily(place, home, 1)
    assert ids_of(by_rules(home, "last 2")) == ids[1:2]
    jump(home)
    with pytest.raises(RefusedError, match="jumped"):
        by_rules(home, "last 1")
    assert wanted(home) == [*ids[2:], *more]


def test_named_snapshots_may_go_whatever_the_clock_did(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 3)
    jump(home)
    assert ids_of(forget_named(home, WHO, entries(home, ids[:1]), Manner())) == ids[:1]


def test_a_clock_put_back_is_noticed_before_anything_else_is_recorded(place: Place) -> None:
    with place.open() as home:
        ids = take_daily(place, home, 3)
    place.clock.time_ns -= 2 * HOUR_NS
    with place.open() as home:
        assert by_rules(home, "last 2", Manner(is_dry_run=True)).notes
        with pytest.raises(RefusedError, match="jumped"):
            by_rules(home, "last 2")
        assert wanted(home) == ids
        assert ids_of(by_rules(home, "last 2", confirms_clock=True)) == ids[:1]


def test_a_confirmation_without_a_jump_is_not_recorded(place: Place, home: Home) -> None:
    take_daily(place, home, 3)
    by_rules(home, "last 2", confirms_clock=True)
    assert [job.kind for job in home.ledger.history().jobs] == ["forget"]


# Recalling


def test_recalled_snapshots_are_wanted_again(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 4)
    forget_named(home, WHO, entries(home, ids[:2]), Manner())
    found = recall(home, WHO, entries(home, ids[:3]))
    assert [entry.id for entry in found] == ids[:2]
    assert wanted(home) == ids
    assert kinds(home, 3) == ["job.started", "snapshots.recalled", "job.ended"]


def test_what_is_wanted_is_not_recalled(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 2)
    head = home.ledger.head.position
    assert recall(home, WHO, entries(home, ids)) == []
    assert home.ledger.head.position == head


def test_what_is_due_for_the_sweep_can_still_be_recalled_until_it_happens(place: Place, home: Home) -> None:
    ids = take_daily(place, home, 2)
    forget_named(home, WHO, entries(home, ids[:1]), Manner(grace_ns=0))
    place.clock.sleep(86_400)
    recall(home, WHO, entries(home, ids[:1]))
    assert wanted(home) == ids
    forget_named(home, WHO, entries(home, ids[:1]), Manner(grace_ns=0))
    prune = Fact(JobStarted(job=ids[0], kind="prune"), JobStartedSealed(user="u", host="h"))
    home.ledger.record(prune, Fact(SegmentsSwept(job=ids[0], snapshots=(ids[0],), segments=b"")))
    assert entries(home, ids[:1]) == []
