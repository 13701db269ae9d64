"""Subject: whom facts are about, under a pseudonym, from the first of its fact keys to its erasure."""

from __future__ import annotations

from shared.facts import Part, SubjectOpened
from siteagent.ledger.events import FactAggregate, FactEvent


class SubjectRecord(FactAggregate):
    """Has numbered fact keys; once erased it never comes back under this pseudonym."""

    TOPIC = "subject"
    Event = FactEvent

    keys: int
    is_erased: bool

    def begin(self) -> None:
        """Nothing happened yet."""
        self.keys = 0
        self.is_erased = False

    def accept(self, clear: Part) -> None:
        """Keys count up from 1; nothing follows erasure."""
        if self.is_erased:
            raise self.contradiction(clear)
        if isinstance(clear, SubjectOpened):
            if clear.number != self.keys + 1:
                raise self.contradiction(clear)
            self.keys = clear.number
        else:
            self.is_erased = True
