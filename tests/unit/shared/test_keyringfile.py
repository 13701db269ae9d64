"""The keyring file: reading without keys, opening, recovery, damage and forgery."""

from __future__ import annotations

import pytest
from blake3 import blake3

from shared.codec import encode
from shared.errors import DamagedError, FarkeepError, HostileError, RefusedError
from shared.keyrecord import KEY_EPOCH, RecordWrapper, empty_record
from shared.keyring import Keyring
from shared.keyringfile import KeyringBody, encode_keyring, open_keyring, read_keyring, recover_keyring
from shared.organisation import Organisation, create
from tests.support.determined import LabelledRandomness, StandingClock

SITE_SECRET = b"s" * 32
SEED = b"r" * 32
ORGANISATION = create("Example", SEED)
KEYRING = Keyring.create(SITE_SECRET, ORGANISATION, LabelledRandomness("keyring file"), StandingClock())
DATA = encode_keyring(KEYRING)


def file_of(body: bytes, version: int = 1) -> bytes:
    """A file made by the table of the format, all but the field that takes keys."""
    plain = b"FARKRING" + bytes([version]) + len(body).to_bytes(4, "big") + body
    return plain + blake3(plain).digest()


def forged(organisation: Organisation | None, keyring: Keyring) -> bytes:
    """What a thief who can write the home makes of it; he lacks the keys of the last field."""
    body = KeyringBody(site_id=keyring.site_id, organisation=organisation, records=keyring.records)
    checked = file_of(encode(body))
    return checked + blake3(checked, key=b"t" * 32).digest()


def test_the_file_is_the_one_of_the_table() -> None:
    body = KeyringBody(site_id=KEYRING.site_id, organisation=ORGANISATION, records=KEYRING.records)
    assert DATA[:-32] == file_of(encode(body))
    assert DATA[-32:] == KEYRING.authenticate(DATA[:-32])


def test_it_reads_without_and_opens_with_keys() -> None:
    body = read_keyring(DATA)
    assert (body.site_id, body.organisation, body.records) == (KEYRING.site_id, ORGANISATION, KEYRING.records)
    opened = open_keyring(DATA, SITE_SECRET)
    assert opened.current == KEYRING.current
    assert opened.organisation == ORGANISATION
    assert encode_keyring(opened) == DATA


def test_shares_alone_open_it_and_it_stays_authentic() -> None:
    recovered = recover_keyring(DATA, SEED, b"n" * 32)
    assert recovered.current == KEYRING.current
    again = open_keyring(encode_keyring(recovered), b"n" * 32)
    assert again.default_domain == KEYRING.default_domain


def test_every_flipped_or_lost_byte_is_told() -> None:
    for place in range(0, len(DATA), 7):
        flipped = bytearray(DATA)
        flipped[place] ^= 0x80
        for changed in (bytes(flipped), DATA[:place]):
            with pytest.raises(FarkeepError) as caught:
                open_keyring(changed, SITE_SECRET, subject="H/keyring")
            assert caught.value.subject == "H/keyring"
            assert caught.value.kind in ("damaged", "refused", "hostile")


def test_damage_in_the_body_needs_no_key_to_be_seen() -> None:
    with pytest.raises(DamagedError):
        read_keyring(DATA[:40] + bytes([DATA[40] ^ 1]) + DATA[41:])
    with pytest.raises(DamagedError):
        read_keyring(DATA + b"\n")


def test_a_body_of_another_shape_is_damage() -> None:
    with pytest.raises(DamagedError):
        read_keyring(file_of(encode({"site_id": b"i" * 16})) + bytes(32))


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(RefusedError, match="newer Farkeep") as caught:
        read_keyring(file_of(b"something else", version=2))
    assert "update" in caught.value.next_step


@pytest.mark.parametrize("data", [b"", b"FARKSITE" + bytes(100), b"FARK"])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match="not a keyring file"):
        read_keyring(data)


@pytest.mark.parametrize("organisation", [None, create("Example", b"t" * 32)])
def test_a_thief_cannot_change_the_recovery_key(organisation: Organisation | None) -> None:
    with pytest.raises(HostileError, match="without the site's keys"):
        open_keyring(forged(organisation, KEYRING), SITE_SECRET)


def test_a_thief_cannot_slip_in_a_key_epoch_before_a_recovery() -> None:
    wrapper = RecordWrapper((b"t" * 32,), ORGANISATION, KEYRING.site_id, LabelledRandomness("thief"))
    record = wrapper.wrapped(empty_record(KEY_EPOCH, b"e" * 16, 2, 0), b"known to the thief".ljust(32))
    body = KeyringBody(site_id=KEYRING.site_id, organisation=ORGANISATION, records=(*KEYRING.records, record))
    checked = file_of(encode(body))
    with pytest.raises(HostileError):
        recover_keyring(checked + blake3(checked, key=b"t" * 32).digest(), SEED, b"n" * 32)


def test_a_wrong_key_file_is_refused_not_called_forged() -> None:
    with pytest.raises(RefusedError, match="key file does not open"):
        open_keyring(DATA, b"x" * 32)


def test_recovery_of_a_site_without_organisation_is_refused() -> None:
    keyring = Keyring.create(SITE_SECRET, None, LabelledRandomness("none"), StandingClock())
    with pytest.raises(RefusedError, match="--no-recovery"):
        recover_keyring(encode_keyring(keyring), SEED, b"n" * 32)


def test_recovery_by_a_foreign_seed_is_refused() -> None:
    with pytest.raises(RefusedError, match="another organisation"):
        recover_keyring(DATA, b"x" * 32, b"n" * 32)
