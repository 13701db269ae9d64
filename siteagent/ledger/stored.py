"""Facts as the recorder takes and gives them: our own records, and the library's stored events around them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import msgspec
from eventsourcing.persistence import Notification, StoredEvent

from shared.chain import Envelope, Position
from shared.chaincheck import StoredFact


class ChainedFact(msgspec.Struct, frozen=True):
    """A stored fact: its place in this copy of the log (meaningless elsewhere) and its position (the same anywhere)."""

    place: int
    envelope: Envelope
    position: Position
    stored: StoredFact


@dataclass(frozen=True)
class PreparedFact(StoredEvent):
    """A sealed fact that has no place yet: `topic` is its kind, `state` its body."""

    fact_id: bytes
    subject: bytes
    kind_version: int
    coarse_s: int


@dataclass(frozen=True)
class FactNotification(Notification):
    """A stored fact as the library wants it: `id` is its place, `state` its body (empty when it was destroyed)."""

    chained: ChainedFact


def notification_of(fact: ChainedFact) -> FactNotification:
    """Wrap a stored fact for the library."""
    return FactNotification(
        originator_id=UUID(bytes=fact.envelope.aggregate_id),
        originator_version=fact.envelope.aggregate_version,
        topic=fact.envelope.kind,
        state=fact.stored.body or b"",
        id=fact.place,
        chained=fact,
    )
