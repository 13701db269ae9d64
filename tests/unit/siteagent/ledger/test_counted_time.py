"""Counted time: pauses count two days at most, what a clock took back never, what a person confirms in full."""

from __future__ import annotations

import pytest

from shared.decisions import HoldPlaced, HoldPlacedSealed, SnapshotsForgotten, SnapshotsForgottenSealed
from shared.facts import ClockJumped
from siteagent.ledger.counted_time import PAUSE_MAX_NS, CountedTime
from tests.support.histories import add_fact, add_snapshot, new_history

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
WEEK_NS = 7 * DAY_NS
BEGIN_NS = 100 * WEEK_NS
ONE = bytes(16)
START = CountedTime().at(BEGIN_NS)


def test_it_begins_as_the_time_of_the_first_fact_and_ordinary_time_counts_in_full() -> None:
    assert (START.now_ns, START.newest_wall_ns) == (BEGIN_NS, BEGIN_NS)
    counted = START
    for day in range(1, 9):
        counted = counted.at(BEGIN_NS + day * DAY_NS)
    assert counted == CountedTime(BEGIN_NS + 8 * DAY_NS, BEGIN_NS + 8 * DAY_NS)


@pytest.mark.parametrize("pause_ns", [PAUSE_MAX_NS + 1, WEEK_NS, 3650 * DAY_NS])
def test_of_a_pause_two_days_count_until_a_person_confirms(pause_ns: int) -> None:
    after = START.at(BEGIN_NS + pause_ns)
    assert after.now_ns == BEGIN_NS + PAUSE_MAX_NS
    assert after.is_doubtful == (pause_ns > PAUSE_MAX_NS + HOUR_NS)
    assert after.confirmed(BEGIN_NS + pause_ns) == CountedTime(BEGIN_NS + pause_ns, BEGIN_NS + pause_ns)


def test_a_clock_that_goes_to_and_fro_counts_each_moment_once() -> None:
    counted = START.at(BEGIN_NS + WEEK_NS)
    for _ in range(9):
        counted = counted.at(BEGIN_NS).at(BEGIN_NS + WEEK_NS)
    assert counted == CountedTime(BEGIN_NS + PAUSE_MAX_NS, BEGIN_NS + WEEK_NS)


def test_what_a_clock_took_back_is_not_confirmed_later() -> None:
    back = START.at(BEGIN_NS + 520 * WEEK_NS).at(BEGIN_NS + DAY_NS)
    assert not back.is_doubtful
    assert back.confirmed(BEGIN_NS + DAY_NS) == CountedTime(BEGIN_NS + PAUSE_MAX_NS, BEGIN_NS + DAY_NS)


def test_a_small_correction_takes_nothing_back() -> None:
    counted = START.at(BEGIN_NS + WEEK_NS)
    assert counted.at(BEGIN_NS + WEEK_NS - 10**9) == counted


def test_a_jump_that_was_noticed_counts_not_at_all() -> None:
    after = START.jumped(BEGIN_NS + HOUR_NS, BEGIN_NS + 520 * WEEK_NS)
    assert after == CountedTime(BEGIN_NS + HOUR_NS, BEGIN_NS + 520 * WEEK_NS)
    assert START.jumped(BEGIN_NS + HOUR_NS, 0) == CountedTime(BEGIN_NS + HOUR_NS, BEGIN_NS + HOUR_NS)


def test_a_moment_that_was_chosen_before_a_jump_is_as_far_away_as_it_was_then() -> None:
    """The clock went on by years between the choice and the fact."""
    history, jumped_ns = new_history(), BEGIN_NS + 520 * WEEK_NS
    add_snapshot(history, ONE, "docs", BEGIN_NS)
    add_fact(history, ClockJumped(from_ns=BEGIN_NS, to_ns=jumped_ns), None, jumped_ns)
    add_fact(history, SnapshotsForgotten(decision=ONE, snapshots=(ONE,), sweep_after_ns=BEGIN_NS + WEEK_NS),
             SnapshotsForgottenSealed(user="u", host="h"), jumped_ns)
    add_fact(history, HoldPlaced(hold=ONE, snapshots=(ONE,), is_whole=False, until_ns=BEGIN_NS + WEEK_NS, is_lock=True),
             HoldPlacedSealed(user="u", host="h"), jumped_ns)
    (entry,), (hold,), counted_ns = history.snapshots, history.holds, history.counted.now_ns
    assert counted_ns == BEGIN_NS
    assert entry.sweep_counted_ns == hold.until_counted_ns == counted_ns + WEEK_NS
    assert hold.holds(entry, counted_ns + WEEK_NS - 1) and not hold.holds(entry, counted_ns + WEEK_NS)
    assert not entry.is_due(counted_ns + WEEK_NS - 1) and entry.is_due(counted_ns + WEEK_NS)
