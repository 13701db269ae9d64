"""Derivation, keyed ids and seals."""

from __future__ import annotations

import pytest

from shared.errors import BugError, DamagedError
from shared.sealing import ONE_TIME_NONCE, counter_nonce, derive, keyed_id, open_sealed, seal

KEY = bytes(range(32))


def test_a_derived_key_depends_on_context_and_material() -> None:
    keys = {
        derive("farkeep 2026 one v1", KEY),
        derive("farkeep 2026 two v1", KEY),
        derive("farkeep 2026 one v1", bytes(32)),
    }
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}


def test_a_foreign_context_is_a_bug() -> None:
    with pytest.raises(BugError):
        derive("chunk ids", KEY)


def test_vectors_of_the_blake3_specification() -> None:
    # test_vectors.json of the BLAKE3 reference, input length 0: first 32 bytes of keyed_hash.
    key = b"whats the Elvish word for friend"
    assert keyed_id(key, b"").hex() == "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26"


def test_vector_of_aes_256_gcm() -> None:
    # McGrew and Viega, The Galois/Counter Mode of Operation, test case 14.
    sealed = seal(bytes(32), bytes(12), bytes(16), b"")
    assert sealed.hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"


@pytest.mark.parametrize("place", ["key", "nonce", "sealed", "tag", "data"])
def test_any_change_closes_the_seal(place: str) -> None:
    sealed = bytearray(seal(KEY, ONE_TIME_NONCE, b"plain", b"data"))
    key, nonce, data = KEY, ONE_TIME_NONCE, b"data"
    if place == "key":
        key = bytes(32)
    elif place == "nonce":
        nonce = counter_nonce(1)
    elif place == "data":
        data = b"Data"
    else:
        sealed[0 if place == "sealed" else -1] ^= 1
    with pytest.raises(DamagedError) as caught:
        open_sealed(key, nonce, bytes(sealed), data, subject="record 7")
    assert caught.value.subject == "record 7"
    assert caught.value.next_step


def test_a_seal_opens() -> None:
    assert open_sealed(KEY, counter_nonce(5), seal(KEY, counter_nonce(5), b"plain", b"d"), b"d", subject="") == b"plain"


def test_truncated_seal_is_damage() -> None:
    with pytest.raises(DamagedError):
        open_sealed(KEY, ONE_TIME_NONCE, b"short", b"", subject="record")


def test_counter_nonces_are_big_endian() -> None:
    assert counter_nonce(258) == bytes(10) + b"\x01\x02"
