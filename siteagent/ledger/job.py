"""Job: one run of a command or a schedule, from its start to its outcome."""

from __future__ import annotations

from shared.facts import JobEnded, JobStarted, Part
from siteagent.ledger.events import FactAggregate, FactEvent


class Job(FactAggregate):
    """Starts once, says what came of it, ends once."""

    TOPIC = "job"
    Event = FactEvent

    is_started: bool
    is_ended: bool

    def begin(self) -> None:
        """Nothing happened yet."""
        self.is_started = self.is_ended = False

    def accept(self, clear: Part) -> None:
        """A job starts first, and nothing follows its end."""
        if self.is_started == isinstance(clear, JobStarted) or self.is_ended:
            raise self.contradiction(clear)
        self.is_started = True
        self.is_ended = isinstance(clear, JobEnded)
