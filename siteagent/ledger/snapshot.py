"""Snapshot: one sealed, restorable state of a source."""

from __future__ import annotations

from shared.facts import Part, SnapshotTaken
from siteagent.ledger.events import FactAggregate, FactEvent


class Snapshot(FactAggregate):
    """Is taken once; labels may follow."""

    TOPIC = "snapshot"
    Event = FactEvent

    def accept(self, clear: Part) -> None:
        """A snapshot is taken once, first of all."""
        if isinstance(clear, SnapshotTaken) == (self.version > 0):
            raise self.contradiction(clear)
