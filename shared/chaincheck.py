"""The check of a run of facts: chain, bodies and signatures, with public keys only, fact by fact.

A run is one branch: it begins with the first fact of a site or after a position that is already trusted, and may pass
into new log epochs. Siblings in the tree of log epochs are checked as runs of their own, after the place of their fork.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.bodies import split_body
from shared.chain import (
    COARSE_S,
    NO_DIGEST,
    OPENING_KIND,
    Envelope,
    Position,
    SignedHead,
    decode_envelope,
    hash_envelope,
)
from shared.errors import DamagedError, FarkeepError, HostileError
from shared.factkinds import Upcasters, find_kind
from shared.facts import LogOpened
from shared.sealing import digest

ERASABLE_KINDS = frozenset({"subject.opened"})
"""Kinds whose stored body may be absent: destroying it is how a subject is erased."""

_NEXT_STEP = "run `farkeep audit verify`; fetch the log again from another holder"


class StoredFact(msgspec.Struct, frozen=True):
    """A fact as stored: `body` is None when it was destroyed, `signature` empty except for the last of an append."""

    envelope: bytes
    body: bytes | None
    signature: bytes


class ChainCheck:
    """Takes the facts of a run in order and raises at the first that does not fit.

    `after` is the trusted position before the run (None: the run starts the log), `openers` the public keys of the log
    epochs already known; `upcasters` lead from older versions of facts (shared.factkinds). `head` is the last position
    taken, `signed` the last head whose signature was checked.
    """

    def __init__(self, after: Position | None = None, openers: Mapping[bytes, bytes] | None = None,
                 upcasters: Upcasters | None = None) -> None:
        self._upcasters = upcasters
        self.head = after
        self.signed: SignedHead | None = None
        self.openers = dict(openers or {})
        self._coarse_s: int | None = None

    def take(self, stored: StoredFact) -> Envelope:
        """Check one fact and return its envelope.

        Raises DamagedError or HostileError (naming the sequence), RefusedError for one made by a newer Farkeep.
        """
        subject = f"after sequence {self.head.sequence}" if self.head else "first fact"
        try:
            envelope = decode_envelope(stored.envelope)
        except FarkeepError as error:
            error.subject = subject
            raise
        subject = f"sequence {envelope.sequence}"
        position = envelope.position(hash_envelope(stored.envelope))
        self._check_place(envelope, subject)
        self._check_time(envelope, subject)
        check_body(envelope, stored.body, subject)
        if envelope.is_opening:
            self._check_opening(envelope, stored.body, position, subject)
        self._check_signature(stored.signature, position, subject)
        self.head = position
        return envelope

    def _check_place(self, envelope: Envelope, subject: str) -> None:
        head = self.head
        if head is None:
            if envelope.sequence != 1 or envelope.previous_hash != NO_DIGEST or not envelope.is_opening:
                raise _damaged("a log does not begin with its opening fact", subject)
            return
        if envelope.site != head.site:
            raise _damaged("a fact belongs to another site", subject)
        if envelope.sequence != head.sequence + 1:
            raise _damaged(f"a fact is missing: sequence {head.sequence + 1}", subject)
        if envelope.previous_hash != head.hash:
            raise _damaged("the chain is broken: a fact does not follow the one before it", subject)
        if envelope.log_epoch != (NO_DIGEST if envelope.is_opening else head.log_epoch):
            raise _damaged("a fact belongs to another log epoch", subject)

    def _check_time(self, envelope: Envelope, subject: str) -> None:
        if envelope.coarse_s % COARSE_S or (self._coarse_s is not None and envelope.coarse_s < self._coarse_s):
            raise _damaged("the log time of a fact goes back or is not a whole minute", subject)
        self._coarse_s = envelope.coarse_s

    def _check_opening(self, envelope: Envelope, body: bytes | None, position: Position, subject: str) -> None:
        opened = find_kind(OPENING_KIND, envelope.kind_version, self._upcasters).decode_clear(
            split_body(body or b"", subject).clear)  # fmt: skip
        if not isinstance(opened, LogOpened) or opened.parent != self.head:
            raise _damaged("a log epoch does not begin where it says it does", subject)
        self.openers[position.log_epoch] = opened.opener

    def _check_signature(self, signature: bytes, position: Position, subject: str) -> None:
        if not signature:
            return
        public = self.openers.get(position.log_epoch)
        if public is None:
            raise _damaged("the key that signs this log epoch is unknown", subject)
        head = SignedHead(position, public, signature)
        if not head.is_signed():
            raise HostileError("a head of the log is not signed by the one who opened its log epoch", subject=subject,
                               next_step="do not trust this copy of the log; " + _NEXT_STEP)
        self.signed = head


def check_body(envelope: Envelope, body: bytes | None, subject: str) -> None:
    """Compare a stored body with the digest in its envelope; raises DamagedError."""
    if body is None:
        if envelope.kind not in ERASABLE_KINDS:
            raise _damaged("the body of a fact is missing", subject)
    elif len(body) != envelope.body_size_bytes or digest(body) != envelope.body_digest:
        raise _damaged("the body of a fact is not the one that was written", subject)


def _damaged(message: str, subject: str) -> DamagedError:
    return DamagedError(message, subject=subject, next_step=_NEXT_STEP)
