"""One entry of a catalog: a file, folder or other object with its metadata and where its content lies."""

from __future__ import annotations

from typing import NamedTuple

from shared.tree import key_of, path_of
from siteagent.store.names import SegmentName


class Entry(NamedTuple):
    """One row of the catalog.

    `ids`: joined 32-byte chunk ids held inline, `lengths`: their lengths in bytes, empty when there is exactly one of
    `size` bytes; `tree`: level byte and page id of the chunk list, when it lives out of line; `segments`: the segment
    of every id that is not a hole, then of the tree, then of an out-of-line target and xattrs, in this order;
    `link_group`: 0, or the same number (device and inode) for all hard links of one file; `extra`: (column, type,
    value) of registered columns that this version does not interpret.
    """

    folder: bytes
    name: bytes
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
    flags: int
    ids: bytes
    lengths: tuple[int, ...]
    tree: bytes
    target: bytes
    xattrs: bytes
    segments: tuple[SegmentName, ...]
    extra: tuple[tuple[int, int, int | bytes], ...] = ()

    @property
    def key(self) -> bytes:
        """The entry's place in the catalog."""
        return key_of(self.folder, self.name)

    @property
    def path(self) -> bytes:
        """Absolute path, raw bytes."""
        return path_of(self.folder, self.name)
