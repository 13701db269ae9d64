"""Keyed hashing, key derivation and authenticated encryption: the only door to BLAKE3 keys and AES-256-GCM.

Algorithm 1 of every format that states one is AES-256-GCM (NIST SP 800-38D): 32 byte key, 12 byte nonce, 16 byte tag
after the ciphertext. The nonce is always given by the caller and never stored here: a format either seals once per key
(nonce of zeros) or numbers what it seals (`counter_nonce`).

Derivation is BLAKE3's derive-key mode (BLAKE3 specification, section 2.3). Context strings are written out in full at
the place of use, "farkeep 2026 <purpose> v1", so that a search for one finds its only user.
"""

from __future__ import annotations

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import BugError, DamagedError

KEY_SIZE_BYTES = 32
NONCE_SIZE_BYTES = 12
TAG_SIZE_BYTES = 16
AES_256_GCM = 1
ONE_TIME_NONCE = bytes(NONCE_SIZE_BYTES)

_CONTEXT_START = "farkeep 2026 "


def derive(context: str, key_material: bytes) -> bytes:
    """Return the 32 byte key that `context` names, derived from secret `key_material`.

    `context` is a constant "farkeep 2026 <purpose> v<number>". Raises BugError for any other form.
    """
    if not context.startswith(_CONTEXT_START):
        raise BugError("a key is derived under a foreign context", subject=context, next_step="report this")
    return blake3(key_material, derive_key_context=context).digest()


def keyed_id(key: bytes, data: bytes | memoryview) -> bytes:
    """Return the 32 byte keyed BLAKE3 of `data`: an id that says nothing to who lacks the 32 byte `key`."""
    return blake3(data, key=key).digest()


def digest(data: bytes | memoryview) -> bytes:
    """Return the 32 byte BLAKE3 of `data`."""
    return blake3(data).digest()


def counter_nonce(number: int) -> bytes:
    """Return `number` (below 2**96) as a 12 byte big-endian nonce."""
    return number.to_bytes(NONCE_SIZE_BYTES, "big")


def seal(key: bytes, nonce: bytes, plain: bytes | memoryview, associated_data: bytes) -> bytes:
    """Return ciphertext and tag (16 bytes longer than `plain`); one (key, nonce) pair must seal one text only."""
    return AESGCM(key).encrypt(nonce, plain, associated_data)


def open_sealed(key: bytes, nonce: bytes, sealed: bytes | memoryview, associated_data: bytes, *, subject: str) -> bytes:
    """Return the plaintext of `sealed`.

    Raises DamagedError naming `subject` when key, nonce, bytes or associated data are not those of the seal.
    """
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated_data)
    except InvalidTag as error:
        raise DamagedError(
            "a sealed record does not open: its bytes, its place or its key are not the original ones",
            subject=subject,
            next_step="run `farkeep verify`; fetch the record again from another holder",
        ) from error
