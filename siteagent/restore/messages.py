"""What a restore and its workers say to each other: windows of the catalog to write, parts of large files, answers."""

from __future__ import annotations

import msgspec

from shared.epochkeys import EpochKeys
from shared.secret import Secret


class RowRef(msgspec.Struct, frozen=True, array_like=True):
    """One entry: its page, the page's segment, and its row in the page."""

    page_id: bytes
    segment: bytes
    row: int


class WindowRequest(msgspec.Struct, frozen=True, tag="window"):
    """Write this worker's share of the plain entries of these pages: (page id, segment) each.

    Of `shares` workers the one numbered `share` takes the small files of its segments (four in a row, then the next
    worker's four), so that a segment is opened once however far apart its files are; of the rest it takes every
    `shares`-th page.
    """

    pages: list[tuple[bytes, bytes]]
    share: int
    shares: int


class PartRequest(msgspec.Struct, frozen=True, tag="part"):
    """Write bytes `start` to `stop` of a large file into its temporary file, which is that device's inode."""

    entry: RowRef
    device: int
    inode: int
    start: int
    stop: int


Request = WindowRequest | PartRequest


class FolderNote(msgspec.Struct, frozen=True, array_like=True):
    """A folder (its key) whose metadata is applied when everything below it is done."""

    folder: bytes
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: bytes


class Answer(msgspec.Struct, array_like=True):
    """What came of a request; `links` and `large` are entries left to the leading process."""

    files: int = 0
    written: int = 0
    unchanged: int = 0
    bytes_written: int = 0
    not_applied: int = 0
    reasons: list[str] = []
    errors: list[tuple[bytes, str]] = []
    damaged: int = 0
    hostile: int = 0
    folders: list[FolderNote] = []
    links: list[RowRef] = []
    large: list[RowRef] = []
    is_last: bool = True

    def add(self, other: Answer) -> None:
        """Add another answer's figures; what it leaves over is not taken along."""
        self.files += other.files
        self.written += other.written
        self.unchanged += other.unchanged
        self.bytes_written += other.bytes_written
        self.not_applied += other.not_applied
        self.reasons = sorted({*self.reasons, *other.reasons})
        self.errors = self.errors + other.errors
        self.damaged += other.damaged
        self.hostile += other.hostile


class Setup(Secret, frozen=True):
    """The first message to a worker process."""

    home: str
    epochs: list[EpochKeys]
    prefix: bytes
    only_name: bytes
    chunk_key: bytes
    is_fresh: bool
    spots_bytes: int
    superseded: list[tuple[bytes, bytes]] = []
    """What was superseded by what, as far as it concerns the snapshot (siteagent.store.successors)."""
