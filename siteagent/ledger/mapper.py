"""The library's mapper, closed: facts become sealed bodies, and stored bodies only what the register allows.

The library's own mapper imports the module that a stored topic names and fills the object it finds there without its
constructor. This one looks a topic up in `shared.facts`, decodes within stated limits, and constructs.
"""

from __future__ import annotations

from uuid import UUID

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent

from shared.bodies import Binding, Content, seal_body
from shared.chain import coarse_time_s
from shared.codec import encode
from shared.errors import BugError, RefusedError
from shared.factkinds import KINDS
from shared.randomness import Randomness
from shared.sealing import NONCE_SIZE_BYTES
from siteagent.ledger.events import FactEvent, event_time
from siteagent.ledger.fact_keys import FactKeys
from siteagent.ledger.reading import FactReader, Mark
from siteagent.ledger.stored import FactNotification, PreparedFact


class FactMapper(Mapper[UUID]):
    """Seals events for the recorder and opens what the recorder gives."""

    def __init__(self, site: bytes, keys: FactKeys, reader: FactReader, randomness: Randomness) -> None:
        # The library demands a transcoder; encoding is done by `shared.codec` and this one is never called.
        super().__init__(JSONTranscoder())
        self._site = site
        self._keys = keys
        self._reader = reader
        self._randomness = randomness

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> PreparedFact:
        """Seal a FactEvent; raises BugError for anything else and for text that is no Unicode."""
        if not isinstance(domain_event, FactEvent):
            raise BugError("only facts are recorded", subject=type(domain_event).__name__, next_step="report this")
        kind = KINDS[domain_event.topic]
        fact_id = self._randomness.bits(16)
        binding = Binding(self._site, fact_id, domain_event.subject, kind.topic, kind.version)
        try:
            clear = encode(domain_event.clear)
            sealed = b"" if domain_event.sealed is None else encode(domain_event.sealed)
        except (UnicodeEncodeError, OverflowError, TypeError) as error:
            raise BugError(f"a fact cannot be encoded: {error}", subject=kind.topic, next_step="report this") from error
        key_number, key = self._keys.sealing_key(domain_event.subject)
        content = Content(domain_event.time_ns, domain_event.wall_ns, sealed)
        nonce = self._randomness.bits(NONCE_SIZE_BYTES)
        return PreparedFact(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=kind.topic,
            state=seal_body(binding, clear, content, key=key, key_number=key_number, nonce=nonce),
            fact_id=fact_id,
            subject=domain_event.subject,
            kind_version=kind.version,
            coarse_s=coarse_time_s(domain_event.time_ns),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> FactEvent:
        """Open a stored fact.

        An erased or unreadable sealed part is left out: aggregates judge by clear parts. Raises RefusedError when there
        is no clear part to judge by, DamagedError when the bytes are not the ones that were written.
        """
        if not isinstance(stored_event, FactNotification):
            raise BugError("only facts are read", subject=type(stored_event).__name__, next_step="report this")
        recorded = self._reader.read(stored_event.chained)
        if isinstance(recorded.clear, Mark):
            raise RefusedError(f"what is {recorded.clear.value} cannot be continued", subject=recorded.kind,
                               next_step="update Farkeep on this machine, or start anew under another name")
        return FactEvent(
            originator_id=UUID(bytes=recorded.aggregate_id),
            originator_version=stored_event.originator_version,
            timestamp=event_time(recorded.time_ns),
            topic=recorded.kind,
            clear=recorded.clear,
            sealed=None if isinstance(recorded.sealed, Mark) else recorded.sealed,
            subject=recorded.subject,
            time_ns=recorded.time_ns,
            wall_ns=recorded.wall_ns,
        )
