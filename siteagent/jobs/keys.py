"""The keys of a site: shown, rotated, split anew, protected by a passphrase, restored from recovery shares.

Order of writes, so that a crash anywhere leaves a home that opens (each file is replaced as a whole, durably):

| operation                | step | durable after it                     | a crash then leaves                        |
| ------------------------ | ---- | ------------------------------------ | ------------------------------------------ |
| a new key epoch          | 1    | fact job.started                     | a job without an end                       |
|                          | 2    | H/keyring with the new epoch         | an epoch in use from now on; the next      |
|                          |      |                                      | writer records key.added before it seals   |
|                          |      |                                      | anything                                   |
|                          | 3    | facts key.added, job.ended           |                                            |
| a new site secret        | 1    | fact job.started                     | a job without an end                       |
|                          | 2    | keyring wrapped to the old secret    | the old key file opens                     |
|                          |      | and to the new one                   |                                            |
|                          | 3    | key file with the new secret         | the new key file opens, and copies of the  |
|                          |      |                                      | old one still do: rotate again             |
|                          | 4    | keyring for the new secret alone,    | the new key file opens, copies of the old  |
|                          |      | with a new key epoch                 | one nothing; key.added as above            |
|                          | 5    | facts key.added, job.ended           |                                            |
| a passphrase set or gone | 1    | fact job.started                     | a job without an end                       |
|                          | 2    | key file; the secret stays, so       | the new passphrase opens, and the job has  |
|                          |      | copies of the old one still open     | no end                                     |
| restore from shares      | 1    | keyring wrapped to a new secret and, | a home that no key file opens: restore     |
|                          |      | as before, to the recovery key       | again, the shares still fit                |
|                          | 2    | key file                             | a home that opens; nothing recorded        |
|                          | 3    | facts of the job, key.added          |                                            |
| a new split              | 1    | fact job.started                     | a job without an end                       |
|                          | 2    | share files, organisation.json       | shares that are good, some perhaps         |
|                          |      |                                      | missing: remove them and split again       |
"""

from __future__ import annotations

import os

from msgspec import Struct

from migrations.homes import newest_version
from shared.errors import DamagedError, RefusedError
from shared.facts import Fact, KeyAdded
from shared.keyfile import KeyFile, decode_key_file, is_protected
from shared.keyrecord import KeyRecord
from shared.keyring import Keyring
from shared.keyringfile import encode_keyring, recover_keyring
from shared.sealing import KEY_SIZE_BYTES
from shared.secret import Secret
from shared.shares import combine, resplit
from siteagent.disk.disk import Disk
from siteagent.disk.durable import read_whole, write_durably
from siteagent.disk.owner import take_home
from siteagent.home import KEY_FILE_MAX_BYTES, KEYRING_MAX_BYTES, Access, Home, World, open_home
from siteagent.jobs.initialise import write_key_file
from siteagent.jobs.record import Who, recorded
from siteagent.jobs.recovery import ShareCount, require_free_folder, write_recovery
from siteagent.salvage import prepare_writing
from siteagent.store.layout import KEYRING_FILE, read_format


class ShareText(Secret, frozen=True):
    """A recovery share as it was read, and the path it came from."""

    path: str
    text: str


class KeyReport(Struct, frozen=True):
    """What may be shown of a site's keys."""

    site: bytes
    site_name: str
    identity: bytes
    key_file: str
    is_protected: bool
    organisation: str
    fingerprint: str
    epochs: tuple[KeyRecord, ...]
    domains: tuple[KeyRecord, ...]


def show(home: Home) -> KeyReport:
    """What may be shown of a site's keys; no secret among it."""
    keyring = home.keyring
    organisation = keyring.organisation
    return KeyReport(
        site=keyring.site_id, site_name=home.ledger.history().site_name, identity=keyring.identity.public,
        key_file=home.access.key_path, is_protected=is_protected(_key_bytes(home), subject=home.access.key_path),
        organisation=organisation.name if organisation else "",
        fingerprint=organisation.fingerprint if organisation else "",
        epochs=tuple(record for record in keyring.records if record.kind == "key-epoch"),
        domains=tuple(record for record in keyring.records if record.kind == "domain"),
    )  # fmt: skip


def rotate(home: Home, who: Who, *, is_new_secret: bool) -> int:
    """Open a new key epoch and return its number; with `is_new_secret` the key file gets a new secret first.

    What was sealed before stays readable. Copies of the old key file then open nothing that is sealed from now on.
    Close the home afterwards: what was opened before does not know the new epoch.
    """
    prepare_writing(home)
    with recorded(home, "key", who, ("rotate",)):
        randomness, clock = home.world.randomness, home.world.clock
        if is_new_secret:
            secret = randomness.bits(KEY_SIZE_BYTES)
            _use(home, home.keyring.rewrapped(secret, randomness, keep_old=True))
            write_key_file(home.access, KeyFile(home.keyring.site_id, secret), home.world)
            _use(home, home.keyring.rewrapped(secret, randomness).rotated(randomness, clock))
        else:
            _use(home, home.keyring.rotated(randomness, clock))
        records = home.keyring.records if is_new_secret else home.keyring.records[-1:]
        home.ledger.record(*(Fact(KeyAdded(record=record)) for record in records))
    return home.keyring.current.number


def split_again(home: Home, who: Who, shares: list[ShareText], count: ShareCount, folder: str) -> list[str]:
    """Split the recovery seed into a new set and write it into `folder`; returns the paths of the new shares.

    Old sets stay valid: only their holders can end that, by destroying them.
    """
    organisation = home.keyring.organisation
    if organisation is None:
        raise RefusedError("this site was created with --no-recovery: there is nothing to split", subject=home.path,
                           next_step="keep copies of the key file in safe places")
    require_free_folder(folder, home.path)
    prepare_writing(home)
    with recorded(home, "key", who, ("split", f"{count.needed}/{count.shares}")):
        texts = resplit([share.text for share in shares], organisation, count.needed, count.shares,
                        home.world.randomness, [share.path for share in shares])
        return write_recovery(folder, texts, organisation, home.world)


def change_passphrase(home: Home, who: Who, passphrase: bytes | None) -> None:
    """Write the key file again under another passphrase (None: without one)."""
    data = _key_bytes(home)
    opened = decode_key_file(data, subject=home.access.key_path, site_id=home.keyring.site_id,
                             passphrase=home.access.passphrase)
    prepare_writing(home)
    with recorded(home, "key", who, ("passphrase", "set" if passphrase else "removed")):
        access = Access(home.access.home, home.access.key_file, passphrase)
        write_key_file(access, opened, home.world)


def restore_key(access: Access, who: Who, shares: list[ShareText], world: World) -> bytes:
    """Make a new key file for a home whose key file is lost; returns the site's id.

    Raises RefusedError when there is a key file, the shares do not fit, or the site was created without recovery.
    """
    disk = world.disk(access.home)
    read_format(disk, access.home, newest_version(world.migrations))
    if os.path.lexists(access.key_path):
        raise RefusedError("there is a key file already", subject=access.key_path,
                           next_step="use it; if it does not open the home, move it away first, never delete it")
    owner = take_home(access.home, "key restore", world.clock, access.wait_s)
    try:
        seed = combine([share.text for share in shares], [share.path for share in shares])
        secret = world.randomness.bits(KEY_SIZE_BYTES)
        path = os.path.join(access.home, KEYRING_FILE)
        keyring = recover_keyring(_keyring_bytes(disk, path), seed, secret, subject=path, randomness=world.randomness)
        write_durably(disk, KEYRING_FILE, encode_keyring(keyring))
        write_key_file(access, KeyFile(keyring.site_id, secret), world)
    finally:
        owner.release()
    _record_restored(access, who, world)
    return keyring.site_id


def _keyring_bytes(disk: Disk, path: str) -> bytes:
    try:
        return read_whole(disk, KEYRING_FILE, limit_bytes=KEYRING_MAX_BYTES)
    except FileNotFoundError:
        raise DamagedError("the home's keyring is missing", subject=path,
                           next_step="put the file back from a copy of the home") from None


def _record_restored(access: Access, who: Who, world: World) -> None:
    with open_home(access, "key restore", world) as home:
        prepare_writing(home)
        with recorded(home, "key", who, ("restore",)):
            home.ledger.record(*(Fact(KeyAdded(record=record)) for record in home.keyring.records))


def _use(home: Home, keyring: Keyring) -> None:
    """Make a keyring durable, and only then seal with it."""
    write_durably(home.disk, KEYRING_FILE, encode_keyring(keyring))
    home.keyring = keyring
    home.ledger.use_keyring(keyring)


def _key_bytes(home: Home) -> bytes:
    folder, name = os.path.split(os.path.abspath(home.access.key_path))
    return read_whole(home.world.disk(folder), name, limit_bytes=KEY_FILE_MAX_BYTES)
