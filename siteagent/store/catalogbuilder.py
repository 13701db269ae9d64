"""Building a catalog from entries in key order.

Pages of the previous catalog that did not change are taken over whole, without decoding or encoding a row.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import BugError, HostileError
from shared.tree import FILE, escaped, key_of
from siteagent.store.boundary import Gatherer
from siteagent.store.catalog import EMPTY, Leaf, Root
from siteagent.store.chunklist import PageSink
from siteagent.store.delta import BaseChunk
from siteagent.store.entry import Entry
from siteagent.store.names import SegmentName
from siteagent.store.page import (
    ENTRY_INDEX,
    INLINE_VALUE_MAX,
    LEVELS_MAX,
    Child,
    encode_entries,
    encode_index,
    encode_side,
    encode_value,
)

_ROW_BYTES = 80
_CHILD_BYTES = 56
_NO_SEGMENTS: tuple[SegmentName, ...] = ()


class CatalogBuilder:
    """Takes entries (or runs of unchanged ones) in key order and stores pages."""

    def __init__(self, sink: PageSink, boundary_key: bytes, needs: Callable[[Entry], set[SegmentName]]) -> None:
        """`needs` tells the segments of an entry's chunk list (asked only for entries that have one)."""
        self._sink, self._key, self._needs = sink, boundary_key, needs
        self._rows = Gatherer[Entry](boundary_key, 0, self._store_page)
        self._levels: list[Gatherer[Child]] = []
        self._last: list[Child] = []
        self._counts: list[int] = []
        self._folder, self._prefix = b"", b"\0\0"
        self._kept: Leaf | None = None
        self._kept_rows = 0
        self._earlier: BaseChunk | None = None
        self._plain: set[SegmentName] = set()
        self.pages_reused = 0

    def add(self, entry: Entry) -> None:
        """Add one entry; keys must rise."""
        if self._kept is not None:
            self._spill()
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        folder, name = entry.folder, entry.name
        extra = len(entry.ids) + len(entry.target) + len(entry.xattrs)
        if folder is not self._folder and folder != self._folder:
            self._folder, self._prefix = folder, folder + b"\0\0"
            extra += len(folder)
        self._rows.add(entry, self._prefix + escaped(name), len(name) + _ROW_BYTES, extra)

    def add_unchanged(self, leaf: Leaf, start: int, stop: int) -> None:
        """Add rows `start` to `stop` of an entry page of the previous catalog.

        When they turn out to cover the page from a boundary to its own end, it is taken over without a look inside.
        """
        if self._kept is not None and (self._kept is not leaf or self._kept_rows != start):
            self._spill()
        if self._kept is None:
            if start or not self._rows.is_empty or leaf.is_last:
                self._earlier = self._earlier or BaseChunk(leaf.row.segment, leaf.row.page_id)
                for entry in leaf.page.rows()[start:stop]:
                    self._add(entry)
                return
            self._kept = leaf
        self._kept_rows = stop
        if stop == leaf.page.count:
            self._kept = None
            self.pages_reused += 1
            self._pass_up(0, Child(_last_key(leaf), leaf.row.page_id, leaf.page.count, leaf.row.size_bytes,
                                   leaf.row.segment))  # fmt: skip

    def _spill(self) -> None:
        leaf, self._kept = self._kept, None
        if leaf is not None:
            self._earlier = self._earlier or BaseChunk(leaf.row.segment, leaf.row.page_id)
            for entry in leaf.page.rows()[: self._kept_rows]:
                self._add(entry)

    def _store_page(self, rows: list[Entry]) -> None:
        further: set[SegmentName] = set()
        for row in rows:
            if row.tree:
                further |= self._needs(row)
        further |= self._closures(rows)
        side = encode_side([name for row in rows for name in row.segments], further)
        earlier, self._earlier = self._earlier, None
        page_id, segment = self._sink.put_page(encode_entries(rows), side, earlier)
        size_bytes = sum(row.size for row in rows if row.type == FILE)
        self._pass_up(0, Child(rows[-1].key, page_id, len(rows), size_bytes, segment))

    def _closures(self, rows: list[Entry]) -> set[SegmentName]:
        """What the references of these rows rest on. Most segments hold no delta: those are known after one look."""
        suspects = {name for row in rows for name in row.segments} - self._plain
        if suspects:
            plain = {name for name in suspects if not self._sink.has_deltas(name)}
            self._plain |= plain
            suspects -= plain
        needed: set[SegmentName] = set()
        for row in rows if suspects else ():
            if not suspects.isdisjoint(row.segments):
                for segment, chunk_id in row.references():
                    needed.update(self._sink.closure(segment, chunk_id))
        return needed

    def _pass_up(self, level: int, child: Child) -> None:
        if level == len(self._levels):
            if level >= LEVELS_MAX:
                raise HostileError("a tree needs a catalog of too many levels", next_step="split this source")
            self._levels.append(Gatherer(self._key, level + 1, lambda rows: self._store_index(level + 1, rows)))
            self._last.append(child)
            self._counts.append(0)
        if self._counts[level] and child.last_key <= self._last[level].last_key:
            raise BugError("a catalog's entries are out of order", next_step="report this")
        self._last[level] = child
        self._counts[level] += 1
        self._levels[level].add(child, child.last_key, len(child.last_key) + _CHILD_BYTES)

    def _store_index(self, level: int, rows: list[Child]) -> None:
        page = encode_index(ENTRY_INDEX, level, rows)
        page_id, segment = self._sink.put_page(page, encode_side([row.segment for row in rows]))
        entries, size_bytes = sum(row.entries for row in rows), sum(row.size_bytes for row in rows)
        self._pass_up(level, Child(rows[-1].last_key, page_id, entries, size_bytes, segment))

    def finish(self) -> Root:
        """Store what is left; returns the root."""
        self._spill()
        self._rows.finish()
        if not self._counts:
            return EMPTY
        level = 0
        while self._counts[level] > 1:
            self._levels[level].finish()
            level += 1
        return Root(self._last[level].page_id, self._last[level].segment, level)

    def stored_value(self, value: bytes) -> tuple[bytes, tuple[SegmentName, ...]]:
        """A link target or xattrs value as it stands in an entry, and the segments it needs."""
        if not value:
            return b"", _NO_SEGMENTS
        if len(value) <= INLINE_VALUE_MAX:
            return b"\0" + value, _NO_SEGMENTS
        page_id, segment = self._sink.put_page(encode_value(value), encode_side(()))
        return b"\1" + len(value).to_bytes(4, "little") + page_id, (segment,)


def _last_key(leaf: Leaf) -> bytes:
    return leaf.row.last_key or key_of(leaf.page.folders[-1][0], leaf.page.names[-1])

