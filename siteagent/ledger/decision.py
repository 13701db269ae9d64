"""Decision: somebody said once which snapshots are wanted no more, or wanted again."""

from __future__ import annotations

from shared.facts import Part
from siteagent.ledger.events import FactAggregate, FactEvent


class Decision(FactAggregate):
    """Is made once."""

    TOPIC = "decision"
    Event = FactEvent

    def accept(self, clear: Part) -> None:
        """A decision is made once; another one is another decision."""
        if self.version:
            raise self.contradiction(clear)
