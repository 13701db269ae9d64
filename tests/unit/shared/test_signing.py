"""Signatures and the purpose bound into them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.errors import BugError
from shared.signing import Identity, check_signature

IDENTITY = Identity(bytes(range(32)))


def test_a_signature_holds_for_its_purpose_message_and_signer_only() -> None:
    signature = IDENTITY.sign("log head", b"message")
    assert check_signature(IDENTITY.public, "log head", b"message", signature)
    assert not check_signature(IDENTITY.public, "grant", b"message", signature)
    assert not check_signature(IDENTITY.public, "log head", b"messagf", signature)
    assert not check_signature(Identity(bytes(32)).public, "log head", b"message", signature)
    assert not check_signature(IDENTITY.public, "log head", b"message", signature[:-1] + bytes([signature[-1] ^ 1]))


def test_purpose_and_message_cannot_flow_into_each_other() -> None:
    assert not check_signature(IDENTITY.public, "ab", b"c", IDENTITY.sign("a", b"bc"))


def test_the_signed_bytes_are_those_of_the_table() -> None:
    signature = IDENTITY.sign("abc", b"xyz")
    Ed25519PublicKey.from_public_bytes(IDENTITY.public).verify(signature, b"farkeep signed 1\x03abcxyz")


def test_public_key_of_rfc_8032() -> None:
    # RFC 8032, section 7.1, test 1.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert Identity(seed).public.hex() == expected


@pytest.mark.parametrize(("public", "signature"), [(b"", bytes(64)), (bytes(31), bytes(64)), (bytes(32), b"")])
def test_malformed_input_is_just_not_signed(public: bytes, signature: bytes) -> None:
    assert check_signature(public, "log head", b"", signature) is False


@pytest.mark.parametrize("purpose", ["", "x" * 256])
def test_a_purpose_that_does_not_fit_is_a_bug(purpose: str) -> None:
    with pytest.raises(BugError):
        IDENTITY.sign(purpose, b"")


def test_a_seed_of_another_length_is_a_bug() -> None:
    with pytest.raises(BugError):
        Identity(bytes(31))
