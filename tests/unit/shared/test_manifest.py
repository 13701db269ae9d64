"""A manifest repeats its fact whole, opens only unchanged, and says in the clear what a log is rebuilt from."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from shared.chain import Position
from shared.errors import DamagedError, FarkeepError, HostileError, RefusedError
from shared.factkinds import PART_LIMIT_BYTES
from shared.manifest import (
    MANIFEST_LIMIT_BYTES,
    Manifest,
    ManifestBody,
    ManifestHeader,
    decode_manifest,
    decode_manifest_header,
    encode_manifest,
    manifest_digest,
)
from shared.padding import padded_size
from tests.support.ledgers import sample_pack, sample_summary

KEY, NONCE = b"k" * 32, b"n" * 12
HEADER = ManifestHeader(
    site=b"s" * 16, snapshot=b"i" * 16, key_epoch=3, written_after=Position(b"s" * 16, b"e" * 32, 42, b"h" * 32)
)
BODY = ManifestBody(
    run=b"r" * 16,
    reach=b"x" * 32,
    packs=(sample_pack(b"p" * 16),),
    summary=sample_summary("home"),
    subject="source home",
)
MANIFEST = Manifest(HEADER, BODY)
DATA = encode_manifest(MANIFEST, manifest_key=KEY, nonce=NONCE)
GOLDEN = Path(__file__).parents[2] / "golden" / "manifest"


def test_a_manifest_opens_to_what_was_written() -> None:
    assert decode_manifest(DATA, manifest_key=KEY, subject="here") == MANIFEST
    assert decode_manifest_header(DATA[:144], subject="here") == HEADER


def test_it_gives_the_fact_back() -> None:
    digest = manifest_digest(DATA)
    fact = MANIFEST.to_fact(digest)
    assert (fact.snapshot, fact.manifest, fact.reach, fact.key_epoch) == (b"i" * 16, digest, b"x" * 32, 3)
    assert (fact.run, fact.packs) == (BODY.run, BODY.packs)


def test_the_header_is_the_documented_table() -> None:
    expected = b"FKmf\x01\x01\x00\x00" + b"s" * 16 + b"i" * 16 + b"\0\0\0\x03" + HEADER.written_after.encode() + NONCE
    assert DATA[:144] == expected
    assert len(DATA) - 144 - 16 == padded_size(len(DATA) - 144 - 16) == 768


def test_every_changed_byte_is_noticed() -> None:
    for at in range(len(DATA)):
        changed = bytearray(DATA)
        changed[at] ^= 1
        with pytest.raises(FarkeepError):
            decode_manifest(bytes(changed), manifest_key=KEY, subject="here")


@pytest.mark.parametrize("size_bytes", [0, 4, 143, 144, 160, 170, len(DATA) - 1])
def test_a_shortened_manifest_is_damaged(size_bytes: int) -> None:
    with pytest.raises(DamagedError):
        decode_manifest(DATA[:size_bytes], manifest_key=KEY, subject="here")


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(DamagedError):
        decode_manifest(DATA, manifest_key=b"K" * 32, subject="here")


@pytest.mark.parametrize(("at", "value"), [(4, 2), (5, 2), (6, 1)])
def test_a_newer_manifest_is_refused_as_such(at: int, value: int) -> None:
    changed = bytearray(DATA)
    changed[at] = value
    with pytest.raises(RefusedError, match="newer Farkeep"):
        decode_manifest(bytes(changed), manifest_key=KEY, subject="here")


def test_a_manifest_that_is_too_long_is_hostile() -> None:
    assert MANIFEST_LIMIT_BYTES > PART_LIMIT_BYTES
    with pytest.raises(HostileError):
        decode_manifest(bytes(MANIFEST_LIMIT_BYTES + 1), manifest_key=KEY, subject="here")


def test_names_are_not_in_the_clear_and_lengths_come_in_steps() -> None:
    assert b"canary" not in DATA
    sizes = set()
    for length in range(64):
        body = msgspec.structs.replace(BODY, subject="x" * length)
        sizes.add(len(encode_manifest(Manifest(HEADER, body), manifest_key=KEY, nonce=NONCE)))
    assert len(sizes) <= 3


def test_the_golden_manifest_opens_for_ever() -> None:
    data = (GOLDEN / "manifest.bin").read_bytes()
    expected = json.loads((GOLDEN / "expected.json").read_bytes())
    opened = decode_manifest(data, manifest_key=KEY, subject="golden")
    assert json.loads(msgspec.json.encode(opened)) == expected["manifest"]
    assert manifest_digest(data).hex() == expected["digest"]
    assert encode_manifest(opened, manifest_key=KEY, nonce=NONCE) == data
