"""The keyring file `H/keyring`: all wrapped keys of a site, its id and its organisation; safe to show a thief.

| offset | size | meaning                                                                       |
| ------ | ---- | ----------------------------------------------------------------------------- |
| 0      | 8    | "FARKRING" (ASCII)                                                            |
| 8      | 1    | version, 1                                                                    |
| 9      | 4    | n, length of the body, u32 big-endian, at most 16 MiB                         |
| 13     | n    | body, MessagePack map: site_id (16 bytes), organisation (map or nil), records |
| 13 + n | 32   | BLAKE3 of bytes 0 to 13 + n: tells damage without any key                     |
| 45 + n | 32   | keyed BLAKE3 of bytes 0 to 45 + n: tells a change by somebody without the keys |

Maps: organisation = {id, name, recovery_public, root_public, signature} of `shared.organisation`; records = list of
the maps of `shared.keyrecord`.
The last field is `Keyring.authenticate`: it needs no key file of today, so it holds through a recovery too, and a thief
who can write the home cannot slip in a recovery key or a key epoch of his own.
"""

from __future__ import annotations

import msgspec

from shared.codec import decode, encode
from shared.errors import DamagedError, HostileError, RefusedError
from shared.keyrecord import KeyRecord
from shared.keyring import Keyring
from shared.organisation import Organisation
from shared.randomness import Randomness, SystemRandomness
from shared.sealing import digest

MAGIC = b"FARKRING"
VERSION = 1
LIMIT_BYTES = 16 << 20

_HEAD_SIZE_BYTES = 13
_DIGEST_SIZE_BYTES = 32
_SYSTEM_RANDOMNESS = SystemRandomness()


class KeyringBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a keyring file says to everybody; whether the site wrote it shows only when it is opened."""

    site_id: bytes
    organisation: Organisation | None
    records: tuple[KeyRecord, ...]


def encode_keyring(keyring: Keyring) -> bytes:
    """Return the bytes of the keyring file."""
    body = encode(KeyringBody(site_id=keyring.site_id, organisation=keyring.organisation, records=keyring.records))
    plain = b"".join((MAGIC, bytes((VERSION,)), len(body).to_bytes(4, "big"), body))
    checked = plain + digest(plain)
    return checked + keyring.authenticate(checked)


def read_keyring(data: bytes, *, subject: str = "keyring") -> KeyringBody:
    """Read a keyring file without any key.

    Raises RefusedError when it is something else or made by a newer Farkeep, DamagedError when bytes were lost or
    changed.
    """
    if data[:8] != MAGIC:
        raise RefusedError("this is not a keyring file", subject=subject, next_step="name the folder of a Farkeep home")
    if data[8:9] > bytes((VERSION,)):
        raise RefusedError(f"a keyring of version {data[8]} was made by a newer Farkeep", subject=subject,
                           next_step="update Farkeep on this machine")
    end = _HEAD_SIZE_BYTES + int.from_bytes(data[9:_HEAD_SIZE_BYTES], "big")
    checked_end = end + _DIGEST_SIZE_BYTES
    if len(data) != checked_end + _DIGEST_SIZE_BYTES or digest(data[:end]) != data[end:checked_end]:
        raise DamagedError("a keyring file is damaged", subject=subject,
                           next_step="take the keyring from another copy of the home or of its log")
    return decode(data[_HEAD_SIZE_BYTES:end], KeyringBody, limit_bytes=LIMIT_BYTES, subject=subject)


def open_keyring(
    data: bytes, site_secret: bytes, *, subject: str = "keyring", randomness: Randomness = _SYSTEM_RANDOMNESS
) -> Keyring:
    """Open a keyring file with the site's 32 byte secret.

    Raises what `read_keyring` and `Keyring.open` raise, and HostileError when somebody without the keys wrote it.
    """
    body = read_keyring(data, subject=subject)
    keyring = Keyring.open(body.records, site_secret, body.organisation, body.site_id, randomness)
    return _authenticated(data, keyring, subject)


def recover_keyring(
    data: bytes,
    recovery_seed: bytes,
    new_site_secret: bytes,
    *,
    subject: str = "keyring",
    randomness: Randomness = _SYSTEM_RANDOMNESS,
) -> Keyring:
    """Open a keyring file whose key file is lost, by the 32 byte recovery seed, for a new site secret.

    Raises what `read_keyring` and `Keyring.recover` raise, RefusedError when the site never had an organisation, and
    HostileError when somebody without the keys wrote it.
    """
    body = read_keyring(data, subject=subject)
    if body.organisation is None:
        raise RefusedError("this site was created with --no-recovery: no shares can open it", subject=subject,
                           next_step="find the key file, or a copy of it")
    keyring = Keyring.recover(
        body.records, recovery_seed, new_site_secret, body.organisation, body.site_id, randomness
    )
    return _authenticated(data, keyring, subject)


def _authenticated(data: bytes, keyring: Keyring, subject: str) -> Keyring:
    if keyring.authenticate(data[:-_DIGEST_SIZE_BYTES]) != data[-_DIGEST_SIZE_BYTES:]:
        raise HostileError("a keyring file was changed by somebody without the site's keys", subject=subject,
                           next_step="take the keyring from another copy of the home; find out who could write here")
    return keyring
