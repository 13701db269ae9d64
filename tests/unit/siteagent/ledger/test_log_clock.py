"""Log time never goes back; wall time is kept; jumps are noticed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.facts import ClockJumped
from siteagent.ledger.ledger import Ledger
from tests.support.ledgers import MINUTE_NS, START_NS, Site

HOUR_NS = 60 * MINUTE_NS


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


def jumps(ledger: Ledger) -> list[tuple[int, int]]:
    return [(one.clear.from_ns, one.clear.to_ns) for one in ledger.facts() if isinstance(one.clear, ClockJumped)]


def times(ledger: Ledger) -> list[int]:
    return [fact.time_ns for fact in ledger.facts()]


def test_ordinary_time_is_taken_as_it_is(site: Site) -> None:
    with site.create() as ledger:
        for passed_ns in (1, MINUTE_NS, 30 * HOUR_NS):
            site.clock.pass_ns(passed_ns)
            ledger.record(*site.backup()[:1])
        assert jumps(ledger) == []
        assert sorted(set(times(ledger))) == [START_NS, START_NS + 1, START_NS + MINUTE_NS + 1,
                                              START_NS + MINUTE_NS + 1 + 30 * HOUR_NS]  # fmt: skip


@pytest.mark.parametrize(("step_ns", "is_jump"), [(-1, False), (-MINUTE_NS, False), (-MINUTE_NS - 1, True),
                                                  (-400 * 24 * HOUR_NS, True)])  # fmt: skip
@pytest.mark.parametrize("is_reopened", [False, True])
def test_a_step_back_is_clamped_and_a_long_one_noted_once(
    site: Site, step_ns: int, is_jump: bool, is_reopened: bool
) -> None:
    ledger = site.create()
    if is_reopened:
        ledger.close()
        ledger = site.open()
    site.clock.wall_ns += step_ns
    for _ in range(3):
        ledger.record(*site.backup()[:1])
    assert len(jumps(ledger)) == is_jump
    assert set(times(ledger)) == {START_NS}
    assert [fact.wall_ns for fact in ledger.facts()][-1] == START_NS + step_ns
    ledger.close()
    with site.open() as ledger:
        ledger.record(*site.backup()[:1])
        assert len(jumps(ledger)) == is_jump


@pytest.mark.parametrize(("step_ns", "is_jump"), [(HOUR_NS, False), (HOUR_NS + 1, True)])
def test_a_step_forward_is_noted_within_one_process(site: Site, step_ns: int, is_jump: bool) -> None:
    with site.create() as ledger:
        site.clock.pass_ns(5 * HOUR_NS)
        site.clock.wall_ns += step_ns
        ledger.record(*site.backup()[:1])
        ledger.record(*site.backup()[:1])
        assert len(jumps(ledger)) == is_jump


def test_a_jump_is_noted_in_whole_minutes_before_what_was_recorded(site: Site) -> None:
    with site.create() as ledger:
        site.clock.wall_ns += 2 * HOUR_NS
        ledger.record(*site.backup()[:1])
        ((from_ns, to_ns),) = jumps(ledger)
        assert from_ns % MINUTE_NS == to_ns % MINUTE_NS == 0
        assert to_ns - from_ns == 2 * HOUR_NS
        kinds = [fact.kind for fact in ledger.facts()][-3:]
        assert kinds == ["clock.jumped", "subject.opened", "job.started"]
        assert [(jump.from_ns, jump.to_ns) for jump in ledger.history().jumps] == [(from_ns, to_ns)]


def test_a_jump_before_a_new_log_epoch_is_noted_inside_it(site: Site) -> None:
    site.create().close()
    site.clock.wall_ns -= 2 * HOUR_NS
    with site.open(is_trusted=False) as ledger:
        opened = ledger.open_log_epoch("unproven")
        last = list(ledger.facts())[-2:]
        assert [fact.kind for fact in last] == ["log.opened", "clock.jumped"]
        assert {fact.position.log_epoch for fact in last} == {opened.log_epoch}
