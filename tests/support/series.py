"""Snapshots that are facts only: many of them, at chosen times, without packs. Nothing can be restored from them."""

from __future__ import annotations

from shared.facts import Fact, SnapshotTaken, Subject
from shared.summary import Quality
from siteagent.home import Home
from siteagent.ledger.state import SnapshotEntry
from tests.support.histories import summary_of
from tests.support.homes import Place

DAY_S = 86_400


def take(home: Home, name: str = "docs", quality: Quality = "live") -> bytes:
    """Record a snapshot of this name at the present time; returns its id."""
    snapshot = home.world.randomness.bits(16)
    taken = SnapshotTaken(snapshot=snapshot, manifest=bytes(32), reach=bytes(32), key_epoch=1, run=bytes(16), packs=())
    summary = summary_of(name, home.world.clock.now_ns(), quality)
    home.ledger.record(Fact(taken, summary, Subject(kind="source", name=name)))
    return snapshot


def take_daily(place: Place, home: Home, days: int, name: str = "docs") -> list[bytes]:
    """Record one snapshot on each of so many days; returns their ids, oldest first."""
    ids = []
    for _ in range(days):
        place.clock.sleep(DAY_S)
        ids.append(take(home, name))
    return ids


def entries(home: Home, ids: list[bytes]) -> list[SnapshotEntry]:
    """The snapshots with these ids as they are now."""
    found = [home.ledger.history().snapshot(snapshot) for snapshot in ids]
    return [entry for entry in found if entry is not None]


def kinds(home: Home, count: int) -> list[str]:
    """The kinds of the newest facts of the log."""
    return [fact.kind for fact in home.ledger.newest_facts(count)]
