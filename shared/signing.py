"""Signatures by a site, an organisation's root or a partner: Ed25519 (RFC 8032) with the purpose bound in.

What is signed is never the bare message, so that a signature made for one purpose means nothing for another:

| offset | size | meaning                                        |
| ------ | ---- | ---------------------------------------------- |
| 0      | 16   | "farkeep signed 1" (ASCII)                     |
| 16     | 1    | length of the purpose in bytes, 1 to 255       |
| 17     | n    | purpose, UTF-8                                 |
| 17 + n | rest | message                                        |

The signature is the 64 bytes of RFC 8032, the public key its 32 bytes.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.errors import BugError

SEED_SIZE_BYTES = 32
PUBLIC_SIZE_BYTES = 32
SIGNATURE_SIZE_BYTES = 64

_LABEL = b"farkeep signed 1"


class Identity:
    """A holder of an Ed25519 private key. Safe to use from several threads."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE_BYTES:
            raise BugError(f"an identity is made of {SEED_SIZE_BYTES} bytes, not {len(seed)}", next_step="report this")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Return the 64 byte signature of `message`, valid for this `purpose` only."""
        return self._private.sign(_labelled(purpose, message))


def check_signature(public: bytes, purpose: str, message: bytes, signature: bytes) -> bool:
    """Say whether `signature` is the one of `public` over `message` for `purpose`; malformed input is just False."""
    if len(public) != PUBLIC_SIZE_BYTES or len(signature) != SIGNATURE_SIZE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _labelled(purpose, message))
    except (InvalidSignature, ValueError):
        return False
    return True


def _labelled(purpose: str, message: bytes) -> bytes:
    name = purpose.encode()
    if not 1 <= len(name) <= 255:
        raise BugError(f"a purpose of {len(name)} bytes cannot be signed", subject=purpose, next_step="report this")
    return b"".join((_LABEL, bytes((len(name),)), name, message))
