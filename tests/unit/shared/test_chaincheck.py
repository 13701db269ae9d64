"""A run of facts is accepted only whole, in order, signed by the opener; with public keys alone."""

from __future__ import annotations

import msgspec
import pytest

from shared.bodies import Content, binding_of, seal_body
from shared.chain import NO_DIGEST, Envelope, Position, decode_envelope, hash_envelope, sign_head
from shared.chaincheck import ChainCheck, StoredFact
from shared.codec import encode
from shared.errors import DamagedError, FarkeepError, HostileError
from shared.facts import JobStarted, LogOpened, Part
from shared.sealing import digest
from shared.signing import Identity

OWNER, STRANGER = Identity(b"o" * 32), Identity(b"s" * 32)
SITE = b"s" * 16
CONTENT = Content(0, 0, b"")


class Writer:
    """Writes a chain by the documents, independently of the recorder."""

    def __init__(self, signer: Identity = OWNER, head: Position | None = None) -> None:
        self.head = head
        self.signer = signer
        self.facts: list[StoredFact] = []

    def opening(self, *, is_signed: bool = True, parent: Position | None = None) -> None:
        """A fact that opens a log epoch after the head."""
        clear = LogOpened(parent=parent or self.head, opener=self.signer.public, random=b"r" * 32, organisation=None,
                          reason="asked")  # fmt: skip
        self.write("log.opened", clear, is_signed=is_signed)

    def job(self, *, is_signed: bool = True, coarse_s: int = 60) -> None:
        """Some fact."""
        self.write("job.started", JobStarted(job=b"j" * 16, kind="backup"), is_signed=is_signed, coarse_s=coarse_s)

    def write(self, kind: str, clear: Part, *, is_signed: bool, coarse_s: int = 60) -> None:
        """Chain one fact."""
        draft = Envelope(
            site=SITE,
            log_epoch=NO_DIGEST if kind == "log.opened" or not self.head else self.head.log_epoch,
            sequence=self.head.sequence + 1 if self.head else 1,
            previous_hash=self.head.hash if self.head else NO_DIGEST,
            coarse_s=coarse_s, fact_id=b"f" * 16, subject=bytes(16), aggregate_id=b"a" * 16, aggregate_version=1,
            body_digest=bytes(32), body_size_bytes=0, kind_version=1, kind=kind,
        )  # fmt: skip
        body = seal_body(binding_of(draft), encode(clear), CONTENT, key=b"k" * 32, key_number=1, nonce=b"n" * 12)
        envelope = msgspec.structs.replace(draft, body_digest=digest(body), body_size_bytes=len(body))
        self.append(envelope, body, is_signed)

    def append(self, envelope: Envelope, body: bytes, is_signed: bool) -> None:
        """Chain an envelope as it is."""
        encoded = envelope.encode()
        self.head = envelope.position(hash_envelope(encoded))
        signature = sign_head(self.head, self.signer).signature if is_signed else b""
        self.facts.append(StoredFact(encoded, body, signature))


def log() -> Writer:
    """A log with two log epochs and six facts."""
    writer = Writer()
    writer.opening(is_signed=False)
    writer.job()
    writer.job(is_signed=False)
    writer.job()
    writer.opening()
    writer.job()
    return writer


def check(facts: list[StoredFact]) -> ChainCheck:
    chain = ChainCheck()
    for fact in facts:
        chain.take(fact)
    return chain


def test_a_whole_log_is_accepted() -> None:
    writer = log()
    chain = check(writer.facts)
    assert chain.head == writer.head
    assert chain.signed is not None and chain.signed.position == writer.head
    assert len(chain.openers) == 2


def test_a_run_is_accepted_after_a_trusted_position_only() -> None:
    writer = log()
    first = check(writer.facts[:3])
    rest = ChainCheck(first.head, first.openers)
    for fact in writer.facts[3:]:
        rest.take(fact)
    assert rest.head == writer.head
    with pytest.raises(DamagedError, match="does not begin"):
        check(writer.facts[3:])


@pytest.mark.parametrize("at", range(6))
def test_a_missing_fact_is_named(at: int) -> None:
    facts = log().facts
    del facts[at]
    if at == 5:
        assert check(facts).head != log().head
        return
    with pytest.raises(DamagedError) as caught:
        check(facts)
    assert str(at + 1) in str(caught.value) or at == 0


@pytest.mark.parametrize("at", range(5))
def test_swapped_and_doubled_facts_are_refused(at: int) -> None:
    facts = log().facts
    facts[at], facts[at + 1] = facts[at + 1], facts[at]
    with pytest.raises(DamagedError):
        check(facts)
    facts = log().facts
    facts.insert(at, facts[at])
    with pytest.raises(DamagedError):
        check(facts)


def test_no_changed_byte_passes() -> None:
    facts = log().facts
    for at, fact in enumerate(facts):
        for name in ("envelope", "body", "signature"):
            data = getattr(fact, name)
            for place in range(len(data)):
                changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
                doctored = [*facts[:at], msgspec.structs.replace(fact, **{name: changed}), *facts[at + 1 :]]
                with pytest.raises(FarkeepError):
                    check(doctored)


def test_a_missing_body_is_damage_unless_it_may_be_erased() -> None:
    facts = log().facts
    facts[1] = msgspec.structs.replace(facts[1], body=None)
    with pytest.raises(DamagedError, match="body of a fact is missing"):
        check(facts)
    envelope = msgspec.structs.replace(decode_envelope(facts[1].envelope), kind="subject.opened")
    writer = log()
    writer.facts, writer.head = writer.facts[:1], check(writer.facts[:1]).head
    writer.append(envelope, b"", is_signed=True)
    writer.facts[-1] = msgspec.structs.replace(writer.facts[-1], body=None)
    assert check(writer.facts).head == writer.head


def test_a_stranger_may_not_sign_but_may_open_a_log_epoch_of_his_own() -> None:
    writer = log()
    writer.signer = STRANGER
    writer.job()
    with pytest.raises(HostileError, match="not signed by the one who opened"):
        check(writer.facts)
    other = log()
    other.signer = STRANGER
    other.opening()
    assert STRANGER.public in check(other.facts).openers.values()


def test_siblings_are_runs_after_the_same_position() -> None:
    writer = log()
    fork = check(writer.facts[:4])
    sibling = Writer(STRANGER, fork.head)
    sibling.opening()
    sibling.job()
    chain = ChainCheck(fork.head, fork.openers)
    for fact in sibling.facts:
        chain.take(fact)
    assert chain.head is not None and writer.head is not None
    assert (chain.head.sequence, chain.head.log_epoch) != (writer.head.sequence, writer.head.log_epoch)
    with pytest.raises(DamagedError):
        check([*writer.facts, *sibling.facts])


def test_a_log_epoch_must_say_truly_where_it_begins() -> None:
    writer = log()
    assert writer.head is not None
    writer.opening(parent=msgspec.structs.replace(writer.head, hash=b"x" * 32))
    with pytest.raises(DamagedError, match="does not begin where it says"):
        check(writer.facts)


@pytest.mark.parametrize("coarse_s", [0, 61])
def test_time_goes_forward_in_whole_minutes(coarse_s: int) -> None:
    writer = log()
    writer.job(coarse_s=coarse_s)
    with pytest.raises(DamagedError, match="log time"):
        check(writer.facts)


def test_another_site_has_another_log() -> None:
    writer = log()
    last = decode_envelope(writer.facts[-1].envelope)
    writer.append(msgspec.structs.replace(last, site=b"t" * 16), b"", is_signed=True)
    with pytest.raises(DamagedError, match="another site"):
        check(writer.facts)


@pytest.mark.parametrize("has_opened", [False, True])
def test_a_fact_of_another_log_epoch_is_refused(has_opened: bool) -> None:
    """Even one that follows the fact before it: it belongs where the newest opening says, and an opening nowhere."""
    writer = log()
    older = check(writer.facts[:1]).head
    assert older is not None
    writer.opening() if has_opened else writer.job()
    last = decode_envelope(writer.facts[-1].envelope)
    body = writer.facts.pop().body
    writer.head = check(writer.facts).head
    writer.append(msgspec.structs.replace(last, log_epoch=older.log_epoch), body or b"", is_signed=True)
    with pytest.raises(DamagedError, match="another log epoch"):
        check(writer.facts)
