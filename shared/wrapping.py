"""A secret wrapped to a recipient: to whoever knows a symmetric key, or to the owner of an X25519 key pair.

A wrap binds what it is for: recipient, site and purpose are associated data, so a wrap moved to another record, site or
use does not open. Every wrap has a key of its own, therefore the nonce is twelve zeros.

Algorithm 1, to a symmetric key (site secret, key epoch):

| offset | size   | meaning                                                |
| ------ | ------ | ------------------------------------------------------ |
| 0      | 1      | algorithm, 1                                           |
| 1      | 32     | salt, random                                           |
| 33     | n + 16 | AES-256-GCM ciphertext of the n byte secret, and tag   |

Its key: BLAKE3 derive-key "farkeep 2026 symmetric wrap v1" of (wrapping key, salt).

Algorithm 2, sealed box to a public key (recovery key):

| offset | size   | meaning                                                |
| ------ | ------ | ------------------------------------------------------ |
| 0      | 1      | algorithm, 2                                           |
| 1      | 32     | ephemeral X25519 public key (RFC 7748)                 |
| 33     | n + 16 | AES-256-GCM ciphertext of the n byte secret, and tag   |

Its key: BLAKE3 derive-key "farkeep 2026 sealed box v1" of (shared secret, ephemeral public, recipient's public).

Associated data of both:

| offset | size | meaning                                       |
| ------ | ---- | --------------------------------------------- |
| 0      | 14   | "farkeep wrap 1" (ASCII)                      |
| 14     | 1    | algorithm                                     |
| 15     | 1    | length of the recipient's kind, r             |
| 16     | r    | recipient's kind, ASCII                       |
| 16 + r | 16   | recipient's id                                |
| 32 + r | 16   | site id                                       |
| 48 + r | rest | purpose, UTF-8                                |

Recipient ids: `symmetric_key_id` of a wrapping key, `public_key_id` of a public key, the id of a key epoch's record.
"""

from __future__ import annotations

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from shared.errors import DamagedError, RefusedError
from shared.randomness import Randomness
from shared.sealing import KEY_SIZE_BYTES, ONE_TIME_NONCE, TAG_SIZE_BYTES, derive, digest, open_sealed, seal

SYMMETRIC = 1
SEALED_BOX = 2
ID_SIZE_BYTES = 16

_LABEL = b"farkeep wrap 1"
_HEAD_SIZE_BYTES = 1 + KEY_SIZE_BYTES


class Wrap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One secret for one recipient; every byte may be shown to a thief."""

    recipient: str
    recipient_id: bytes
    sealed: bytes


def symmetric_key_id(key: bytes) -> bytes:
    """Return the 16 byte name of a symmetric wrapping key, which tells nothing about the key."""
    return derive("farkeep 2026 wrapping key id v1", key)[:ID_SIZE_BYTES]


def public_key_id(public: bytes) -> bytes:
    """Return the 16 byte name of a public key: the start of its BLAKE3."""
    return digest(public)[:ID_SIZE_BYTES]


def exchange_public(private: bytes) -> bytes:
    """Return the X25519 public key (32 bytes) of a 32 byte private key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def wrap_to_key(
    key: bytes,
    secret: bytes,
    *,
    recipient: str,
    recipient_id: bytes,
    site_id: bytes,
    purpose: str,
    randomness: Randomness,
) -> Wrap:
    """Wrap `secret` to who knows the 32 byte `key` (algorithm 1)."""
    salt = randomness.bits(KEY_SIZE_BYTES)
    bound = _bound(SYMMETRIC, recipient, recipient_id, site_id, purpose)
    sealed = seal(_symmetric_key(key, salt), ONE_TIME_NONCE, secret, bound)
    return Wrap(recipient=recipient, recipient_id=recipient_id, sealed=bytes((SYMMETRIC,)) + salt + sealed)


def unwrap_with_key(wrap: Wrap, key: bytes, *, site_id: bytes, purpose: str) -> bytes:
    """Return the secret of a wrap made by `wrap_to_key`.

    Raises DamagedError when it does not open under this key, site and purpose, RefusedError for an unknown algorithm.
    """
    salt, sealed = _parts(wrap, SYMMETRIC)
    bound = _bound(SYMMETRIC, wrap.recipient, wrap.recipient_id, site_id, purpose)
    return open_sealed(_symmetric_key(key, salt), ONE_TIME_NONCE, sealed, bound, subject=_subject(wrap, purpose))


def wrap_to_public(
    public: bytes, secret: bytes, *, recipient: str, site_id: bytes, purpose: str, randomness: Randomness
) -> Wrap:
    """Wrap `secret` to the owner of the X25519 key `public` (algorithm 2); who wraps cannot open it again.

    Raises RefusedError when `public` is a point that would give everybody the same key.
    """
    recipient_id = public_key_id(public)
    ephemeral = X25519PrivateKey.from_private_bytes(randomness.bits(KEY_SIZE_BYTES))
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise RefusedError("a public key is not one that secrets can be wrapped to", subject=recipient,
                           next_step="fetch the organisation's file again from its administrators") from error
    bound = _bound(SEALED_BOX, recipient, recipient_id, site_id, purpose)
    sealed = seal(_box_key(shared, ephemeral_public, public), ONE_TIME_NONCE, secret, bound)
    return Wrap(recipient=recipient, recipient_id=recipient_id, sealed=bytes((SEALED_BOX,)) + ephemeral_public + sealed)


def unwrap_with_private(wrap: Wrap, private: bytes, *, site_id: bytes, purpose: str) -> bytes:
    """Return the secret of a wrap made by `wrap_to_public` to the 32 byte X25519 key `private`.

    Raises DamagedError when it does not open under this key, site and purpose, RefusedError for an unknown algorithm.
    """
    ephemeral_public, sealed = _parts(wrap, SEALED_BOX)
    own = X25519PrivateKey.from_private_bytes(private)
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(ephemeral_public))
    except ValueError as error:
        raise _damaged(wrap, purpose) from error
    key = _box_key(shared, ephemeral_public, own.public_key().public_bytes_raw())
    bound = _bound(SEALED_BOX, wrap.recipient, wrap.recipient_id, site_id, purpose)
    return open_sealed(key, ONE_TIME_NONCE, sealed, bound, subject=_subject(wrap, purpose))


def _parts(wrap: Wrap, algorithm: int) -> tuple[bytes, bytes]:
    sealed = wrap.sealed
    if len(sealed) < _HEAD_SIZE_BYTES + TAG_SIZE_BYTES:
        raise _damaged(wrap, "")
    if sealed[0] not in (SYMMETRIC, SEALED_BOX):
        raise RefusedError(f"a key is wrapped by algorithm {sealed[0]}: made by a newer Farkeep",
                           subject=_subject(wrap, ""), next_step="update Farkeep on this machine")
    if sealed[0] != algorithm:
        raise _damaged(wrap, "")
    return sealed[1:_HEAD_SIZE_BYTES], sealed[_HEAD_SIZE_BYTES:]


def _bound(algorithm: int, recipient: str, recipient_id: bytes, site_id: bytes, purpose: str) -> bytes:
    kind = recipient.encode()
    return b"".join((_LABEL, bytes((algorithm, len(kind))), kind, recipient_id, site_id, purpose.encode()))


def _symmetric_key(key: bytes, salt: bytes) -> bytes:
    return derive("farkeep 2026 symmetric wrap v1", key + salt)


def _box_key(shared: bytes, ephemeral_public: bytes, recipient_public: bytes) -> bytes:
    return derive("farkeep 2026 sealed box v1", shared + ephemeral_public + recipient_public)


def _subject(wrap: Wrap, purpose: str) -> str:
    return f"{purpose or 'wrapped key'}, wrapped to {wrap.recipient} {wrap.recipient_id.hex()}"


def _damaged(wrap: Wrap, purpose: str) -> DamagedError:
    return DamagedError("a wrapped key is damaged", subject=_subject(wrap, purpose),
                        next_step="take the keyring from another copy of the home or of its log")
