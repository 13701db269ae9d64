"""Reading a catalog: listing a folder, looking up a path and walking in order cost the pages that matter."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator
from operator import ge
from typing import NamedTuple

from shared.errors import HostileError
from shared.tree import HOLE, LINK, key_of
from siteagent.store.chunklist import ListLeaf, PageSource, Piece, read_leaves
from siteagent.store.entry import Entry
from siteagent.store.entrycheck import first_key, last_key
from siteagent.store.names import SegmentName
from siteagent.store.page import ENTRY_INDEX, LEVELS_MAX, Child, EntryPage, decode_index, decode_value


class Root(NamedTuple):
    """The root of a catalog: page id, its segment, its level (0: an entry page); empty bytes for an empty tree."""

    page_id: bytes
    segment: SegmentName
    level: int


EMPTY = Root(b"", b"", 0)


class Leaf(NamedTuple):
    """An entry page in place: decoded, with its row in the index above; `is_last` in the whole catalog."""

    page: EntryPage
    row: Child
    is_last: bool


def read_entries(source: PageSource, row: Child) -> EntryPage:
    """The entry page that a row of the index names; raises DamagedError or HostileError."""
    page = EntryPage(source.chunk(row.segment, row.page_id), source.side(row.segment, row.page_id))
    if row.last_key and last_key(page.folders, page.names) != row.last_key:
        raise _out_of_order()
    return page


def read_index(source: PageSource, row: Child, level: int) -> list[Child]:
    """The rows of the index page of this level that a row names; raises DamagedError or HostileError."""
    page, side = source.chunk(row.segment, row.page_id), source.side(row.segment, row.page_id)
    kind, found, children = decode_index(page, side)
    if kind != ENTRY_INDEX or found != level or level > LEVELS_MAX:
        raise HostileError("a catalog is not level", next_step="run `farkeep verify --read-data`")
    keys = [child.last_key for child in children]
    if not keys or any(map(ge, keys, keys[1:])) or (row.last_key and keys[-1] != row.last_key):
        raise _out_of_order()
    return children


def _out_of_order() -> HostileError:
    """Keys that rise are also what keeps a page from standing in a catalog twice, or in itself."""
    return HostileError("a catalog's entries are out of order", next_step="run `farkeep verify --read-data`")


class Catalog:
    """One snapshot's tree."""

    def __init__(self, source: PageSource, root: Root) -> None:
        self._source, self.root = source, root

    def leaves(self, from_key: bytes = b"") -> Iterator[Leaf]:
        """Entry pages in key order, from the first that may hold a key >= `from_key`."""
        if self.root.page_id:
            row = Child(b"", self.root.page_id, 0, 0, self.root.segment)
            yield from self._below(row, self.root.level, from_key, b"", is_last=True)

    def _below(self, row: Child, level: int, from_key: bytes, after: bytes, *, is_last: bool) -> Iterator[Leaf]:
        """`after`: the last key before this page, as far as that is known."""
        if level == 0:
            page = read_entries(self._source, row)
            if after and first_key(page.folders, page.names) <= after:
                raise _out_of_order()
            yield Leaf(page, row, is_last)
            return
        children = read_index(self._source, row, level)
        start = bisect_left(children, from_key, key=lambda child: child.last_key) if from_key else 0
        after = children[start - 1].last_key if start else after
        for number in range(start, len(children)):
            last, wanted = is_last and number == len(children) - 1, from_key if number == start else b""
            yield from self._below(children[number], level - 1, wanted, after, is_last=last)
            after = children[number].last_key

    def index_rows(self) -> Iterator[tuple[Child, int]]:
        """(row, level) of every page, parents first; entry pages (level 0) are not read."""
        if self.root.page_id:
            yield from self._rows_below(Child(b"", self.root.page_id, 0, 0, self.root.segment), self.root.level)

    def _rows_below(self, row: Child, level: int) -> Iterator[tuple[Child, int]]:
        yield row, level
        if level:
            for child in read_index(self._source, row, level):
                yield from self._rows_below(child, level - 1)

    def entries(self, from_key: bytes = b"") -> Iterator[Entry]:
        """Entries in key order, from the first key >= `from_key`."""
        for leaf in self.leaves(from_key):
            rows = leaf.page.rows()
            yield from (row for row in rows if row.key >= from_key) if from_key else rows
            from_key = b""

    def find(self, folder: bytes, name: bytes) -> Entry | None:
        """The entry with this folder key and name, or None."""
        key = key_of(folder, name)
        for entry in self.entries(key):
            return entry if entry.key == key else None
        return None

    def folder(self, folder: bytes) -> Iterator[Entry]:
        """The entries of one folder, in order (the root's own entry is not among them)."""
        for entry in self.entries(folder + b"\0\0"):
            if entry.folder != folder:
                return
            if entry.name:
                yield entry

    def below(self, folder: bytes) -> Iterator[Entry]:
        """Everything below a folder, in key order: its entries, then the contents of its subfolders."""
        inside = folder + b"\0"
        for entry in self.entries(folder + b"\0\0" if folder else b""):
            if folder and entry.folder != folder and not entry.folder.startswith(inside):
                return
            if entry.name:
                yield entry

    def needs(self, entry: Entry) -> set[SegmentName]:
        """The segments of an entry and what those of its references rest on; without what lies below a chunk list."""
        needed = set(entry.segments)
        for segment, chunk_id in entry.references():
            needed |= self._source.frame_closure(segment, chunk_id)
        return needed

    def value(self, stored: bytes, segment: SegmentName) -> bytes:
        """A link target or xattrs value, wherever it lives."""
        if not stored:
            return b""
        return stored[1:] if stored[0] == 0 else decode_value(self._source.chunk(segment, stored[5:37]))

    def target(self, entry: Entry) -> bytes:
        """The target of a link; raises HostileError for one that no link has."""
        at = len(entry.segments) - 1 - (entry.xattrs[:1] == b"\1")
        target = self.value(entry.target, entry.segments[at] if entry.target[:1] == b"\1" else b"")
        if entry.type == LINK and (not target or 0 in target):
            raise HostileError("a link leads nowhere at all", subject=os.fsdecode(entry.path),
                               next_step="do not trust where this came from; run `farkeep verify`")
        return target

    def xattrs(self, entry: Entry) -> bytes:
        """The encoded extended attributes."""
        return self.value(entry.xattrs, entry.segments[-1] if entry.xattrs[:1] == b"\1" else b"")

    def pieces(self, entry: Entry) -> Iterator[Piece]:
        """The stretches of a file, in order."""
        return (piece for _, piece in self.placed(entry))

    def placed(self, entry: Entry, start: int = 0) -> Iterator[tuple[int, Piece]]:
        """(offset, stretch) of a file, in order; stretches that end before `start` may be left out."""
        for offset, pieces, _ in self.leaves_of(entry, start):
            for piece in pieces:
                yield offset, piece
                offset += piece.length

    def leaves_of(self, entry: Entry, start: int = 0) -> Iterator[ListLeaf]:
        """The stretches of a file, page by page; one page (that is none) for those held inline."""
        if entry.tree:
            at = len(entry.segments) - 1 - (entry.xattrs[:1] == b"\1") - (entry.target[:1] == b"\1")
            yield from read_leaves(self._source, entry.tree, entry.segments[at], start)
        elif entry.ids:
            segments, lengths = iter(entry.segments), entry.lengths or (entry.size,)
            ids = [entry.ids[at : at + 32] for at in range(0, len(entry.ids), 32)]
            yield ListLeaf(0, [Piece(chunk_id, length, b"" if chunk_id == HOLE else next(segments))
                               for chunk_id, length in zip(ids, lengths, strict=True)], None)  # fmt: skip
