"""The record of one secret of a site: identity, key epoch or dedup domain, wrapped to everybody who may open it.

MessagePack map {version, kind, id, number, created_ns, wraps}, wraps = list of {recipient, recipient_id, sealed}
(`shared.wrapping`). It stands in the keyring file and in the log's `key.added` facts.

| member     | meaning                                                                                     |
| ---------- | ------------------------------------------------------------------------------------------- |
| version    | 1                                                                                           |
| kind       | "identity", "key-epoch" or "domain"                                                         |
| id         | 16 bytes: random; for an identity the start of the BLAKE3 of its public key                 |
| number     | of the key epoch, from 1; else 0                                                            |
| created_ns | wall time of its making                                                                     |
| wraps      | of the 32 byte secret, to "site" (the site secret) and "recovery" (the organisation's key)  |

Purpose bound into its wraps: "key record <version> <kind> <id as hex> <number> <created_ns>".
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from shared.errors import DamagedError, RefusedError
from shared.organisation import Organisation, RecoveryKeys
from shared.randomness import Randomness
from shared.wrapping import Wrap, public_key_id, symmetric_key_id, unwrap_with_private, wrap_to_key, wrap_to_public

RECORD_VERSION = 1
KEY_EPOCH = "key-epoch"
DOMAIN = "domain"
IDENTITY = "identity"
TO_SITE = "site"
TO_RECOVERY = "recovery"


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One wrapped secret of a site; every byte may be shown to a thief."""

    version: int
    kind: str
    id: bytes
    number: int
    created_ns: int
    wraps: tuple[Wrap, ...]

    @property
    def purpose(self) -> str:
        """What its wraps are bound to."""
        return f"key record {self.version} {self.kind} {self.id.hex()} {self.number} {self.created_ns}"


def empty_record(kind: str, record_id: bytes, number: int, created_ns: int) -> KeyRecord:
    """Return a record without wraps, for `RecordWrapper.wrapped` to fill."""
    return KeyRecord(version=RECORD_VERSION, kind=kind, id=record_id, number=number, created_ns=created_ns, wraps=())


def recovered_secret(record: KeyRecord, keys: RecoveryKeys, site_id: bytes) -> bytes:
    """Return the secret of `record` by the private recovery key.

    Raises RefusedError when the record was never wrapped to that key, DamagedError when the wrap does not open.
    """
    recovery_id = public_key_id(keys.public)
    for wrap in record.wraps:
        if wrap.recipient == TO_RECOVERY and wrap.recipient_id == recovery_id:
            return unwrap_with_private(wrap, keys.private, site_id=site_id, purpose=record.purpose)
    raise RefusedError("a key was never wrapped to this recovery key: these shares cannot open the site",
                       subject=f"{record.purpose} of site {site_id.hex()}",
                       next_step="bring the shares of the organisation the site belonged to then, or its key file")


def numbered_epochs(records: Iterable[KeyRecord], subject: str) -> dict[int, KeyRecord]:
    """Return the key epochs among `records` by number.

    Raises RefusedError when any record was made by a newer Farkeep, DamagedError when two epochs share a number.
    """
    epochs: dict[int, KeyRecord] = {}
    for record in records:
        if record.version != RECORD_VERSION or record.kind not in (KEY_EPOCH, DOMAIN, IDENTITY):
            raise RefusedError(f"a key record of kind {record.kind!r}, version {record.version}, was made by a newer "
                               "Farkeep", subject=subject, next_step="update Farkeep on this machine")
        if record.kind == KEY_EPOCH and epochs.setdefault(record.number, record) is not record:
            raise DamagedError(f"two key epochs have the number {record.number}", subject=subject,
                               next_step="take the keyring from another copy of the home or of its log")
    return epochs


class RecordWrapper:
    """Wraps the secrets of records to one or several site secrets and to the recovery key."""

    def __init__(
        self,
        site_secrets: tuple[bytes, ...],
        organisation: Organisation | None,
        site_id: bytes,
        randomness: Randomness,
    ) -> None:
        self._site_secrets = site_secrets
        self._organisation = organisation
        self._site_id = site_id
        self._randomness = randomness

    def wrapped(self, record: KeyRecord, secret: bytes) -> KeyRecord:
        """Return `record` with wraps of `secret` in place of its present ones."""
        wraps = [
            wrap_to_key(key, secret, recipient=TO_SITE, recipient_id=symmetric_key_id(key), site_id=self._site_id,
                        purpose=record.purpose, randomness=self._randomness)
            for key in self._site_secrets
        ]
        if self._organisation is not None:
            wraps.append(wrap_to_public(self._organisation.recovery_public, secret, recipient=TO_RECOVERY,
                                        site_id=self._site_id, purpose=record.purpose, randomness=self._randomness))
        return msgspec.structs.replace(record, wraps=tuple(wraps))
