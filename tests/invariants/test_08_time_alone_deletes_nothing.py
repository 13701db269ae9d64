"""Time alone never deletes: a clock that jumps, stands, drifts or changes its zone shortens no waiting time, hold or
rule by more than it states (two days of a pause that nothing was recorded in), and nothing is swept that is wanted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.errors import RefusedError
from siteagent.home import Home
from siteagent.jobs.forget import GRACE_DEFAULT_NS, Forgetting, Manner, RuleRequest, forget_by_rules, forget_named
from siteagent.jobs.holds import HoldRequest, place_hold, release_hold
from siteagent.jobs.record import Who
from siteagent.jobs.retention import parse_rules
from siteagent.ledger.counted_time import PAUSE_MAX_NS
from siteagent.ledger.state import SnapshotEntry
from tests.support.days import pruned
from tests.support.homes import incompressible
from tests.support.scratch import memory, scratch_folder
from tests.support.tally import Tally
from tests.support.wrongclock import DAY_NS, YEAR_NS
from tests.support.wrongtimes import Wrong

WHO = Who("user", "host")
HOUR_NS = 3600 * 10**9


@pytest.fixture
def wrong() -> Iterator[Wrong]:
    with scratch_folder(memory()) as folder:
        yield Wrong(folder)


def forget(wrong: Wrong, number: int = 0) -> bytes:
    """Forget a snapshot with the default waiting time of seven days."""
    with wrong.place.open() as home:
        entry = home.ledger.history().snapshots[number]
        forget_named(home, WHO, [entry], Manner())
    return entry.id


# One jump of the clock


def between_commands(wrong: Wrong, jump_ns: int) -> None:
    """The machine was off, and its clock is wrong when it is on again."""
    wrong.clock.offset_ns += jump_ns
    wrong.restart()


def inside_a_command(wrong: Wrong, jump_ns: int) -> None:
    """While a backup runs."""
    with wrong.place.open() as home:
        wrong.clock.looks, wrong.clock.jump_ns = 4, jump_ns
        wrong.take(home)
    assert not wrong.clock.jump_ns


JUMPS = (10 * YEAR_NS, YEAR_NS, 8 * DAY_NS, -HOUR_NS, -8 * DAY_NS, -10 * YEAR_NS)
MOMENTS = (between_commands, inside_a_command)


@pytest.mark.parametrize("jump", MOMENTS)
@pytest.mark.parametrize("jump_ns", JUMPS)
def test_a_jump_sweeps_nothing(wrong: Wrong, jump: Callable[[Wrong, int], None], jump_ns: int, tally: Tally) -> None:
    gone = forget(wrong)
    for _ in range(3):
        jump(wrong, jump_ns)
        assert wrong.prune().snapshots == []
        assert gone in wrong.truth and gone in [entry.id for entry in wrong.entries()]
        wrong.clock.set_right()
        wrong.restart()
        assert wrong.prune().snapshots == []
    wrong.require_readable()
    tally("moves of the clock", 6)


@pytest.mark.parametrize("is_set_right", [False, True])
def test_after_a_jump_a_waiting_time_still_takes_its_days(wrong: Wrong, is_set_right: bool, tally: Tally) -> None:
    """The jump counts as two days at most, once, whether the clock stays wrong or is put back the next day."""
    gone, began_ns = forget(wrong), wrong.clock.time_ns
    between_commands(wrong, 10 * YEAR_NS)
    days = 0
    while gone in [entry.id for entry in wrong.entries()]:
        wrong.prune()
        wrong.clock.time_ns += DAY_NS
        days += 1
        if days == 1 and is_set_right:
            wrong.clock.set_right()
            wrong.restart()
            with wrong.place.open() as home:
                forget_by_rules(home, WHO, RuleRequest(rules=parse_rules("last 9"), confirms_clock=True), Manner())
        assert days < 30
    assert wrong.clock.time_ns - began_ns >= GRACE_DEFAULT_NS - PAUSE_MAX_NS
    tally("moves of the clock", days)


@pytest.mark.parametrize("is_lock", [False, True])
@pytest.mark.parametrize("jump", MOMENTS)
def test_a_jump_ends_no_hold(wrong: Wrong, jump: Callable[[Wrong, int], None], is_lock: bool, tally: Tally) -> None:
    with wrong.place.open() as home:
        entries = home.ledger.history().snapshots
        until_ns = home.ledger.now_ns() + 30 * DAY_NS
        hold = place_hold(home, WHO, HoldRequest(snapshots=(entries[0].id,), until_ns=until_ns, is_lock=is_lock))
    for jump_ns in (10 * YEAR_NS, -10 * YEAR_NS, -10 * YEAR_NS, 20 * YEAR_NS):
        jump(wrong, jump_ns)
        with wrong.place.open() as home:
            with pytest.raises(RefusedError, match="keeps this snapshot"):
                forget_named(home, WHO, [entries[0]], Manner(grace_ns=0))
            by_rule = forget_by_rules(home, WHO, RuleRequest(rules=parse_rules("last 1")), Manner(is_dry_run=True))
            assert entries[0].id not in [entry.id for entry in by_rule.forgotten]
            if is_lock:
                with pytest.raises(RefusedError, match="before its time"):
                    release_hold(home, WHO, hold.id.hex())
        wrong.prune()
        wrong.restart()
    assert [entry.id for entry in wrong.entries()][:3] == [entry.id for entry in entries]
    tally("moves of the clock", 4)


def test_a_hold_ends_when_its_days_have_passed(wrong: Wrong) -> None:
    with wrong.place.open() as home:
        entry = home.ledger.history().snapshots[0]
        place_hold(home, WHO, HoldRequest(snapshots=(entry.id,), until_ns=home.ledger.now_ns() + 5 * DAY_NS))
        for day in range(6):
            wrong.clock.time_ns += DAY_NS
            wrong.take(home)
            if day < 4:
                with pytest.raises(RefusedError, match="keeps this snapshot"):
                    forget_named(home, WHO, [entry], Manner(grace_ns=0))
        forget_named(home, WHO, [entry], Manner(grace_ns=0))
        assert pruned(home).snapshots == [entry.id]


def test_what_an_interrupted_backup_stored_outlasts_a_jump(wrong: Wrong) -> None:
    """The next try goes on from it for seven days."""
    def fail() -> None:
        raise RuntimeError

    with wrong.place.open() as home:
        before = set(home.index.segments())
        home.world = replace(home.world, pack_bytes=1 << 20)
        wrong.place.write("large", incompressible("large", 3 << 20))
        with pytest.raises(RuntimeError):
            wrong.place.backup(home, finish=fail)
        kept = set(home.index.segments())
        assert kept > before
    between_commands(wrong, 10 * YEAR_NS)
    assert wrong.prune().segments_swept == 0
    with wrong.place.open() as home:
        assert set(home.index.segments()) == kept


# A server that is off, a person who confirms


def test_a_server_that_was_off_for_weeks_sweeps_later_or_when_somebody_confirms(wrong: Wrong) -> None:
    gone = forget(wrong)
    wrong.clock.time_ns += 40 * DAY_NS
    wrong.restart()
    report = wrong.prune()
    assert report.snapshots == []
    assert any("confirm-clock" in note for note in report.notes)
    with wrong.place.open() as home:
        forget_by_rules(home, WHO, RuleRequest(rules=parse_rules("last 9"), confirms_clock=True), Manner())
        assert pruned(home).snapshots == [gone]


def test_a_confirmation_does_not_count_what_a_wrong_clock_said_before(wrong: Wrong) -> None:
    forget(wrong)
    between_commands(wrong, 10 * YEAR_NS)
    wrong.prune()
    wrong.clock.set_right()
    wrong.restart()
    with wrong.place.open() as home:
        forget_by_rules(home, WHO, RuleRequest(rules=parse_rules("last 9"), confirms_clock=True), Manner())
        assert pruned(home).snapshots == []


# Rules


def by_rules(home: Home, rules: str) -> Forgetting:
    """What a nightly job does: the same rules every time, agreed to long ago."""
    found = forget_by_rules(home, WHO, RuleRequest(rules=parse_rules(rules)), Manner(is_dry_run=True))
    request = RuleRequest(rules=parse_rules(rules), agreed_count=len(found.forgotten))
    return forget_by_rules(home, WHO, request, Manner())


@pytest.mark.parametrize(("rules", "least"), [("within 20d", 13), ("daily 14", 13), ("last 14", 13)])
def test_a_jump_makes_no_rule_forget_the_nights_before(wrong: Wrong, rules: str, least: int, tally: Tally) -> None:
    with wrong.place.open() as home:
        for _ in range(20):
            wrong.clock.time_ns += DAY_NS
            wrong.take(home)
    before = [entry.id for entry in wrong.entries()]
    between_commands(wrong, 10 * YEAR_NS)
    with wrong.place.open() as home:
        wrong.take(home)
        by_rules(home, rules)
        kept = [entry.id for entry in home.ledger.history().wanted]
        assert len(set(before[-least:]) & set(kept)) == least
        assert pruned(home).snapshots == []
    wrong.require_readable()
    tally("moves of the clock", 1)


@pytest.mark.parametrize(("zone", "first"), [
    ("UTC", "2028-02-24"), ("Europe/Berlin", "2028-02-24"), ("Europe/Berlin", "2027-03-24"),
    ("Europe/Berlin", "2027-10-27"), ("America/New_York", "2027-03-10"), ("Australia/Lord_Howe", "2027-04-01"),
    ("Asia/Kathmandu", "2027-12-28"),
])  # fmt: skip
def test_nights_around_summer_time_and_leap_days(zone: str, first: str, monkeypatch: pytest.MonkeyPatch,
                                                 tmp_path: Path, tally: Tally) -> None:
    """`daily 5` keeps five nights, whatever the night is called and however many hours it has."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        began_ns = int(datetime.fromisoformat(f"{first}T02:30").timestamp()) * 10**9
        wrong = Wrong(tmp_path, began_ns)
        with wrong.place.open() as home:
            taken = []
            for _ in range(10):
                wrong.clock.time_ns += DAY_NS
                taken.append(wrong.take(home))
                by_rules(home, "daily 5")
                wanted = [entry.id for entry in home.ledger.history().wanted]
                # A day of 25 hours can hold two backups that are 24 hours apart: it is one day, and one is kept of it.
                assert len(wanted) >= min(5, len({_day(wrong, entry) for entry in home.ledger.history().snapshots}))
                assert taken[-1] in wanted
                assert pruned(home).notes == []
        wrong.require_readable()
        tally("moves of the clock", 10)
    finally:
        monkeypatch.undo()
        time.tzset()


def _day(wrong: Wrong, entry: SnapshotEntry) -> str:
    return str(datetime.fromtimestamp(entry.time_ns / 1e9).date())


# Clocks that stand or drift


def test_a_clock_that_stands_sweeps_nothing(wrong: Wrong) -> None:
    forget(wrong)
    wrong.clock.freeze()
    for _ in range(12):
        wrong.clock.time_ns += DAY_NS
        wrong.restart()
        assert wrong.prune().snapshots == []
    wrong.require_readable()


@pytest.mark.parametrize("drift_ns", [10**9, -(10**9)])
def test_a_clock_that_drifts_by_a_second_a_day_is_no_jump(wrong: Wrong, drift_ns: int) -> None:
    gone, days = forget(wrong), 0
    while gone in [entry.id for entry in wrong.entries()]:
        report = wrong.prune()
        assert report.notes == []
        wrong.clock.time_ns += DAY_NS
        wrong.clock.offset_ns += drift_ns
        days += 1
        assert days < 12
    assert days in (8, 9)


# At random


def test_a_walk_through_wrong_times(seed: int, is_long_run: bool, tally: Tally) -> None:
    """The true time is kept beside the clock: nothing goes before its waiting time and its holds are over by that."""
    steps = swept = 0
    for number in range(60 if is_long_run else 3):
        with scratch_folder(memory()) as folder:
            try:
                walk = _Walk(folder, seed + number)
                steps += walk.run(40)
                swept += walk.swept
            except AssertionError as error:
                error.add_note(f"seed {seed + number}")
                raise
    assert swept, "nothing ever came to its end"
    tally("steps through wrong times", steps)


class _Walk(Wrong):
    """Commands at random under a clock that is moved at random; `due` has the true times before which something may not
    go, and how often the clock had been further ahead than ever before by then."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder)
        self.chance = random.Random(seed)
        self.due: dict[bytes, list[tuple[int, int]]] = {}
        self.gone: set[bytes] = set()
        self.furthest_ns, self.peaks, self.swept = 0, 0, 0

    def run(self, count: int) -> int:
        """Walk; returns the steps."""
        for _ in range(count):
            self._move_clock()
            self.clock.time_ns += self.chance.choice((HOUR_NS, DAY_NS, DAY_NS, 3 * DAY_NS))
            with self.place.open() as home:
                self.chance.choice((self._take, self._take, self._forget, self._hold, self._rules, self._prune))(home)
            if self.clock.offset_ns > self.furthest_ns:
                self.furthest_ns, self.peaks = self.clock.offset_ns, self.peaks + 1
        self.require_readable()
        return count

    def _move_clock(self) -> None:
        if self.chance.random() < 0.25:
            jump_ns = self.chance.choice(JUMPS) + self.chance.randrange(DAY_NS)
            if self.chance.random() < 0.3:
                self.clock.set_right()
            elif self.chance.random() < 0.3:
                self.clock.looks, self.clock.jump_ns = self.chance.randrange(1, 9), jump_ns
            else:
                self.clock.offset_ns += jump_ns
        if self.chance.random() < 0.8:
            self.restart()

    def _take(self, home: Home) -> None:
        self.take(home)

    def _forget(self, home: Home) -> None:
        oldest = home.ledger.history().wanted[:1]
        self._try(lambda: forget_named(home, WHO, oldest, Manner()))
        self._note(home)

    def _rules(self, home: Home) -> None:
        rules = self.chance.choice(("last 3", "daily 4", "within 30d"))
        self._try(lambda: by_rules(home, rules))
        self._note(home)

    def _note(self, home: Home) -> None:
        for entry in home.ledger.history().forgotten:
            if entry.id in self.gone:
                continue
            self.gone.add(entry.id)
            self.due.setdefault(entry.id, []).append((self.clock.time_ns + GRACE_DEFAULT_NS, self.peaks))

    def _hold(self, home: Home) -> None:
        entry = self.chance.choice(home.ledger.history().snapshots)
        until_ns = home.ledger.now_ns() + 60 * DAY_NS
        place_hold(home, WHO, HoldRequest(snapshots=(entry.id,), until_ns=until_ns))
        self.due.setdefault(entry.id, []).append((self.clock.time_ns + 60 * DAY_NS, self.peaks))

    def _prune(self, home: Home) -> None:
        for gone in pruned(home).snapshots:
            self.swept += 1
            for due_ns, peaks in self.due[gone]:
                early_ns = due_ns - self.clock.time_ns
                assert early_ns <= (self.peaks + 1 - peaks) * PAUSE_MAX_NS, f"{early_ns / DAY_NS} days early"

    @staticmethod
    def _try(what: Callable[[], object]) -> None:
        try:
            what()
        except RefusedError:
            return
