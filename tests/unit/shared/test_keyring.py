"""The keyring: opening, rotation, wrapping, recovery."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from shared.epochkeys import EpochKeys
from shared.errors import BugError, DamagedError, RefusedError
from shared.keyrecord import DOMAIN, IDENTITY, KEY_EPOCH, KeyRecord
from shared.keyring import TO_KEY_EPOCH, DomainKeys, Keyring
from shared.organisation import create
from shared.signing import check_signature
from shared.wrapping import Wrap, public_key_id, symmetric_key_id
from tests.support.determined import LabelledRandomness, StandingClock

SITE_SECRET = b"s" * 32
SEED = b"r" * 32
ORGANISATION = create("Example", SEED)
CLOCK = StandingClock()


def new_keyring(label: str = "keyring", *, with_organisation: bool = True) -> Keyring:
    organisation = ORGANISATION if with_organisation else None
    return Keyring.create(SITE_SECRET, organisation, LabelledRandomness(label), CLOCK)


def reopened(keyring: Keyring, site_secret: bytes = SITE_SECRET) -> Keyring:
    return Keyring.open(keyring.records, site_secret, keyring.organisation, keyring.site_id)


def all_keys(keyring: Keyring) -> tuple[bytes, DomainKeys, list[EpochKeys]]:
    numbers = [record.number for record in keyring.records if record.kind == KEY_EPOCH]
    return keyring.identity.public, keyring.default_domain, [keyring.epoch(number) for number in numbers]


def test_a_new_keyring_has_one_of_each() -> None:
    keyring = new_keyring()
    assert sorted(record.kind for record in keyring.records) == [DOMAIN, IDENTITY, KEY_EPOCH]
    assert keyring.current.number == 1
    assert {record.created_ns for record in keyring.records} == {CLOCK.time_ns}
    identity = next(record for record in keyring.records if record.kind == IDENTITY)
    assert identity.id == public_key_id(keyring.identity.public)
    assert len(keyring.site_id) == 16


def test_it_opens_again_with_the_same_keys() -> None:
    keyring = new_keyring().rotated(LabelledRandomness("rotate"), CLOCK)
    assert all_keys(reopened(keyring)) == all_keys(keyring)


def test_all_keys_are_different() -> None:
    keyring = new_keyring().rotated(LabelledRandomness("rotate"), CLOCK)
    epochs, domain = [keyring.epoch(1), keyring.epoch(2)], keyring.default_domain
    keys = [key for epoch in epochs for key in (epoch.seal_key, epoch.manifest_key, epoch.fact_key, epoch.mark_key)]
    keys += [domain.chunk_id_key, domain.page_id_key, domain.boundary_key]
    assert len(set(keys)) == 11
    assert {len(key) for key in keys} == {32}


def test_the_identity_signs() -> None:
    keyring = new_keyring()
    signature = keyring.identity.sign("log head", b"m")
    assert check_signature(reopened(keyring).identity.public, "log head", b"m", signature)


def test_another_site_secret_is_refused_with_the_way_out() -> None:
    with pytest.raises(RefusedError, match="key file does not open") as caught:
        reopened(new_keyring(), b"x" * 32)
    assert "--key-file" in caught.value.next_step
    assert "key restore" in caught.value.next_step


def test_records_of_another_site_do_not_open() -> None:
    keyring = new_keyring()
    with pytest.raises(DamagedError):
        Keyring.open(keyring.records, SITE_SECRET, None, b"o" * 16)


@pytest.mark.parametrize("changes", [{"id": b"i" * 16}, {"number": 9}, {"created_ns": 0}])
def test_a_changed_record_does_not_open(changes: dict[str, object]) -> None:
    keyring = new_keyring()
    records = [msgspec.structs.replace(record, **changes) if record.kind == KEY_EPOCH else record
               for record in keyring.records]
    opened = Keyring.open(records, SITE_SECRET, None, keyring.site_id)
    with pytest.raises(DamagedError, match="does not open"):
        opened.epoch(9 if "number" in changes else 1)


def test_a_key_epoch_does_not_pass_for_a_domain() -> None:
    keyring = new_keyring()
    epoch = next(record for record in keyring.records if record.kind == KEY_EPOCH)
    records = [*keyring.records, msgspec.structs.replace(epoch, kind=DOMAIN)]
    with pytest.raises(DamagedError, match="does not open"):
        Keyring.open(records, SITE_SECRET, None, keyring.site_id).domain(epoch.id)


@pytest.mark.parametrize("kind", [IDENTITY, KEY_EPOCH, DOMAIN])
def test_a_missing_record_is_damage(kind: str) -> None:
    keyring = new_keyring()
    records = [record for record in keyring.records if record.kind != kind]
    with pytest.raises(DamagedError, match="lacks"):
        Keyring.open(records, SITE_SECRET, None, keyring.site_id)


def test_two_key_epochs_of_one_number_are_damage() -> None:
    keyring = new_keyring()
    one = keyring.rotated(LabelledRandomness("one"), CLOCK).records[-1]
    two = keyring.rotated(LabelledRandomness("two"), CLOCK).records[-1]
    with pytest.raises(DamagedError, match="number 2"):
        Keyring.open([*keyring.records, one, two], SITE_SECRET, None, keyring.site_id)


@pytest.mark.parametrize("changes", [{"version": 2}, {"kind": "escrow"}])
def test_a_record_of_a_newer_farkeep_is_refused(changes: dict[str, object]) -> None:
    keyring = new_keyring()
    newer = msgspec.structs.replace(keyring.records[-1], **changes)
    with pytest.raises(RefusedError, match="newer Farkeep"):
        Keyring.open([*keyring.records, newer], SITE_SECRET, None, keyring.site_id)


def test_rotation_adds_an_epoch_and_changes_nothing_else() -> None:
    keyring = new_keyring()
    rotated = keyring.rotated(LabelledRandomness("rotate"), CLOCK)
    assert rotated.records[:-1] == keyring.records
    assert (rotated.current.number, rotated.epoch(1)) == (2, keyring.epoch(1))
    assert rotated.default_domain == keyring.default_domain
    assert keyring.current.number == 1


@pytest.mark.parametrize("what", ["epoch", "domain"])
def test_an_unknown_epoch_or_domain_is_damage(what: str) -> None:
    keyring = new_keyring()
    with pytest.raises(DamagedError, match="not in this keyring") as caught:
        keyring.epoch(2) if what == "epoch" else keyring.domain(b"d" * 16)
    assert caught.value.next_step


def test_a_wrapped_secret_opens_for_its_purpose_only() -> None:
    keyring = new_keyring()
    wraps = keyring.wrap(b"fact key", "subject 1")
    assert [wrap.recipient for wrap in wraps] == [TO_KEY_EPOCH, "recovery"]
    assert reopened(keyring).unwrap(wraps, "subject 1") == b"fact key"
    assert reopened(keyring).unwrap(wraps[::-1], "subject 1") == b"fact key"
    with pytest.raises(DamagedError):
        keyring.unwrap(wraps, "subject 2")


def test_a_wrapped_secret_opens_after_rotation_but_not_before() -> None:
    keyring = new_keyring(with_organisation=False)
    rotated = keyring.rotated(LabelledRandomness("rotate"), CLOCK)
    assert rotated.unwrap(keyring.wrap(b"old", "p"), "p") == b"old"
    with pytest.raises(DamagedError, match="not in this keyring"):
        keyring.unwrap(rotated.wrap(b"new", "p"), "p")


def test_a_wrap_for_somebody_else_is_not_ours() -> None:
    with pytest.raises(DamagedError):
        new_keyring("one").unwrap(new_keyring("two").wrap(b"x", "p"), "p")
    with pytest.raises(DamagedError):
        new_keyring().unwrap([], "p")


def test_without_an_organisation_nothing_is_wrapped_to_recovery() -> None:
    keyring = new_keyring(with_organisation=False)
    wraps: list[Wrap] = [wrap for record in keyring.records for wrap in record.wraps]
    assert {wrap.recipient for wrap in (*wraps, *keyring.wrap(b"x", "p"))} == {"site", TO_KEY_EPOCH}


def test_records_and_recovery_seed_alone_open_everything() -> None:
    keyring = new_keyring().rotated(LabelledRandomness("rotate"), CLOCK)
    wraps = keyring.wrap(b"fact key", "subject")
    recovered = Keyring.recover(keyring.records, SEED, b"n" * 32, ORGANISATION, keyring.site_id)
    assert all_keys(recovered) == all_keys(keyring)
    assert recovered.unwrap(wraps, "subject") == b"fact key"
    assert all_keys(reopened(recovered, b"n" * 32)) == all_keys(keyring)
    with pytest.raises(RefusedError):
        reopened(recovered, SITE_SECRET)


def test_recovery_takes_records_of_a_log_with_repetitions() -> None:
    keyring = new_keyring()
    rewrapped = keyring.rewrapped(b"n" * 32, LabelledRandomness("rewrap"))
    recovered = Keyring.recover([*keyring.records, *rewrapped.records], SEED, b"m" * 32, ORGANISATION, keyring.site_id)
    assert len(recovered.records) == 3
    assert all_keys(recovered) == all_keys(keyring)


def test_recovery_by_another_organisation_is_refused() -> None:
    keyring = new_keyring()
    with pytest.raises(RefusedError, match="another organisation"):
        Keyring.recover(keyring.records, b"x" * 32, b"n" * 32, ORGANISATION, keyring.site_id)
    other = create("Other", b"x" * 32)
    with pytest.raises(RefusedError, match="never wrapped to this recovery key"):
        Keyring.recover(keyring.records, b"x" * 32, b"n" * 32, other, keyring.site_id)


def test_recovery_without_recovery_wraps_is_refused() -> None:
    keyring = new_keyring(with_organisation=False)
    with pytest.raises(RefusedError, match="never wrapped"):
        Keyring.recover(keyring.records, SEED, b"n" * 32, ORGANISATION, keyring.site_id)


def test_a_new_site_secret_replaces_the_old_in_two_steps() -> None:
    keyring, new = new_keyring(), b"n" * 32
    both = keyring.rewrapped(new, LabelledRandomness("1"), keep_old=True)
    assert all_keys(reopened(both)) == all_keys(reopened(both, new)) == all_keys(keyring)
    only = reopened(both, new).rewrapped(new, LabelledRandomness("2"))
    assert all_keys(reopened(only, new)) == all_keys(keyring)
    with pytest.raises(RefusedError):
        reopened(only)


def test_an_organisation_can_come_later() -> None:
    keyring = new_keyring(with_organisation=False)
    joined = keyring.with_organisation(ORGANISATION, LabelledRandomness("join"))
    assert all_keys(reopened(joined)) == all_keys(keyring)
    assert all_keys(Keyring.recover(joined.records, SEED, b"n" * 32, ORGANISATION, joined.site_id)) == all_keys(keyring)


def test_authentication_needs_every_identity_and_epoch() -> None:
    keyring = new_keyring()
    rotated = keyring.rotated(LabelledRandomness("rotate"), CLOCK)
    assert reopened(keyring).authenticate(b"data") == keyring.authenticate(b"data")
    assert keyring.authenticate(b"data") != keyring.authenticate(b"datb")
    assert keyring.authenticate(b"data") != rotated.authenticate(b"data")


def test_threads_read_the_same_keys() -> None:
    keyring = new_keyring()
    for number in range(6):
        keyring = keyring.rotated(LabelledRandomness(f"rotate {number}"), CLOCK)
    wraps, expected = keyring.wrap(b"x", "p"), all_keys(keyring)
    fresh = reopened(keyring)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: (all_keys(fresh), fresh.unwrap(wraps, "p")), range(64)))
    assert all(keys == expected and secret == b"x" for keys, secret in found)


def test_nothing_wrapped_shows_a_secret() -> None:
    keyring = new_keyring()
    shown = msgspec.msgpack.encode(keyring.records) + repr((keyring.current, keyring.default_domain)).encode()
    domain = keyring.default_domain
    for secret in (SITE_SECRET, keyring.current.seal_key, domain.chunk_id_key):
        assert secret not in shown
        assert repr(secret).encode() not in shown


def test_wraps_to_the_site_name_the_key_file() -> None:
    wraps = [wrap for record in new_keyring().records for wrap in record.wraps if wrap.recipient == "site"]
    assert {wrap.recipient_id for wrap in wraps} == {symmetric_key_id(SITE_SECRET)}


@pytest.mark.parametrize(("site_secret", "site_id"), [(b"short", b"i" * 16), (SITE_SECRET, b"i")])
def test_wrong_lengths_are_bugs(site_secret: bytes, site_id: bytes) -> None:
    with pytest.raises(BugError):
        Keyring.open([], site_secret, None, site_id)


def test_opening_a_keyring_does_not_load_the_shares_library() -> None:
    code = "import sys, shared.keyringfile, shared.keyfile; print('shamir_mnemonic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_records_do_not_carry_unknown_members() -> None:
    data = msgspec.to_builtins(new_keyring().records[0]) | {"later": 1}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(data, KeyRecord)
