"""The one event class of the log and the base of its aggregates.

The library makes a dataclass per event class, at a millisecond each when a program starts; here one class carries
every kind of fact, told apart by its topic and clear part. A new aggregate is blank at version 0, so that its first
fact is applied like any other and nothing is constructed that the stored bytes would name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from eventsourcing.domain import BaseAggregate, CanMutateAggregate, DomainEvent
from eventsourcing.utils import register_topic

from shared.errors import BugError
from shared.facts import Fact, Part
from shared.summary import SnapshotSummary
from siteagent.ledger.log_clock import Stamp


@dataclass(frozen=True)
class FactEvent(CanMutateAggregate[UUID], DomainEvent):
    """One fact of one aggregate. `subject` is the pseudonym, times are nanoseconds since 1970."""

    TOPIC = "fact"

    topic: str
    clear: Part
    sealed: Part | SnapshotSummary | None
    subject: bytes
    time_ns: int
    wall_ns: int

    def apply(self, aggregate: FactAggregate) -> None:
        """Let the aggregate accept or refuse this fact."""
        aggregate.accept(self.clear)


register_topic(FactEvent.TOPIC, FactEvent)


class FactAggregate(BaseAggregate[UUID]):
    """Something with a past of its own; its subclasses keep in memory what they need to judge the next fact."""

    TOPIC = "aggregate"
    Event = FactEvent

    @classmethod
    def blank(cls, aggregate_id: UUID) -> Self:
        """The aggregate before its first fact."""
        aggregate = cls.__new__(cls)
        aggregate.__base_init__(aggregate_id, 0, datetime.fromtimestamp(0, UTC))
        aggregate.begin()
        return aggregate

    def begin(self) -> None:
        """Set the memory of an aggregate that nothing happened to."""

    def accept(self, clear: Part) -> None:
        """Take in one fact; raises BugError when it contradicts what happened before."""
        raise self.contradiction(clear)

    def say(self, topic: str, fact: Fact, subject: bytes, stamp: Stamp) -> FactEvent:
        """Decide that a fact is true; returns the event to be saved. `subject` is the pseudonym."""
        self.trigger_event(
            FactEvent,
            topic=topic,
            clear=fact.clear,
            sealed=fact.sealed,
            subject=subject,
            time_ns=stamp.time_ns,
            wall_ns=stamp.wall_ns,
            timestamp=event_time(stamp.time_ns),
        )
        (event,) = self.collect_events()
        if not isinstance(event, FactEvent):
            raise BugError("an aggregate gave another event than the one it was asked for", next_step="report this")
        return event

    def contradiction(self, clear: Part) -> BugError:
        """The error for a fact that cannot follow what happened before."""
        return BugError("a fact contradicts the log: it cannot follow what is already recorded",
                        subject=f"{type(clear).__name__} of {type(self).__name__} {self.id.hex}",
                        next_step="report this")


def event_time(time_ns: int) -> datetime:
    """The library's time of an event (microseconds are enough for it; the log keeps nanoseconds)."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
