"""Histories made without a log: snapshots with chosen ids, names and times."""

from __future__ import annotations

from shared.chain import Position
from shared.facts import SnapshotTaken
from shared.summary import Quality, SnapshotSummary
from siteagent.ledger.history import History
from siteagent.ledger.reading import Mark, RecordedFact
from siteagent.ledger.state import empty_state

SITE = bytes(16)


def summary_of(name: str, time_ns: int, quality: Quality = "live") -> SnapshotSummary:
    """The least that a summary says."""
    return SnapshotSummary(name=name, time_ns=time_ns, ended_ns=time_ns + 1, quality=quality, host="h", user="u",
                           source_kind="files", paths=(b"/p",), domain=bytes(16))  # fmt: skip


def add_snapshot(history: History, snapshot: bytes, name: str, time_ns: int, *, mark: Mark | None = None,
                 quality: Quality = "live") -> None:
    """Fold one more snapshot into a history; with `mark` its summary cannot be shown."""
    taken = SnapshotTaken(snapshot=snapshot, manifest=bytes(32), reach=bytes(32), key_epoch=1, run=bytes(16), packs=())
    position = Position(SITE, bytes(32), history.facts + 1, bytes(32))
    history.fold(
        RecordedFact(position=position, kind="snapshot.taken", kind_version=1, time_ns=time_ns, wall_ns=time_ns,
                     subject=bytes(16), fact_id=bytes(16), aggregate_id=bytes(16), clear=taken,
                     sealed=mark or summary_of(name, time_ns, quality))
    )  # fmt: skip


def new_history() -> History:
    """A history without any fact."""
    return History(empty_state(SITE))
