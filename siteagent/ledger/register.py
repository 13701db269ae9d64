"""Which aggregate each kind of fact belongs to: a closed table beside the one of `shared.facts`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from shared.chain import OPENING_KIND
from shared.facts import Part
from shared.sealing import digest
from siteagent.ledger.decision import Decision
from siteagent.ledger.events import FactAggregate, FactEvent
from siteagent.ledger.hold import HoldRecord
from siteagent.ledger.job import Job
from siteagent.ledger.run import Run
from siteagent.ledger.snapshot import Snapshot
from siteagent.ledger.subject import SubjectRecord
from siteagent.ledger.vault import Vault

AGGREGATES: dict[str, tuple[type[FactAggregate], str]] = {
    OPENING_KIND: (Vault, ""),
    "key.added": (Vault, ""),
    "clock.jumped": (Vault, ""),
    "log.readopted": (Vault, ""),
    "subject.opened": (SubjectRecord, "pseudonym"),
    "subject.erased": (SubjectRecord, "pseudonym"),
    "job.started": (Job, "job"),
    "job.ended": (Job, "job"),
    "verification.done": (Job, "job"),
    "restore.done": (Job, "job"),
    "packs.stored": (Run, "run"),
    "run.abandoned": (Run, "run"),
    "snapshot.taken": (Snapshot, "snapshot"),
    "snapshot.labelled": (Snapshot, "snapshot"),
    "snapshots.forgotten": (Decision, "decision"),
    "snapshots.recalled": (Decision, "decision"),
    "hold.placed": (HoldRecord, "hold"),
    "hold.released": (HoldRecord, "hold"),
    "segments.superseded": (Run, "run"),
    "packs.replaced": (Job, "job"),
    "segments.swept": (Job, "job"),
}
"""Topic -> the aggregate and the field of the clear part that names it (empty: the site)."""


def aggregate_id(topic: str, clear: Part, site: bytes) -> UUID:
    """The id of the aggregate that a fact belongs to."""
    aggregate_class, field = AGGREGATES[topic]
    return named_aggregate(aggregate_class, getattr(clear, field) if field else site)


def named_aggregate(aggregate_class: type[FactAggregate], name: bytes) -> UUID:
    """The id of the aggregate with this name: of its noun too, since a job and its run may share 16 random bytes."""
    return UUID(bytes=digest(aggregate_class.TOPIC.encode() + b"\0" + name)[:16])


def projector(aggregate_class: type[FactAggregate]) -> Callable[[Any, Iterable[FactEvent]], Any]:
    """What makes an aggregate of this class from its stored facts (a projector function of the library).

    Gives None, which the library reports as "not found", when there are none.
    """

    def project(aggregate: FactAggregate | None, events: Iterable[FactEvent]) -> FactAggregate | None:
        for event in events:
            if aggregate is None:
                aggregate = aggregate_class.blank(event.originator_id)
            aggregate = event.mutate(aggregate)
        return aggregate

    return project
