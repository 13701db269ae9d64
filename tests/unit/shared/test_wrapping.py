"""Wraps to a symmetric key and to a public key."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import DamagedError, RefusedError
from shared.wrapping import (
    Wrap,
    exchange_public,
    public_key_id,
    symmetric_key_id,
    unwrap_with_key,
    unwrap_with_private,
    wrap_to_key,
    wrap_to_public,
)
from tests.support.determined import LabelledRandomness

KEY = b"k" * 32
PUBLIC = exchange_public(KEY)
SITE = b"s" * 16
SECRET = bytes(range(32))


def to_key(purpose: str = "p") -> Wrap:
    return wrap_to_key(KEY, SECRET, recipient="site", recipient_id=symmetric_key_id(KEY), site_id=SITE, purpose=purpose,
                       randomness=LabelledRandomness("wrap"))


def to_public(purpose: str = "p") -> Wrap:
    return wrap_to_public(PUBLIC, SECRET, recipient="recovery", site_id=SITE, purpose=purpose,
                          randomness=LabelledRandomness("wrap"))


KINDS = pytest.mark.parametrize(("wrap", "unwrap"), [(to_key(), unwrap_with_key), (to_public(), unwrap_with_private)])
Unwrap = Callable[..., bytes]


@KINDS
def test_a_wrap_opens_for_its_recipient(wrap: Wrap, unwrap: Unwrap) -> None:
    assert unwrap(wrap, KEY, site_id=SITE, purpose="p") == SECRET
    assert SECRET not in wrap.sealed


@KINDS
def test_a_wrap_opens_nowhere_else(wrap: Wrap, unwrap: Unwrap) -> None:
    moved = [
        (wrap, b"l" * 32, SITE, "p"),
        (wrap, KEY, b"t" * 16, "p"),
        (wrap, KEY, SITE, "q"),
        (msgspec.structs.replace(wrap, recipient="other"), KEY, SITE, "p"),
        (msgspec.structs.replace(wrap, recipient_id=b"i" * 16), KEY, SITE, "p"),
    ]
    for changed, key, site_id, purpose in moved:
        with pytest.raises(DamagedError):
            unwrap(changed, key, site_id=site_id, purpose=purpose)


@KINDS
def test_every_flipped_or_lost_byte_is_told(wrap: Wrap, unwrap: Unwrap) -> None:
    for place in range(len(wrap.sealed)):
        flipped = bytearray(wrap.sealed)
        flipped[place] ^= 0x80
        for sealed in (bytes(flipped), wrap.sealed[:place]):
            with pytest.raises((DamagedError, RefusedError)):
                unwrap(msgspec.structs.replace(wrap, sealed=sealed), KEY, site_id=SITE, purpose="p")


@KINDS
def test_an_unknown_algorithm_is_of_a_newer_farkeep(wrap: Wrap, unwrap: Unwrap) -> None:
    newer = msgspec.structs.replace(wrap, sealed=b"\x09" + wrap.sealed[1:])
    with pytest.raises(RefusedError, match="newer Farkeep"):
        unwrap(newer, KEY, site_id=SITE, purpose="p")


def test_one_kind_of_wrap_is_not_taken_for_the_other() -> None:
    with pytest.raises(DamagedError):
        unwrap_with_key(to_public(), KEY, site_id=SITE, purpose="p")


def test_two_wraps_of_one_secret_differ() -> None:
    randomness = LabelledRandomness("two")
    wraps = [wrap_to_public(PUBLIC, SECRET, recipient="recovery", site_id=SITE, purpose="p", randomness=randomness)
             for _ in range(2)]
    assert wraps[0].sealed[1:33] != wraps[1].sealed[1:33]
    assert wraps[0].sealed[33:] != wraps[1].sealed[33:]


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31)])
def test_a_public_key_that_gives_everybody_the_same_key_is_refused(public: bytes) -> None:
    with pytest.raises(RefusedError):
        wrap_to_public(public, SECRET, recipient="recovery", site_id=SITE, purpose="p",
                       randomness=LabelledRandomness("low order"))


def test_an_ephemeral_key_of_low_order_is_damage() -> None:
    wrap = to_public()
    changed = msgspec.structs.replace(wrap, sealed=wrap.sealed[:1] + bytes(32) + wrap.sealed[33:])
    with pytest.raises(DamagedError):
        unwrap_with_private(changed, KEY, site_id=SITE, purpose="p")


def bound(algorithm: int, recipient: bytes, recipient_id: bytes) -> bytes:
    return b"farkeep wrap 1" + bytes([algorithm, len(recipient)]) + recipient + recipient_id + SITE + b"p"


def test_the_symmetric_wrap_is_the_one_of_the_table() -> None:
    sealed = to_key().sealed
    key = blake3(KEY + sealed[1:33], derive_key_context="farkeep 2026 symmetric wrap v1").digest()
    assert sealed[0] == 1
    assert AESGCM(key).decrypt(bytes(12), sealed[33:], bound(1, b"site", symmetric_key_id(KEY))) == SECRET


def test_the_sealed_box_is_the_one_of_the_table() -> None:
    sealed = to_public().sealed
    shared = X25519PrivateKey.from_private_bytes(KEY).exchange(X25519PublicKey.from_public_bytes(sealed[1:33]))
    key = blake3(shared + sealed[1:33] + PUBLIC, derive_key_context="farkeep 2026 sealed box v1").digest()
    assert sealed[0] == 2
    assert AESGCM(key).decrypt(bytes(12), sealed[33:], bound(2, b"recovery", public_key_id(PUBLIC))) == SECRET
