"""The site's key file, plain and under a passphrase."""

from __future__ import annotations

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from shared.errors import BugError, DamagedError, HostileError, RefusedError
from shared.keyfile import (
    Cost,
    KeyFile,
    decode_key_file,
    encode_plain,
    encode_protected,
    is_protected,
    passphrase_of,
    site_of,
)
from tests.support.determined import LabelledRandomness

KEY_FILE = KeyFile(site_id=b"i" * 16, site_secret=bytes(range(32)))
CHEAP = Cost(memory_kib=8192, passes=1, lanes=1)
PLAIN = encode_plain(KEY_FILE)
PROTECTED = encode_protected(KEY_FILE, b"open sesame", LabelledRandomness("key file"), CHEAP)


def test_a_plain_key_file_reads_back() -> None:
    assert decode_key_file(PLAIN, subject="home.key", site_id=b"i" * 16) == KEY_FILE
    assert decode_key_file(PLAIN, subject="home.key", passphrase=b"ignored") == KEY_FILE
    assert not is_protected(PLAIN, subject="home.key")
    assert site_of(PLAIN, subject="home.key") == b"i" * 16


def test_a_protected_key_file_reads_back() -> None:
    assert decode_key_file(PROTECTED, subject="home.key", passphrase=b"open sesame") == KEY_FILE
    assert is_protected(PROTECTED, subject="home.key")
    assert KEY_FILE.site_secret not in PROTECTED


def test_the_default_cost_opens_again() -> None:
    data = encode_protected(KEY_FILE, b"x", LabelledRandomness("cost"))
    assert int.from_bytes(data[26:30], "big") >= 65536
    assert decode_key_file(data, subject="", passphrase=b"x") == KEY_FILE


@pytest.mark.parametrize("passphrase", [b"open sesame ", b"Open sesame", b""])
def test_a_wrong_passphrase_is_refused(passphrase: bytes) -> None:
    with pytest.raises(RefusedError, match="passphrase does not open") as caught:
        decode_key_file(PROTECTED, subject="home.key", passphrase=passphrase)
    assert "key restore" in caught.value.next_step


def test_a_missing_passphrase_is_refused() -> None:
    with pytest.raises(RefusedError, match="protected by a passphrase"):
        decode_key_file(PROTECTED, subject="home.key")


@pytest.mark.parametrize("data", [PLAIN, PROTECTED])
def test_a_foreign_key_file_names_both_sites(data: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        decode_key_file(data, subject="home.key", site_id=b"j" * 16, passphrase=b"open sesame")
    assert (b"i" * 16).hex() in caught.value.message
    assert (b"j" * 16).hex() in caught.value.message


@pytest.mark.parametrize("data", [PLAIN, PROTECTED])
def test_every_flipped_or_lost_byte_is_told(data: bytes) -> None:
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 0x80
        for damaged in (bytes(flipped), data[:place]):
            with pytest.raises((DamagedError, RefusedError)) as caught:
                decode_key_file(damaged, subject="home.key", passphrase=b"open sesame")
            if place >= 10:
                assert isinstance(caught.value, DamagedError)


@pytest.mark.parametrize("data", [PLAIN + b"\n", PROTECTED + bytes(16)])
def test_bytes_after_the_end_are_damage(data: bytes) -> None:
    with pytest.raises(DamagedError):
        decode_key_file(data, subject="home.key", passphrase=b"open sesame")


@pytest.mark.parametrize("place", [8, 9])
def test_a_newer_version_or_protection_is_refused(place: int) -> None:
    newer = bytearray(PLAIN + b"more")
    newer[place] = 7
    with pytest.raises(RefusedError, match="newer Farkeep") as caught:
        decode_key_file(bytes(newer), subject="home.key")
    assert "update" in caught.value.next_step


@pytest.mark.parametrize("data", [b"", b"FARK", b"-----BEGIN PRIVATE KEY-----", bytes(74)])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match="not a site's key file"):
        decode_key_file(data, subject="home.key")


@pytest.mark.parametrize(("at", "number"), [(26, 2 << 20), (26, 8), (30, 65), (30, 0)])
def test_unreasonable_work_is_hostile(at: int, number: int) -> None:
    content = PROTECTED[:at] + number.to_bytes(4, "big") + PROTECTED[at + 4 : -16]
    with pytest.raises(HostileError):
        decode_key_file(content + blake3(content).digest()[:16], subject="home.key", passphrase=b"open sesame")


@pytest.mark.parametrize("cost", [Cost(memory_kib=1), Cost(passes=0), Cost(lanes=17)])
def test_a_cost_that_would_not_open_again_is_never_written(cost: Cost) -> None:
    with pytest.raises(BugError):
        encode_protected(KEY_FILE, b"x", LabelledRandomness("cost"), cost)


def test_a_secret_of_another_length_is_never_written() -> None:
    with pytest.raises(BugError):
        encode_plain(KeyFile(site_id=b"i" * 16, site_secret=b"short"))


def test_secrets_do_not_show_in_a_representation() -> None:
    assert "site_secret" not in repr(KEY_FILE)


@pytest.mark.parametrize(("content", "passphrase"), [
    (b"secret\n", b"secret"), (b"secret\r\n", b"secret"), (b"secret", b"secret"), (b"two words \n\n", b"two words \n"),
    (b"\xff\n", b"\xff"),
])
def test_a_passphrase_file_loses_one_line_end(content: bytes, passphrase: bytes) -> None:
    assert passphrase_of(content, subject="pass") == passphrase


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"x" * 5000])
def test_an_empty_or_endless_passphrase_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedError):
        passphrase_of(content, subject="pass")


def test_the_plain_file_is_the_one_of_the_table() -> None:
    content = b"FARKSITE\x01\x00" + b"i" * 16 + bytes(range(32))
    assert content + blake3(content).digest()[:16] == PLAIN


def test_the_protected_file_is_the_one_of_the_table() -> None:
    assert PROTECTED[:35] == b"FARKSITE\x01\x01" + b"i" * 16 + bytes((0, 0, 32, 0)) + bytes((0, 0, 0, 1)) + b"\x01"
    function = Argon2id(salt=PROTECTED[35:51], length=32, iterations=1, lanes=1, memory_cost=8192)
    key = blake3(function.derive(b"open sesame"), derive_key_context="farkeep 2026 key file passphrase v1").digest()
    assert AESGCM(key).decrypt(bytes(12), PROTECTED[51:99], PROTECTED[:51]) == KEY_FILE.site_secret
    assert PROTECTED[99:] == blake3(PROTECTED[:99]).digest()[:16]
