"""Holds and locks: placed, found, released, refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.chain import NO_ID
from shared.errors import RefusedError
from siteagent.home import Home
from siteagent.jobs.holds import HoldRequest, find_hold, hold_of, place_hold, release_hold
from tests.support.homes import Place
from tests.support.series import entries, kinds, take_daily
from tests.support.site import WHO

HOUR_NS = 3600 * 10**9


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path).create()


@pytest.fixture
def home(place: Place) -> Iterator[Home]:
    with place.open() as opened:
        take_daily(place, opened, 2)
        yield opened


def test_a_hold_says_who_why_and_until_when(place: Place, home: Home) -> None:
    until_ns = place.clock.now_ns() + HOUR_NS
    hold = place_hold(home, WHO, HoldRequest(name="docs", until_ns=until_ns, reason="a \udcff case"))
    assert home.ledger.history().holds == [hold]
    assert (hold.user, hold.reason, hold.name, hold.until_ns) == ("tester", "a \\udcff case", "docs", until_ns)
    assert hold.subject not in (NO_ID, b"")
    assert kinds(home, 3) == ["job.started", "hold.placed", "job.ended"]


def test_a_released_hold_is_gone(home: Home) -> None:
    hold = place_hold(home, WHO, HoldRequest())
    assert hold.is_everything
    assert release_hold(home, WHO, hold.id.hex()[:6].upper(), "settled") == hold
    assert home.ledger.history().holds == []
    assert kinds(home, 3) == ["job.started", "hold.released", "job.ended"]
    with pytest.raises(RefusedError, match="no hold with this id"):
        release_hold(home, WHO, hold.id.hex())


def test_a_lock_is_released_by_time_alone(place: Place, home: Home) -> None:
    until_ns = place.clock.now_ns() + HOUR_NS
    lock = place_hold(home, WHO, HoldRequest(until_ns=until_ns, is_lock=True))
    with pytest.raises(RefusedError, match="before its time: until 2"):
        release_hold(home, WHO, lock.id.hex())
    assert home.ledger.history().jobs[-1].outcome == "refused"
    assert home.ledger.history().holds == [lock]
    place.clock.sleep(3600)
    release_hold(home, WHO, lock.id.hex())
    assert home.ledger.history().holds == []


def test_a_clock_put_back_makes_no_lock_longer_and_none_shorter(place: Place, home: Home) -> None:
    log_ns = home.ledger.now_ns()
    lock = place_hold(home, WHO, HoldRequest(until_ns=log_ns + HOUR_NS, is_lock=True))
    place.clock.time_ns -= 1000 * HOUR_NS
    assert home.ledger.now_ns() >= log_ns
    with pytest.raises(RefusedError, match="before its time"):
        release_hold(home, WHO, lock.id.hex())


@pytest.mark.parametrize(("given", "message", "next_step"), [
    ({"is_lock": True}, "a lock without an end", "--until"), ({"until_ns": 1}, "this time is past", "later"),
    ({"name": "pics"}, "no snapshot of this name", "the names are: docs"),
    ({"until_ns": 2**63}, "too far away", "2262"), ({"reason": "x" * 1001}, "up to 1000", "shorter"),
])  # fmt: skip
def test_a_hold_that_makes_no_sense_is_refused_and_not_recorded(home: Home, given: dict[str, object], message: str,
                                                               next_step: str) -> None:
    head = home.ledger.head.position
    with pytest.raises(RefusedError, match=message) as caught:
        place_hold(home, WHO, HoldRequest(**given))  # type: ignore[arg-type]
    assert next_step in caught.value.next_step
    assert home.ledger.head.position == head


def test_digits_name_one_hold(home: Home) -> None:
    holds = [place_hold(home, WHO, HoldRequest()) for _ in range(2)]
    history = home.ledger.history()
    assert find_hold(history, holds[1].id.hex()[:8]) == holds[1]
    for wrong in (holds[1].id.hex()[:5], "", "0" * 32, "zz"):
        with pytest.raises(RefusedError, match="no hold with this id") as caught:
            find_hold(history, wrong)
        assert "farkeep holds" in caught.value.next_step
    alike = [type(holds[0])(id=bytes(15) + bytes([number]), placed_ns=0, until_ns=0, until_counted_ns=0, is_lock=False,
                            is_whole=True, snapshots=(), name="", user="", reason="")
             for number in range(2)]  # fmt: skip
    history.holds.extend(alike)
    with pytest.raises(RefusedError, match="2 holds begin with these digits"):
        find_hold(history, "000000")


def test_a_lock_is_named_before_a_hold(place: Place, home: Home) -> None:
    now_ns = home.ledger.now_ns()
    (entry,) = entries(home, home.ledger.history().snapshot_ids[:1])
    assert hold_of(home.ledger.history().holds, entry, now_ns) is None
    place_hold(home, WHO, HoldRequest())
    lock = place_hold(home, WHO, HoldRequest(snapshots=(entry.id,), until_ns=now_ns + HOUR_NS, is_lock=True))
    assert hold_of(home.ledger.history().holds, entry, now_ns) == lock
