"""The keys of one key epoch, as values: apart from the keyring, so that worker processes start without it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EpochKeys:
    """The keys of one key epoch, 32 bytes each."""

    number: int
    seal_key: bytes = field(repr=False)
    manifest_key: bytes = field(repr=False)
    fact_key: bytes = field(repr=False)
    mark_key: bytes = field(repr=False)
