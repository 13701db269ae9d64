"""The keys of one key epoch, as values: apart from the keyring, so that worker processes start without it."""

from __future__ import annotations

from shared.secret import Secret


class EpochKeys(Secret, frozen=True):
    """The keys of one key epoch, 32 bytes each."""

    number: int
    seal_key: bytes
    manifest_key: bytes
    fact_key: bytes
    mark_key: bytes
