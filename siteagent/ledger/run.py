"""Run: the packs of one writing job, until it is given up."""

from __future__ import annotations

from shared.decisions import SegmentsSuperseded
from shared.facts import PacksStored, Part
from siteagent.ledger.events import FactAggregate, FactEvent


class Run(FactAggregate):
    """Stores packs in batches, each pack once; nothing more after it was abandoned."""

    TOPIC = "run"
    Event = FactEvent

    packs: set[bytes]
    is_abandoned: bool

    def begin(self) -> None:
        """Nothing happened yet."""
        self.packs = set()
        self.is_abandoned = False

    def accept(self, clear: Part) -> None:
        """A pack is stored once; an abandoned run is over."""
        if self.is_abandoned:
            raise self.contradiction(clear)
        if isinstance(clear, (PacksStored, SegmentsSuperseded)):
            if any(pack.id in self.packs for pack in clear.packs):
                raise self.contradiction(clear)
            self.packs.update(pack.id for pack in clear.packs)
        else:
            self.is_abandoned = True
