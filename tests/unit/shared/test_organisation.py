"""The organisation: derived from the seed, signed, read back from its file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import DamagedError, HostileError, RefusedError
from shared.organisation import create, decode_organisation, encode_organisation, recovery_keys, require_seed
from shared.signing import Identity

SEED = b"r" * 32
ORGANISATION = create("Zoë & Partners", SEED)


def members() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(encode_organisation(ORGANISATION))
    return loaded


def changed(**members_now: Any) -> bytes:
    return json.dumps(members() | members_now).encode()


def test_the_seed_and_name_alone_give_the_organisation_again() -> None:
    assert create("Zoë & Partners", SEED) == ORGANISATION
    assert ORGANISATION.is_signed()
    assert create("Zoë & Partners", b"R" * 32).id != ORGANISATION.id


def test_the_file_reads_back() -> None:
    assert decode_organisation(encode_organisation(ORGANISATION)) == ORGANISATION


def test_private_halves_come_back_for_the_right_seed_only() -> None:
    assert require_seed(ORGANISATION, SEED).public == ORGANISATION.recovery_public
    with pytest.raises(RefusedError, match="another organisation"):
        require_seed(ORGANISATION, b"R" * 32)


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(RefusedError):
        recovery_keys(bytes(16))


@pytest.mark.parametrize("member", ["id", "recovery_public", "root_public", "signature"])
def test_a_changed_key_or_signature_is_hostile(member: str) -> None:
    text = members()[member]
    other = ("0" if text[0] != "0" else "1") + text[1:]
    with pytest.raises(HostileError, match="not signed"):
        decode_organisation(changed(**{member: other}))


def test_a_changed_name_is_hostile() -> None:
    with pytest.raises(HostileError, match="not signed"):
        decode_organisation(changed(name="Zoe & Partners"))


def test_a_recovery_key_swapped_and_signed_by_another_root_shows_in_the_fingerprint() -> None:
    thief = create(ORGANISATION.name, b"t" * 32)
    assert decode_organisation(encode_organisation(thief)).fingerprint != ORGANISATION.fingerprint


def test_a_signature_for_another_purpose_does_not_count() -> None:
    root = Identity(bytes(32))
    text = changed(root_public=root.public.hex(), signature=root.sign("grant", b"").hex())
    with pytest.raises(HostileError):
        decode_organisation(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 3000,
        changed(id="00"),
        changed(id="Z" * 32),
        changed(root_public=members()["root_public"] + "00"),
        changed(root_public="AB" * 32),
        changed(name="two\nlines"),
        changed(name=""),
        changed(name="\ud800"),
        changed(name=None),
        changed(version="1"),
        changed(version=0),
        changed(extra=1),
        encode_organisation(ORGANISATION)[:-9],
    ],
)
def test_damage_is_told(text: bytes) -> None:
    with pytest.raises(DamagedError) as caught:
        decode_organisation(text, subject="/media/organisation.json")
    assert caught.value.subject == "/media/organisation.json"
    assert caught.value.next_step


def test_a_newer_version_is_refused_even_with_unknown_members() -> None:
    with pytest.raises(RefusedError, match="newer Farkeep") as caught:
        decode_organisation(changed(version=2, successor="x"))
    assert "update" in caught.value.next_step


@pytest.mark.parametrize("text", [b"{}", b"[]", b"1", b'{"format": "other"}'])
def test_another_file_is_refused(text: bytes) -> None:
    with pytest.raises(RefusedError, match="not an organisation's file"):
        decode_organisation(text)


def test_a_long_file_is_hostile() -> None:
    with pytest.raises(HostileError):
        decode_organisation(b" " * 5000 + encode_organisation(ORGANISATION))


@pytest.mark.parametrize("name", ["", " ", "a\n", "x" * 101, "bell\a"])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(RefusedError):
        create(name, SEED)
