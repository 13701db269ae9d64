"""Snapshot: one sealed, restorable state of a source."""

from __future__ import annotations

from shared.facts import Part
from siteagent.ledger.events import FactAggregate, FactEvent


class Snapshot(FactAggregate):
    """Is taken once."""

    TOPIC = "snapshot"
    Event = FactEvent

    def accept(self, clear: Part) -> None:
        """A snapshot is taken once."""
        if self.version:
            raise self.contradiction(clear)
