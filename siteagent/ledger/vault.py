"""Vault: the site itself, with its log epochs, its keys and its clock."""

from __future__ import annotations

from shared.facts import LogOpened, Part
from siteagent.ledger.events import FactAggregate, FactEvent


class Vault(FactAggregate):
    """Begins with a log epoch that has no parent; every later log epoch has one."""

    TOPIC = "vault"
    Event = FactEvent

    def accept(self, clear: Part) -> None:
        """The first fact of all opens the log, and only that one has no parent."""
        is_first_of_all = isinstance(clear, LogOpened) and clear.parent is None
        if is_first_of_all == (self.version > 0):
            raise self.contradiction(clear)
