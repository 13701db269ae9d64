"""Recalling forgotten snapshots: wanted again, as long as no sweep has given them up."""

from __future__ import annotations

from collections.abc import Sequence

from shared.decisions import SnapshotsRecalled, SnapshotsRecalledSealed
from shared.facts import Fact, plain_text
from siteagent.home import Home
from siteagent.jobs.record import Who, recorded
from siteagent.ledger.state import SnapshotEntry
from siteagent.salvage import prepare_writing


def recall(home: Home, who: Who, snapshots: Sequence[SnapshotEntry]) -> list[SnapshotEntry]:
    """Want these snapshots again; returns those that were forgotten (the others stay as they are)."""
    if not any(entry.is_forgotten for entry in snapshots):
        return []
    prepare_writing(home)
    with home.deciding:
        # A prune beside this one may have given some up since they were looked up.
        forgotten = {entry.id for entry in home.ledger.history().forgotten}
        recalled = [entry for entry in snapshots if entry.id in forgotten]
        _record(home, who, recalled)
    return recalled


def _record(home: Home, who: Who, recalled: list[SnapshotEntry]) -> None:
    if recalled:
        with recorded(home, "unforget", who, tuple(entry.id.hex() for entry in recalled)) as job:
            clear = SnapshotsRecalled(decision=home.world.randomness.bits(16),
                                      snapshots=tuple(entry.id for entry in recalled))
            sealed = SnapshotsRecalledSealed(user=plain_text(who.user), host=plain_text(who.host))
            job.facts.append(Fact(clear, sealed))
            job.counters = {"recalled": len(recalled)}
