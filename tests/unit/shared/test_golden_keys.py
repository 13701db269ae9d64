"""The golden files of keys open for ever, and the encoders of today still write them."""

from __future__ import annotations

import json

import pytest

from shared.keyfile import KeyFile, decode_key_file
from shared.keyringfile import open_keyring, recover_keyring
from shared.organisation import decode_organisation, recovery_keys
from shared.shares import combine
from shared.signing import check_signature
from shared.wrapping import Wrap, public_key_id, unwrap_with_private
from tests.support.golden_keys import FOLDER, PASSPHRASE, PURPOSE, SUBJECT_SECRET, golden_site

VECTORS = json.loads((FOLDER / "vectors.json").read_bytes())
SITE_ID = bytes.fromhex(VECTORS["site_id"])
SITE_SECRET = bytes.fromhex(VECTORS["site_secret"])
SEED = bytes.fromhex(VECTORS["seed"])


def content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", sorted(golden_site().files))
def test_the_encoders_of_today_write_the_same_bytes(name: str) -> None:
    assert golden_site().files[name] == content(name)


@pytest.mark.parametrize("name", ["keyfile-plain.bin", "keyfile-passphrase.bin"])
def test_golden_key_files_open(name: str) -> None:
    opened = decode_key_file(content(name), subject=name, site_id=SITE_ID, passphrase=PASSPHRASE)
    assert opened == KeyFile(site_id=SITE_ID, site_secret=SITE_SECRET)


def test_the_golden_organisation_reads() -> None:
    organisation = decode_organisation(content("organisation.json"))
    assert (organisation.name, organisation.fingerprint) == (
        "Zoë & Partners", golden_site().organisation.fingerprint)


@pytest.mark.parametrize("recovered", [False, True])
def test_the_golden_keyring_opens_and_gives_the_same_keys(recovered: bool) -> None:
    data = content("keyring.bin")
    keyring = recover_keyring(data, SEED, b"n" * 32) if recovered else open_keyring(data, SITE_SECRET)
    assert keyring.site_id == SITE_ID
    assert keyring.identity.public.hex() == VECTORS["identity"]
    for number, *keys in VECTORS["epochs"]:
        epoch = keyring.epoch(number)
        assert [key.hex() for key in (epoch.seal_key, epoch.manifest_key, epoch.fact_key, epoch.mark_key)] == keys
    domain = keyring.default_domain
    found = (domain.id, domain.chunk_id_key, domain.page_id_key, domain.boundary_key)
    assert [key.hex() for key in found] == VECTORS["domain"]
    assert keyring.unwrap(golden_wraps(), PURPOSE) == SUBJECT_SECRET


def golden_wraps() -> list[Wrap]:
    return [
        Wrap(recipient=wrap["recipient"], recipient_id=bytes.fromhex(wrap["recipient_id"]),
             sealed=bytes.fromhex(wrap["sealed"]))
        for wrap in VECTORS["wraps"]
    ]


def test_the_golden_sealed_box_opens_by_the_recovery_key() -> None:
    keys = recovery_keys(SEED)
    wrap = next(wrap for wrap in golden_wraps() if wrap.recipient_id == public_key_id(keys.public))
    assert unwrap_with_private(wrap, keys.private, site_id=SITE_ID, purpose=f"secret {PURPOSE}") == SUBJECT_SECRET


@pytest.mark.parametrize("numbers", [(1, 2), (3, 1), (2, 3)])
def test_golden_shares_combine(numbers: tuple[int, int]) -> None:
    assert combine([content(f"share-{number}.txt").decode() for number in numbers]) == SEED


def test_the_golden_signature_holds() -> None:
    public, signature = bytes.fromhex(VECTORS["identity"]), bytes.fromhex(VECTORS["signature"])
    assert check_signature(public, "golden", b"message", signature)
