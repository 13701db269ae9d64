"""The library's application over our mapper and recorder; nothing of it comes from environment variables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, Transcoder
from eventsourcing.sqlite import SQLiteFactory
from eventsourcing.utils import Environment, EnvType

from shared.chain import Position
from shared.factkinds import kind_of
from shared.facts import Fact, Part
from siteagent.ledger.events import FactAggregate, FactEvent
from siteagent.ledger.log_clock import Stamp
from siteagent.ledger.mapper import FactMapper
from siteagent.ledger.recorder import ChainRecorder, Destruction
from siteagent.ledger.register import AGGREGATES, aggregate_id, projector


class _Factory(SQLiteFactory):
    """Hands the application the recorder it was given."""

    def __init__(self, env: Environment, recorder: ChainRecorder) -> None:
        # Not the library's constructor: it would look for settings and open another database.
        self.env = env
        self._is_entered = False
        self.recorder = recorder

    def application_recorder(self) -> ChainRecorder:
        """The one recorder."""
        return self.recorder

    def close(self) -> None:
        """Leave the database to its owner."""


class LedgerApplication(Application[UUID]):
    """Saves facts through their aggregates."""

    def __init__(self, mapper: FactMapper, recorder: ChainRecorder) -> None:
        self._given_mapper = mapper
        self._given_recorder = recorder
        super().__init__()

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """No settings but those handed in (none)."""
        return Environment(name, env)

    def construct_factory(self, env: Environment) -> Any:
        """Our factory."""
        return _Factory(env, self._given_recorder)

    def construct_mapper(self) -> Mapper[UUID]:
        """The closed mapper."""
        return self._given_mapper

    def construct_transcoder(self) -> Transcoder:
        """The one that the mapper never calls."""
        return self._given_mapper.transcoder

    def append(
        self, facts: Iterable[tuple[Fact, bytes, Stamp]], site: bytes, destruction: Destruction | None = None
    ) -> None:
        """Let the aggregates judge facts (with pseudonym and time), and save all in one transaction, in this order."""
        known: dict[UUID, FactAggregate] = {}
        events: list[DomainEventProtocol[UUID]] = [
            self._decide(known, fact, pseudonym, stamp, site) for fact, pseudonym, stamp in facts
        ]
        self.save(*events, destruction=destruction)

    def recorded_head(self) -> Position | None:
        """The position of the newest fact."""
        head = self._given_recorder.head
        return head.position if head else None

    def _decide(
        self, known: dict[UUID, FactAggregate], fact: Fact, pseudonym: bytes, stamp: Stamp, site: bytes
    ) -> FactEvent:
        topic = kind_of(fact).topic
        aggregate = self._aggregate(known, topic, fact.clear, site)
        return aggregate.say(topic, fact, pseudonym, stamp)

    def _aggregate(self, known: dict[UUID, FactAggregate], topic: str, clear: Part, site: bytes) -> FactAggregate:
        identity = aggregate_id(topic, clear, site)
        if identity not in known:
            aggregate_class = AGGREGATES[topic][0]
            try:
                known[identity] = self.repository.get(identity, projector_func=projector(aggregate_class))
            except AggregateNotFoundError:
                known[identity] = aggregate_class.blank(identity)
        return known[identity]
