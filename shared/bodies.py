"""The stored body of a fact: a clear part anybody may read and a part sealed under the fact key of its subject.

Body, version 1, numbers big endian:

| offset | size   | meaning                                                                              |
| ------ | ------ | ------------------------------------------------------------------------------------ |
| 0      | 1      | version, 1                                                                           |
| 1      | 1      | algorithm of the seal: 1 = AES-256-GCM                                               |
| 2      | 4      | number of the key: of the subject's fact key; for the site itself of the key epoch   |
| 6      | 4      | length c of the clear part                                                           |
| 10     | c      | clear part, MessagePack                                                              |
| 10 + c | 12     | nonce, random                                                                        |
| 22 + c | n + 16 | ciphertext and tag                                                                   |

Plaintext under the seal, padded with zeros to the next Padme size of at least 64 bytes:

| offset | size | meaning                                                                                  |
| ------ | ---- | ---------------------------------------------------------------------------------------- |
| 0      | 8    | exact log time, nanoseconds since 1970, signed: wall time, made to never decrease        |
| 8      | 8    | wall time as the clock showed it, nanoseconds, signed                                    |
| 16     | 4    | length p of the sealed part, 0 for kinds without one                                     |
| 20     | p    | sealed part, MessagePack                                                                 |

Associated data: "farkeep fact body 1" (ASCII), site id (16), fact id (16), subject pseudonym (16), version of the kind
(2), length of the kind (1), kind (ASCII), then bytes 0 to 9 + c of the body. Sequence and log epoch are not bound: they
are known only inside the transaction that appends, and the chain covers them.
"""

from __future__ import annotations

import struct

import msgspec

from shared.chain import Envelope
from shared.errors import DamagedError, HostileError, RefusedError
from shared.factkinds import PART_LIMIT_BYTES
from shared.padding import padded_size
from shared.sealing import AES_256_GCM, NONCE_SIZE_BYTES, TAG_SIZE_BYTES, open_sealed, seal

VERSION = 1
BODY_LIMIT_BYTES = 3 * PART_LIMIT_BYTES
PADDING_FLOOR_BYTES = 64

_LABEL = b"farkeep fact body 1"
_HEAD = struct.Struct(">BBII")
_TIMES = struct.Struct(">qqI")
_BINDING = struct.Struct(">16s16s16sHB")
_VERIFY = "run `farkeep audit verify`; fetch the log again from another holder"


class Binding(msgspec.Struct, frozen=True):
    """What a body belongs to."""

    site: bytes
    fact_id: bytes
    subject: bytes
    kind: str
    kind_version: int

    def associated_data(self, clear_bytes: bytes) -> bytes:
        """The associated data of the seal."""
        kind = self.kind.encode("ascii")
        fixed = _BINDING.pack(self.site, self.fact_id, self.subject, self.kind_version, len(kind))
        return b"".join((_LABEL, fixed, kind, clear_bytes))


class Content(msgspec.Struct, frozen=True):
    """What was under the seal: two times in nanoseconds and the sealed part (encoded)."""

    time_ns: int
    wall_ns: int
    sealed: bytes


class Body(msgspec.Struct, frozen=True):
    """A body taken apart; `head` are the bytes before the nonce."""

    key_number: int
    clear: bytes
    head: bytes
    nonce: bytes
    ciphertext: bytes


def binding_of(envelope: Envelope) -> Binding:
    """What the body of this envelope must be bound to."""
    return Binding(envelope.site, envelope.fact_id, envelope.subject, envelope.kind, envelope.kind_version)


def seal_body(binding: Binding, clear: bytes, content: Content, *, key: bytes, key_number: int, nonce: bytes) -> bytes:
    """The stored body; `nonce` must be 12 fresh random bytes."""
    head = _HEAD.pack(VERSION, AES_256_GCM, key_number, len(clear)) + clear
    size_bytes = padded_size(_TIMES.size + len(content.sealed), PADDING_FLOOR_BYTES)
    plain = _TIMES.pack(content.time_ns, content.wall_ns, len(content.sealed)) + content.sealed
    plain += bytes(size_bytes - len(plain))
    return b"".join((head, nonce, seal(key, nonce, plain, binding.associated_data(head))))


def split_body(data: bytes, subject: str) -> Body:
    """Take a stored body apart.

    Raises HostileError when it is too long, RefusedError when made by a newer Farkeep, DamagedError when malformed.
    """
    if len(data) > BODY_LIMIT_BYTES:
        raise HostileError(f"a body of {len(data)} bytes is longer than {BODY_LIMIT_BYTES}", subject=subject,
                           next_step=_VERIFY)
    if len(data) < _HEAD.size + NONCE_SIZE_BYTES + TAG_SIZE_BYTES + PADDING_FLOOR_BYTES:
        raise DamagedError("the body of a fact is cut short", subject=subject, next_step=_VERIFY)
    version, algorithm, key_number, clear_bytes = _HEAD.unpack_from(data)
    if version > VERSION or (version == VERSION and algorithm > AES_256_GCM):
        raise RefusedError("the body of a fact was made by a newer Farkeep", subject=subject,
                           next_step="update Farkeep on this machine")
    sealed_from = _HEAD.size + clear_bytes + NONCE_SIZE_BYTES
    if version != VERSION or algorithm != AES_256_GCM or len(data) < sealed_from + TAG_SIZE_BYTES + PADDING_FLOOR_BYTES:
        raise DamagedError("the body of a fact is malformed", subject=subject, next_step=_VERIFY)
    head = data[: _HEAD.size + clear_bytes]
    return Body(key_number, head[_HEAD.size :], head, data[len(head) : sealed_from], data[sealed_from:])


def open_body(body: Body, binding: Binding, key: bytes, subject: str) -> Content:
    """Open the sealed part; raises DamagedError when it does not open under this key and binding."""
    associated_data = binding.associated_data(body.head)
    plain = open_sealed(key, body.nonce, body.ciphertext, associated_data, subject=subject)
    if len(plain) < _TIMES.size:
        raise DamagedError("the sealed part of a fact is cut short", subject=subject, next_step=_VERIFY)
    time_ns, wall_ns, size_bytes = _TIMES.unpack_from(plain)
    if len(plain) < _TIMES.size + size_bytes:
        raise DamagedError("the sealed part of a fact is cut short", subject=subject, next_step=_VERIFY)
    return Content(time_ns, wall_ns, plain[_TIMES.size : _TIMES.size + size_bytes])
