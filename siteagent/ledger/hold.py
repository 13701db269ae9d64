"""HoldRecord: a hold on snapshots, from its placing to its release."""

from __future__ import annotations

from shared.decisions import HoldPlaced, HoldReleased
from shared.facts import Part
from siteagent.ledger.events import FactAggregate, FactEvent


class HoldRecord(FactAggregate):
    """Is placed once and, unless it is a lock, released once."""

    TOPIC = "hold"
    Event = FactEvent

    is_placed: bool
    is_released: bool

    def begin(self) -> None:
        """Nothing happened yet."""
        self.is_placed = self.is_released = False

    def accept(self, clear: Part) -> None:
        """A hold is placed first and released once."""
        if self.is_released or self.is_placed == isinstance(clear, HoldPlaced):
            raise self.contradiction(clear)
        self.is_placed = True
        self.is_released = isinstance(clear, HoldReleased)
