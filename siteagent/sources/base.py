"""The contract of every source: a frozen (or live) picture of it, listed folder by folder in catalog order.

Data flows one way: `View.batches` lists, capture compares each batch with the previous snapshot, and asks the view to
read only what differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from msgspec import Struct, field

Identity = tuple[int, int, int, int, int]
"""(mode, size, mtime, ctime, inode): equal means unchanged, when the times are old enough to prove it."""


class Batch(Struct):
    """The entries of one folder, sorted by raw name; a very large folder comes in parts.

    `identities` and `facts` run parallel to `names`; `facts` are whatever the view needs to describe an entry.
    `ancestors` are folders that are here only because a root lies below; `followed` are roots (or on the way to one)
    that are links and stand for what they lead to. `until`: another part of the folder follows, with names beyond this
    one; None: this is the last or only one.
    """

    folder: bytes
    names: list[bytes]
    identities: list[Identity]
    facts: list[Any]
    handle: int = -1
    ancestors: frozenset[bytes] = frozenset()
    followed: frozenset[bytes] = frozenset()
    until: bytes | None = None


class Metadata(NamedTuple):
    """What is recorded of an entry besides its content, in the order of a catalog entry."""

    type: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    link_group: int
    device: int


class SmallFile(NamedTuple):
    """A file that was read whole and did not change meanwhile: `start` in the buffer, `size` bytes long.

    With `error` it could not be opened or read; size -1: it has to be read on its own, with attention.
    """

    place: int
    start: int
    size: int
    xattrs: bytes
    error: OSError | None = None


class Reader(Protocol):
    """An open file of a view."""

    is_stream: bool
    """It can be read once only, from the start to an end that nobody knows beforehand; offsets mean nothing."""

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; returns the bytes read, 0 at the end. Raises OSError."""

    def extents(self, size_bytes: int) -> list[tuple[int, int]] | None:
        """(offset, length) of the stretches that hold data, or None when the file has no holes."""

    def identity(self) -> Identity:
        """The file's identity now."""

    def facts(self) -> Any:
        """What the view needs to describe the file as it is now."""

    def xattrs(self) -> bytes:
        """Encoded extended attributes."""

    def close(self) -> None:
        """Close the file."""


class Skipped(Struct):
    """What a view left out, and why."""

    sockets: int = 0
    excluded: int = 0
    home: list[bytes] = field(default_factory=list)
    errors: list[SourceError] = field(default_factory=list)


class SourceError(Struct, frozen=True):
    """An entry that could not be captured: its absolute path and what the system said."""

    path: bytes
    reason: str


class View(Protocol):
    """A picture of a source."""

    quality: str
    skipped: Skipped
    is_repeatable: bool
    """False when it can be walked once only."""

    def batches(self) -> Iterator[Batch]:
        """Folders in catalog order, from the first one; a batch's handle is valid until the next one is asked for."""

    def describe(self, batch: Batch, place: int) -> Metadata:
        """What is recorded of an entry."""

    def is_sparse(self, batch: Batch, place: int) -> bool:
        """True when a file may have holes."""

    def read_small(self, batch: Batch, places: list[int], buffer: memoryview) -> list[SmallFile]:
        """Read files whole into `buffer`, one after the other, as many of `places` as fit (at least one does)."""

    def open(self, batch: Batch, place: int) -> Reader:
        """Open a file for reading; raises OSError."""

    def target(self, batch: Batch, place: int) -> bytes:
        """The target of a link; raises OSError."""

    def refresh(self, batch: Batch, place: int, reader: Reader) -> None:
        """Take over what an open file says of itself now; raises OSError when it is no file any more."""

    def xattrs(self, batch: Batch, place: int) -> bytes:
        """Encoded extended attributes of an entry that is not a file; raises OSError."""

    def close(self) -> None:
        """Release what the view holds."""


class Selection(Protocol):
    """Which entries are wanted."""

    def excludes(self, root: bytes, path: bytes, *, is_folder: bool, size_bytes: int) -> bool:
        """True when `path` (absolute, below `root`) is to be left out."""
