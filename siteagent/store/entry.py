"""One entry of a catalog: a file, folder or other object with its metadata and where its content lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shared.tree import HOLE, key_of, path_of
from siteagent.store.names import SegmentName

_ID_BYTES = 32


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

    def references(self) -> Iterator[tuple[SegmentName, bytes]]:
        """(segment, id) of every chunk, chunk list and value kept out of line that it names, in the order of
        `segments`."""
        ids = [self.ids[at : at + _ID_BYTES] for at in range(0, len(self.ids), _ID_BYTES)]
        named = [chunk_id for chunk_id in ids if chunk_id != HOLE]
        named += [self.tree[1:]] if self.tree else []
        named += [stored[5 : 5 + _ID_BYTES] for stored in (self.target, self.xattrs) if stored[:1] == b"\1"]
        return zip(self.segments, named, strict=False)
