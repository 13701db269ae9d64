"""Rules of retention: their grammar, what each keeps, and what holds for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UsageError
from siteagent.jobs.retention import Judged, apply_rules, parse_rules, rules_text
from siteagent.ledger.reading import Mark
from siteagent.ledger.state import SnapshotEntry
from tests.support.histories import taken_at

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
ALL = "last 3, hourly 5, daily 14, weekly 8, monthly 12, yearly 7, within 2d, tag release"
BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str) -> int:
    """Nanoseconds of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def series(*texts: str) -> list[SnapshotEntry]:
    """Snapshots at these UTC times: a trailing `p` means partial."""
    return [taken_at(moment(text.removesuffix("p")), number=number, quality="partial" if text.endswith("p") else "live")
            for number, text in enumerate(texts)]


def kept(rules: str, snapshots: list[SnapshotEntry], zone: timezone | ZoneInfo = UTC) -> dict[int, tuple[str, ...]]:
    """What is kept, by the snapshots' numbers."""
    judged = apply_rules(parse_rules(rules), snapshots, zone)
    return {int.from_bytes(each.snapshot.id, "big"): each.rules for each in judged if each.is_kept}


# Grammar


@pytest.mark.parametrize(("text", "same"), [
    ("daily 14", "daily 14"), ("LAST 3,Daily 014", "last 3, daily 14"), ("yearly 1 , last 2", "last 2, yearly 1"),
    ("tag b, tag a, within 12 H", "within 12h, tag a, tag b"), ("tag Two Words", "tag Two Words"), (ALL, ALL),
])  # fmt: skip
def test_rules_are_written_in_any_order_and_case(text: str, same: str) -> None:
    assert rules_text(parse_rules(text)) == same
    assert parse_rules(same) == parse_rules(text)


@pytest.mark.parametrize(("text", "message", "subject"), [
    ("", "a rule is missing", "--keep"), ("last 3,", "a rule is missing", "--keep"),
    ("dayly 3", "no such rule", "dayly"), ("daily", "how much", "daily"), ("14 daily", "no such rule", "14"),
    ("daily x", "no number", "daily x"), ("daily 0", "no number", "daily 0"), ("daily -1", "no number", "daily -1"),
    ("daily 100001", "no number", "daily 100001"), ("daily 1.5", "no number", "daily 1.5"),
    ("daily ٣", "no number", "daily ٣"), ("last 3 4", "no number", "last 3 4"),
    ("within 3", "no length of time", "3"), ("within 0d", "no time", "within 0d"), ("tag", "how much", "tag"),
    ("daily 3, daily 4", "twice", "daily"), ("tag a, tag a", "twice", "tag a"),
    ("last 3; daily 4", "no number", "last 3; daily 4"), (", ".join(["tag a"] * 101), "more than 100", "tag a, "),
])  # fmt: skip
def test_a_wrong_rule_is_named(text: str, message: str, subject: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_rules(text)
    assert caught.value.subject.startswith(subject)
    assert caught.value.next_step


# What each rule keeps

YEARS = ("2024-02-29T10:00", "2024-12-30T10:00", "2025-12-28T10:00", "2025-12-31T10:00", "2026-01-01T10:00",
         "2026-01-01T11:00")  # fmt: skip


@pytest.mark.parametrize(("rules", "expected"), [
    ("last 1", {5: ("last 1", "last good")}),
    ("last 2", {4: ("last 2",), 5: ("last 1", "last good")}),
    ("hourly 2", {4: ("hourly 2026-01-01T10:00+00:00",), 5: ("hourly 2026-01-01T11:00+00:00", "last good")}),
    ("daily 2", {3: ("daily 2025-12-31",), 5: ("daily 2026-01-01", "last good")}),
    # The last days of 2025 are in the first week of 2026, and 30 December 2024 is in the first of 2025.
    ("weekly 3", {5: ("weekly 2026-W01", "last good"), 2: ("weekly 2025-W52",), 1: ("weekly 2025-W01",)}),
    ("monthly 3", {5: ("monthly 2026-01", "last good"), 3: ("monthly 2025-12",), 1: ("monthly 2024-12",)}),
    ("yearly 9", {5: ("yearly 2026", "last good"), 3: ("yearly 2025",), 1: ("yearly 2024",)}),
    ("within 25h", {3: ("within 25h",), 4: ("within 25h",), 5: ("within 25h", "last good")}),
    ("within 1h", {4: ("within 1h",), 5: ("within 1h", "last good")}),
    ("tag none", {5: ("last good",)}),
])  # fmt: skip
def test_each_rule_keeps_what_it_says(rules: str, expected: dict[int, tuple[str, ...]]) -> None:
    assert kept(rules, series(*YEARS)) == expected


def test_a_leap_day_is_a_day() -> None:
    days = series("2024-02-28T23:59:59", "2024-02-29T00:00:00", "2024-02-29T23:59:59", "2024-03-01T00:00:00")
    assert set(kept("daily 9", days)) == {0, 2, 3}
    assert kept("monthly 9", days) == {2: ("monthly 2024-02",), 3: ("monthly 2024-03", "last good")}


def test_days_are_those_of_local_time() -> None:
    nights = series("2026-06-01T21:30", "2026-06-01T22:30", "2026-06-02T21:30")
    assert set(kept("daily 9", nights)) == {1, 2}
    assert set(kept("daily 9", nights, BERLIN)) == {0, 2}


def test_the_hour_that_comes_twice_when_summer_time_ends_is_two_hours() -> None:
    hours = series("2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30")
    assert kept("hourly 9", hours, BERLIN) == {
        0: ("hourly 2026-10-25T02:00+02:00",), 1: ("hourly 2026-10-25T02:00+01:00",),
        2: ("hourly 2026-10-25T03:00+01:00", "last good")}  # fmt: skip
    assert set(kept("daily 9", hours, BERLIN)) == {2}


def test_the_hour_that_is_left_out_in_spring_is_not_missed() -> None:
    hours = series("2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30")
    assert set(kept("hourly 3", hours, BERLIN)) == {0, 1, 2}


def test_of_two_in_the_same_moment_the_later_one_in_the_log_is_the_newer() -> None:
    assert set(kept("daily 1", series("2026-01-01T10:00:00", "2026-01-01T10:00:00"))) == {1}


def test_only_buckets_that_hold_something_are_counted() -> None:
    assert set(kept("daily 3", series("2020-01-01T10:00", "2023-01-01T10:00", "2026-01-01T10:00"))) == {0, 1, 2}


def test_tags_keep_whatever_has_them() -> None:
    tagged = [taken_at(day * DAY_NS, number=day, tags=tags) for day, tags in enumerate([("a",), ("A", "b"), (), ()])]
    assert kept("tag a", tagged) == {0: ("tag a",), 3: ("last good",)}
    assert kept("tag b, tag A", tagged) == {1: ("tag A", "tag b"), 3: ("last good",)}


def test_several_rules_may_keep_one() -> None:
    assert kept("daily 1, last 1, yearly 1", series("2026-11-23T10:00")) == {
        0: ("last 1", "daily 2026-11-23", "yearly 2026", "last good")}


# Partial, unreadable, out of time


def test_a_partial_snapshot_pushes_no_good_one_out_of_its_bucket() -> None:
    assert kept("daily 2", series("2026-01-01T10:00", "2026-01-02T10:00", "2026-01-02T11:00p")) == {
        0: ("daily 2026-01-01",), 1: ("daily 2026-01-02", "last good")}  # fmt: skip


def test_a_bucket_of_partial_ones_keeps_the_newest_and_takes_no_place_of_a_good_one() -> None:
    days = series("2026-01-01T10:00", "2026-01-02T10:00", "2026-01-03T10:00p", "2026-01-03T11:00p", "2026-01-04T10:00p")
    assert kept("daily 2", days) == {0: ("daily 2026-01-01",), 1: ("daily 2026-01-02", "last good"),
                                     3: ("daily 2026-01-03",), 4: ("daily 2026-01-04",)}  # fmt: skip
    assert set(kept("daily 1", days)) == {1, 4}


def test_partial_ones_alone_expire_too() -> None:
    assert set(kept("daily 2", series(*(f"2026-01-{day:02}T10:00p" for day in range(1, 10))))) == {7, 8}


def test_partial_ones_count_among_the_last() -> None:
    days = series("2026-01-01T10:00", "2026-01-02T10:00", "2026-01-03T10:00p", "2026-01-04T10:00p")
    assert kept("last 2", days) == {1: ("last good",), 2: ("last 2",), 3: ("last 1",)}


def test_a_span_is_measured_from_the_newest_good_one() -> None:
    days = series("2026-01-01T10:00", "2026-01-02T10:00", "2026-06-01T10:00p")
    assert set(kept("within 1d", days)) == {0, 1, 2}


def test_of_a_name_without_a_good_one_the_newest_stays() -> None:
    assert kept("tag x", series("2026-01-01T10:00p", "2026-01-02T10:00p")) == {1: ("last of its name",)}


@pytest.mark.parametrize("mark", [Mark.ERASED, Mark.UNREADABLE])
def test_what_cannot_be_read_stays_and_counts_nowhere(mark: Mark) -> None:
    snapshots = [taken_at(0, number=0), taken_at(DAY_NS, number=1), taken_at(DAY_NS, number=2, mark=mark)]
    assert kept("last 1", snapshots) == {1: ("last 1", "last good"), 2: (mark.value,)}


def test_a_time_that_is_not_its_own_drops_nothing() -> None:
    """A log begun anew by `repair log`: everything that it took back has one log time."""
    back = [taken_at(100 * DAY_NS, number=day, own_time_ns=day * DAY_NS) for day in range(40)]
    later = [taken_at((100 + day) * DAY_NS + HOUR_NS, number=40 + day) for day in range(3)]
    found = kept("daily 2", back + later)
    assert set(found) == {*range(40), 41, 42}
    assert found[0] == ("time not its own",)
    assert found[41] == ("daily 1970-04-12",)


def test_a_time_that_is_not_its_own_takes_no_place_of_another() -> None:
    mixed = [taken_at(9 * DAY_NS, number=0), taken_at(10 * DAY_NS, number=1),
             taken_at(20 * DAY_NS, number=2, own_time_ns=0)]  # fmt: skip
    assert kept("daily 1", mixed) == {1: ("daily 1970-01-11",), 2: ("last good", "time not its own")}
    assert set(kept("within 1d", mixed)) == {0, 1, 2}


def test_an_hour_between_end_and_record_is_no_other_time() -> None:
    late = [taken_at(day * DAY_NS, number=day, own_time_ns=day * DAY_NS - HOUR_NS - 1) for day in (1, 2)]
    assert set(kept("last 1", late)) == {2}


# What holds for all rules

KINDS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
qualities = st.sampled_from(("live", "live", "partial"))
steps_ns = st.sampled_from((0, 1, 10**9, HOUR_NS // 2, 5 * HOUR_NS, DAY_NS, 6 * DAY_NS, 40 * DAY_NS))
marks = st.sampled_from((None,) * 8 + (Mark.ERASED,))
drafts = st.lists(st.tuples(steps_ns, qualities, marks, st.sampled_from((0, 0, 0, 2 * HOUR_NS)),
                            st.sampled_from(((), (), ("keep",)))), max_size=40)  # fmt: skip
rule_texts = st.lists(st.one_of(
    st.tuples(st.sampled_from(KINDS), st.integers(1, 6)).map(lambda pair: f"{pair[0]} {pair[1]}"),
    st.sampled_from(("within 1h", "within 3d", "tag keep"))), min_size=1, max_size=4,
    unique_by=lambda text: text.split()[0]).map(", ".join)  # fmt: skip


def drawn(steps: list[tuple[int, str, Mark | None, int, tuple[str, ...]]]) -> list[SnapshotEntry]:
    now_ns, found = moment("2024-02-27T12:00"), []
    for number, (step_ns, quality, mark, late_ns, tags) in enumerate(steps):
        now_ns += step_ns
        found.append(taken_at(now_ns, number=number, quality=quality, mark=mark, tags=tags,  # type: ignore[arg-type]
                              own_time_ns=now_ns - late_ns))  # fmt: skip
    return found


def survivors(judged: list[Judged]) -> list[SnapshotEntry]:
    return [each.snapshot for each in judged if each.is_kept]


@given(drafts, rule_texts)
def test_applied_again_the_same_rules_forget_nothing_more(steps: list, text: str) -> None:  # type: ignore[type-arg]
    rules = parse_rules(text)
    once = survivors(apply_rules(rules, drawn(steps), BERLIN))
    assert survivors(apply_rules(rules, once, BERLIN)) == once


@given(drafts, st.sampled_from(KINDS), st.integers(1, 8))
def test_a_larger_number_keeps_no_less(steps: list, kind: str, count: int) -> None:  # type: ignore[type-arg]
    snapshots = drawn(steps)
    fewer = {entry.id for entry in survivors(apply_rules(parse_rules(f"{kind} {count}"), snapshots, BERLIN))}
    more = {entry.id for entry in survivors(apply_rules(parse_rules(f"{kind} {count + 1}"), snapshots, BERLIN))}
    assert fewer <= more


@given(drafts, rule_texts)
def test_what_must_stay_stays_and_all_are_judged_in_order(steps: list, text: str) -> None:  # type: ignore[type-arg]
    snapshots = drawn(steps)
    judged = apply_rules(parse_rules(text), snapshots, BERLIN)
    assert [each.snapshot for each in judged] == snapshots
    stays = {each.snapshot.id for each in judged if each.is_kept}
    readable = [entry for entry in snapshots if entry.summary is not None]
    good = [entry for entry in readable if entry.summary is not None and entry.summary.is_good]
    for newest in (good or readable)[-1:]:
        assert newest.id in stays
    assert all(entry.id in stays for entry in snapshots if entry.summary is None)
    assert all(len(set(each.rules)) == len(each.rules) for each in judged)


@given(drafts, rule_texts)
def test_a_new_partial_one_makes_no_good_one_go_by_buckets(steps: list, text: str) -> None:  # type: ignore[type-arg]
    rules = [rule for rule in parse_rules(text) if rule.kind != "last"]
    snapshots = drawn(steps)
    if not snapshots:
        return
    partial = taken_at(snapshots[-1].time_ns + DAY_NS, number=999, quality="partial")
    good = {entry.id for entry in survivors(apply_rules(rules, snapshots, BERLIN))
            if entry.summary is not None and entry.summary.is_good}
    assert good <= {entry.id for entry in survivors(apply_rules(rules, [*snapshots, partial], BERLIN))}


def nightly(days: int, rules: str) -> list[SnapshotEntry]:
    """What is left after so many nights, each a backup at 02:30 local time and then the rules."""
    parsed, found = parse_rules(rules), list[SnapshotEntry]()
    start = datetime(2024, 11, 24, 2, 30, tzinfo=BERLIN)
    for day in range(days):
        night = start + timedelta(days=day)
        found.append(taken_at(int(night.timestamp()) * 10**9, number=day))
        found = survivors(apply_rules(parsed, found, BERLIN))
    return found


def test_two_years_of_nights_leave_exactly_what_the_rules_say() -> None:
    found = nightly(730, "last 3, daily 14, weekly 8, monthly 12, yearly 7")
    dates = [datetime.fromtimestamp(entry.time_ns // 10**9, BERLIN).date() for entry in found]
    # The last night is Monday 23 November 2026: 14 days back to the 10th; the Sundays before, back to 4 October; the
    # ends of the months before, back to December 2025, which is the end of that year too; and the end of 2024.
    days = {datetime(2026, 11, 23).date() - timedelta(days=back) for back in range(14)}
    weeks = {datetime(2026, 11, 22).date() - timedelta(weeks=back) for back in range(7)}
    months = {datetime(2026, month, 1).date() - timedelta(days=1) for month in range(1, 12)}
    assert dates == sorted(days | weeks | months | {datetime(2024, 12, 31).date()})
    assert len(dates) == 14 + 5 + 11 + 1


def test_nights_add_up_to_what_all_at_once_would_leave() -> None:
    rules = "last 2, daily 5, weekly 3, monthly 2"
    every = [taken_at(int((datetime(2024, 11, 24, 2, 30, tzinfo=BERLIN) + timedelta(days=day)).timestamp()) * 10**9,
                      number=day) for day in range(200)]  # fmt: skip
    assert nightly(200, rules) == survivors(apply_rules(parse_rules(rules), every, BERLIN))
