"""Stored facts opened: checked against their envelope, decoded by the closed register, marked where unreadable."""

from __future__ import annotations

import enum

import msgspec

from migrations.facts import FACT_UPCASTERS
from shared.bodies import Body, Content, binding_of, open_body, split_body
from shared.chain import Position, hash_envelope
from shared.chaincheck import check_body
from shared.errors import DamagedError
from shared.factkinds import FactKind, find_kind, is_newer
from shared.facts import Part, Subject, SubjectErased, SubjectOpened
from shared.summary import SnapshotSummary
from siteagent.ledger.fact_keys import FactKeys
from siteagent.ledger.stored import ChainedFact


class Mark(enum.Enum):
    """Why a part of a fact is not shown."""

    ERASED = "erased"
    """Its subject was erased."""
    UNREADABLE = "unreadable"
    """Its key is not in this keyring."""
    NEWER = "made by a newer Farkeep"
    """This program does not know its kind or version."""


class RecordedFact(msgspec.Struct, frozen=True):
    """One fact of the log. Times are nanoseconds since 1970; where they could not be read they are the coarse log time.

    `clear` and `sealed` are the structs registered for `kind` (`sealed` is None for kinds without one), or a Mark.
    """

    position: Position
    kind: str
    kind_version: int
    time_ns: int
    wall_ns: int
    subject: bytes
    fact_id: bytes
    aggregate_id: bytes
    clear: Part | Mark
    sealed: Part | SnapshotSummary | Mark | None


class FactReader:
    """Opens facts in the order of the log, learning the keys of subjects on the way."""

    def __init__(self, keys: FactKeys) -> None:
        self._keys = keys

    def read(self, fact: ChainedFact) -> RecordedFact:
        """Open one fact.

        Raises DamagedError when its bytes are not those its envelope and hash were made of, or the seal does not open.
        """
        envelope, subject = fact.envelope, f"sequence {fact.envelope.sequence}"
        if hash_envelope(fact.stored.envelope) != fact.position.hash:
            raise DamagedError("the envelope of a fact is not the one that was chained", subject=subject,
                               next_step="run `farkeep audit verify`; fetch the log again from another holder")
        check_body(envelope, fact.stored.body, subject)
        if is_newer(envelope.kind, envelope.kind_version):
            return _recorded(fact, None, Mark.NEWER, Mark.NEWER)
        if fact.stored.body is None:
            self._keys.forget(envelope.subject)
            return _recorded(fact, None, Mark.ERASED, Mark.ERASED)
        body = split_body(fact.stored.body, subject)
        kind = find_kind(envelope.kind, envelope.kind_version, FACT_UPCASTERS)
        clear = kind.decode_clear(body.clear)
        if isinstance(clear, SubjectOpened):
            self._keys.learn(clear)
        return self._opened(fact, kind, body, clear)

    def _opened(self, fact: ChainedFact, kind: FactKind, body: Body, clear: Part) -> RecordedFact:
        pseudonym = fact.envelope.subject
        if isinstance(clear, SubjectErased):
            self._keys.forget(clear.pseudonym)
        key = self._keys.opening_key(pseudonym, body.key_number)
        if key is None:
            is_erased = pseudonym in self._keys.erased
            return _recorded(fact, None, clear, Mark.ERASED if is_erased else Mark.UNREADABLE)
        content = open_body(body, binding_of(fact.envelope), key, f"sequence {fact.envelope.sequence}")
        sealed = kind.decode_sealed(content.sealed)
        if isinstance(sealed, Subject):
            self._keys.name(pseudonym, sealed)
        return _recorded(fact, content, clear, sealed)


def _recorded(
    fact: ChainedFact, content: Content | None, clear: Part | Mark, sealed: Part | SnapshotSummary | Mark | None
) -> RecordedFact:
    envelope = fact.envelope
    coarse_ns = envelope.coarse_s * 1_000_000_000
    return RecordedFact(
        position=fact.position,
        kind=envelope.kind,
        kind_version=envelope.kind_version,
        time_ns=content.time_ns if content else coarse_ns,
        wall_ns=content.wall_ns if content else coarse_ns,
        subject=envelope.subject,
        fact_id=envelope.fact_id,
        aggregate_id=envelope.aggregate_id,
        clear=clear,
        sealed=sealed,
    )
