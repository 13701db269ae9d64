"""What a snapshot is, in one record: sealed in the fact `snapshot.taken` and repeated whole in its manifest."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Id = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
OptionalId = Annotated[bytes, msgspec.Meta(max_length=16)]
OptionalDigest = Annotated[bytes, msgspec.Meta(max_length=32)]
OptionalSegmentName = Annotated[bytes, msgspec.Meta(max_length=20)]
Quality = Literal["app", "crash", "live", "changed", "partial"]


class EntryCounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many entries differ from the previous snapshot of the same name (all new when there is none)."""

    new: int = 0
    changed: int = 0
    removed: int = 0
    renamed: int = 0
    unchanged: int = 0


class SnapshotSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Source, view, quality, times, statistics, catalog root and previous snapshot of one snapshot.

    `root_page` (32 bytes) and `root_segment` (20 bytes) are empty for an empty tree, `previous_snapshot` for a first
    one. `extra` holds registered values of later versions that a reader may pass over.
    """

    name: str
    time_ns: int
    ended_ns: int
    quality: Quality
    host: str
    user: str
    source_kind: str
    paths: tuple[bytes, ...]
    domain: Id
    tags: tuple[str, ...] = ()
    view: str = ""
    is_clock_changed: bool = False
    root_page: OptionalDigest = b""
    root_segment: OptionalSegmentName = b""
    levels: int = 0
    previous_snapshot: OptionalId = b""
    counts: EntryCounts = EntryCounts()
    files: int = 0
    folders: int = 0
    links: int = 0
    others: int = 0
    sockets_skipped: int = 0
    bytes_seen: int = 0
    bytes_read: int = 0
    bytes_new: int = 0
    bytes_stored: int = 0
    incompressible_bytes: int = 0
    errors: int = 0
    excluded: int = 0
    extra: dict[str, bytes] = {}

    @property
    def is_good(self) -> bool:
        """Good = every entry could be read."""
        return self.quality != "partial"
