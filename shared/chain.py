"""The chain of a log: positions, envelopes, signed heads, and the check of a run of facts with public keys only.

A **position** is (site, log epoch, sequence, hash). Sequences count from 1 and go on across log epochs, so along one
branch they never repeat; siblings in the tree of log epochs are told apart by their log epoch. The id of a log epoch
is the hash of its opening fact (kind `log.opened`), whose own envelope therefore carries 32 zeros in that place.

Envelope, version 1, all numbers big endian:

| offset | size | meaning                                                                         |
| ------ | ---- | ------------------------------------------------------------------------------- |
| 0      | 1    | version, 1                                                                      |
| 1      | 1    | flags, 0                                                                        |
| 2      | 16   | site id                                                                         |
| 18     | 32   | log epoch (zeros in its opening fact)                                           |
| 50     | 8    | sequence, unsigned                                                              |
| 58     | 32   | previous hash: of the fact one sequence before, zeros for the first of all      |
| 90     | 8    | coarse log time: seconds since 1970, signed, a multiple of 60, never decreasing |
| 98     | 16   | fact id, random; what the seal of the body is bound to                          |
| 114    | 16   | subject pseudonym (zeros: the site itself)                                      |
| 130    | 16   | aggregate id: start of the BLAKE3 of its noun, a zero byte and its 16 byte name |
| 146    | 4    | version of the aggregate, from 1                                                |
| 150    | 32   | body digest: BLAKE3 of the stored body                                          |
| 182    | 4    | length of the stored body                                                       |
| 186    | 2    | version of the kind                                                             |
| 188    | 1    | length n of the kind, 1 to 64                                                   |
| 189    | n    | kind, ASCII                                                                     |

Nouns of aggregates: vault (named by the site), subject (by its pseudonym), job, run, snapshot.

Hash of a fact = BLAKE3 derive-key "farkeep 2026 log chain v1" over its envelope. The envelope holds the previous hash
and the digest of the body's ciphertext, so the chain outlives a body that was destroyed.

Signed head, version 1 (what witnesses exchange, packs and manifests cite, and each append signs):

| offset | size | meaning                                                                    |
| ------ | ---- | -------------------------------------------------------------------------- |
| 0      | 1    | version, 1                                                                 |
| 1      | 16   | site id                                                                    |
| 17     | 32   | log epoch                                                                  |
| 49     | 8    | sequence                                                                   |
| 57     | 32   | hash                                                                       |
| 89     | 32   | Ed25519 public key of the signer                                           |
| 121    | 64   | signature over bytes 0 to 120, purpose "log head" (shared/signing.py)      |
"""

from __future__ import annotations

import struct
from typing import Protocol

import msgspec

from shared.errors import DamagedError, HostileError, RefusedError, UsageError
from shared.sealing import derive
from shared.signing import check_signature
from shared.summary import Digest, Id

VERSION = 1
POSITION_BYTES = 88
SIGNED_HEAD_BYTES = 185
ENVELOPE_LIMIT_BYTES = 189 + 64
COARSE_S = 60
NO_ID = bytes(16)
NO_DIGEST = bytes(32)
OPENING_KIND = "log.opened"
HEAD_PURPOSE = "log head"

_CHAIN = "farkeep 2026 log chain v1"
_ENVELOPE = struct.Struct(">BB16s32sQ32sq16s16s16sI32sIHB")
_POSITION = struct.Struct(">16s32sQ32s")
_UPDATE = "update Farkeep on this machine"
_VERIFY = "run `farkeep audit verify`; fetch the log again from another holder"


class Signer(Protocol):
    """Who signs heads: the site's identity."""

    public: bytes

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Return the 64 byte signature of `message` for `purpose`."""


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place in one site's log."""

    site: Id
    log_epoch: Digest
    sequence: int
    hash: Digest

    def text(self) -> str:
        """`site/log-epoch/sequence` with eight hexadecimal digits of the first two."""
        return f"{self.site.hex()[:8]}/{self.log_epoch.hex()[:8]}/{self.sequence}"

    def encode(self) -> bytes:
        """88 bytes: site (16), log epoch (32), sequence (u64, big endian), hash (32)."""
        return _POSITION.pack(self.site, self.log_epoch, self.sequence, self.hash)


def decode_position(data: bytes | memoryview) -> Position:
    """Read the 88 bytes of `Position.encode`; raises DamagedError for another length."""
    if len(data) != POSITION_BYTES:
        raise DamagedError(f"a log position has {POSITION_BYTES} bytes, not {len(data)}", next_step=_VERIFY)
    return Position(*_POSITION.unpack(data))


class PositionName(msgspec.Struct, frozen=True):
    """A position as people write it: hexadecimal prefixes of site and log epoch, and the sequence."""

    site_prefix: str
    log_epoch_prefix: str
    sequence: int

    def names(self, site: bytes, log_epoch: bytes) -> bool:
        """Say whether both prefixes fit."""
        return site.hex().startswith(self.site_prefix) and log_epoch.hex().startswith(self.log_epoch_prefix)


def parse_position(text: str) -> PositionName:
    """Read `site/log-epoch/sequence`; raises UsageError. Whether the prefixes are unique only a log can say."""
    parts = text.strip().lower().split("/")
    digits = set("0123456789abcdef")
    if len(parts) != 3 or not all(parts) or set(parts[0]) - digits or set(parts[1]) - digits or not _is_count(parts[2]):
        raise UsageError("a log position is written site/log-epoch/sequence, the first two in hexadecimal digits",
                         subject=text, next_step="copy a position from `farkeep events`")
    return PositionName(parts[0], parts[1], int(parts[2]))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < len(text) < 19


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The clear part of every fact that the chain is made of; see the table above."""

    site: bytes
    log_epoch: bytes
    sequence: int
    previous_hash: bytes
    coarse_s: int
    fact_id: bytes
    subject: bytes
    aggregate_id: bytes
    aggregate_version: int
    body_digest: bytes
    body_size_bytes: int
    kind_version: int
    kind: str

    def encode(self) -> bytes:
        """The bytes of the envelope."""
        kind = self.kind.encode("ascii")
        return _ENVELOPE.pack(
            VERSION, 0, self.site, self.log_epoch, self.sequence, self.previous_hash, self.coarse_s, self.fact_id,
            self.subject, self.aggregate_id, self.aggregate_version, self.body_digest, self.body_size_bytes,
            self.kind_version, len(kind),
        ) + kind  # fmt: skip

    @property
    def is_opening(self) -> bool:
        """Say whether this fact opens a log epoch."""
        return self.kind == OPENING_KIND

    def position(self, fact_hash: bytes) -> Position:
        """The position of this fact, whose hash is `fact_hash`."""
        return Position(self.site, fact_hash if self.is_opening else self.log_epoch, self.sequence, fact_hash)


def decode_envelope(data: bytes) -> Envelope:
    """Read an envelope.

    Raises HostileError for one that is too long, RefusedError for a newer version, DamagedError for a malformed one.
    """
    if len(data) > ENVELOPE_LIMIT_BYTES:
        raise HostileError(f"an envelope of {len(data)} bytes is longer than {ENVELOPE_LIMIT_BYTES}", next_step=_VERIFY)
    if len(data) <= _ENVELOPE.size:
        raise DamagedError(f"an envelope of {len(data)} bytes is cut short", next_step=_VERIFY)
    if data[0] > VERSION:
        raise RefusedError(f"a fact's envelope of version {data[0]} was made by a newer Farkeep", next_step=_UPDATE)
    fields = _ENVELOPE.unpack_from(data)
    kind = data[_ENVELOPE.size :]
    if fields[0] != VERSION or fields[1] or fields[14] != len(kind) or not kind.isascii() or len(kind) > 64:
        raise DamagedError("an envelope is malformed", subject=f"sequence {fields[4]}", next_step=_VERIFY)
    return Envelope(
        site=fields[2], log_epoch=fields[3], sequence=fields[4], previous_hash=fields[5], coarse_s=fields[6],
        fact_id=fields[7], subject=fields[8], aggregate_id=fields[9], aggregate_version=fields[10],
        body_digest=fields[11], body_size_bytes=fields[12], kind_version=fields[13], kind=kind.decode("ascii"),
    )  # fmt: skip


def hash_envelope(envelope: bytes) -> bytes:
    """The hash (32 bytes) of the fact that has this envelope."""
    return derive(_CHAIN, envelope)


def coarse_time_s(time_ns: int) -> int:
    """Log time as the envelope shows it: seconds, rounded down to a whole minute."""
    return time_ns // (COARSE_S * 1_000_000_000) * COARSE_S


class SignedHead(msgspec.Struct, frozen=True):
    """A position, vouched for by the holder of `public`."""

    position: Position
    public: bytes
    signature: bytes

    def encode(self) -> bytes:
        """185 bytes, see the table above."""
        return _head_message(self.position, self.public) + self.signature

    def is_signed(self) -> bool:
        """Say whether the signature is the one of `public`; whether that key is the site's is another question."""
        return check_signature(self.public, HEAD_PURPOSE, _head_message(self.position, self.public), self.signature)


def sign_head(position: Position, signer: Signer) -> SignedHead:
    """Sign a position."""
    return SignedHead(position, signer.public, signer.sign(HEAD_PURPOSE, _head_message(position, signer.public)))


def decode_signed_head(data: bytes) -> SignedHead:
    """Read a signed head (the signature is not checked here).

    Raises RefusedError for a newer version, DamagedError for a malformed one.
    """
    if data and data[0] > VERSION:
        raise RefusedError(f"a signed head of version {data[0]} was made by a newer Farkeep", next_step=_UPDATE)
    if len(data) != SIGNED_HEAD_BYTES or data[0] != VERSION:
        raise DamagedError("a signed head is malformed", next_step=_VERIFY)
    return SignedHead(decode_position(data[1 : 1 + POSITION_BYTES]), data[89:121], data[121:])


def _head_message(position: Position, public: bytes) -> bytes:
    return bytes((VERSION,)) + position.encode() + public
