"""Building a catalog from entries in key order.

Pages of the previous catalog that did not change are taken over whole, without decoding or encoding a row.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from shared.errors import BugError, HostileError
from shared.tree import FILE, escaped, key_of
from siteagent.store.boundary import NOMINAL_MIN_BYTES, Gatherer
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
    encode_patched,
    encode_side,
    encode_value,
    side_segments,
)

_ROW_BYTES = 80
_CHILD_BYTES = 56
_SEGMENTS, _TREE = Entry._fields.index("segments"), Entry._fields.index("tree")
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
        self._patches: dict[int, Entry] = {}
        self._measured: tuple[Leaf | None, int] = (None, 0)
        self._earlier: BaseChunk | None = None
        self._plain: set[SegmentName] = set()
        self.needed: set[SegmentName] = set()
        """Every segment that the pages stored or taken over so far need: once finished, the reach of the catalog."""
        self.pages_reused = 0

    def add(self, entry: Entry) -> None:
        """Add one entry; keys must rise."""
        if self._kept is not None:
            self._spill()
        self._add(entry)

    def _add(self, entry: Entry, *, is_inner: bool = False) -> None:
        folder, name = entry.folder, entry.name
        extra = _weight(entry)
        if folder is not self._folder and folder != self._folder:
            self._folder, self._prefix = folder, folder + b"\0\0"
            extra += len(folder)
        self._rows.add(entry, self._prefix + escaped(name), len(name) + _ROW_BYTES, extra, is_inner=is_inner)

    def add_unchanged(self, leaf: Leaf, start: int, stop: int) -> None:
        """Add rows `start` to `stop` of an entry page of the previous catalog.

        When they turn out to cover the page from a boundary to its own end, it is taken over without a look inside.
        """
        if not self._goes_on(leaf, start):
            self._earlier = self._earlier or BaseChunk(leaf.row.segment, leaf.row.page_id)
            self._add_rows(leaf, start, stop, {})
            return
        self._keep(leaf, stop)

    def add_changed(self, leaf: Leaf, place: int, entry: Entry) -> None:
        """Add an entry that stands in the place of a row with the same key.

        When every key of a page is there again and weighs the same, so is its boundary: only columns are replaced.
        """
        before = leaf.page.row(place)
        if _weight(before) != _weight(entry) or not leaf.page.is_plain or not self._goes_on(leaf, place):
            self._earlier = self._earlier or BaseChunk(leaf.row.segment, leaf.row.page_id)
            self.add(entry)
            return
        self._patches[place] = entry
        self._keep(leaf, place + 1)

    def _goes_on(self, leaf: Leaf, start: int) -> bool:
        """True when rows from `start` on may belong to a page that is taken over or patched."""
        if self._kept is not None and (self._kept is not leaf or self._kept_rows != start):
            self._spill()
        return self._kept is not None or not (start or not self._rows.is_empty or leaf.is_last)

    def _keep(self, leaf: Leaf, stop: int) -> None:
        self._kept, self._kept_rows = leaf, stop
        if stop < leaf.page.count:
            return
        self._kept, patches, self._patches = None, self._patches, {}
        if patches:
            self._store_patched(leaf, patches)
            return
        self.pages_reused += 1
        self.needed.update(side_segments(leaf.page.side))
        self._pass_up(0, Child(_last_key(leaf), leaf.row.page_id, leaf.page.count, leaf.row.size_bytes,
                               leaf.row.segment))  # fmt: skip

    def _store_patched(self, leaf: Leaf, patches: dict[int, Entry]) -> None:
        page, row = leaf.page, leaf.row
        fields = page.fields()
        segments, trees = list(fields[_SEGMENTS]), fields[_TREE]
        size_bytes = row.size_bytes
        for place, entry in patches.items():
            segments[place] = entry.segments
            size_bytes += _size(entry) - _size(page.row(place))
        suspects = self._with_deltas({name for names in segments for name in names})
        doubtful = [patches.get(place) or page.row(place) for place, names in enumerate(segments)
                    if trees[place] or not suspects.isdisjoint(names)
                    or (place in patches and patches[place].tree)]  # fmt: skip
        side = self._side([name for names in segments for name in names], doubtful, suspects)
        page_id, segment = self._sink.put_page(encode_patched(page, patches), side,
                                               BaseChunk(row.segment, row.page_id))
        self._pass_up(0, Child(_last_key(leaf), page_id, page.count, size_bytes, segment))

    def _spill(self) -> None:
        leaf, self._kept = self._kept, None
        if leaf is not None:
            patches, self._patches = self._patches, {}
            self._earlier = self._earlier or BaseChunk(leaf.row.segment, leaf.row.page_id)
            self._add_rows(leaf, 0, self._kept_rows, patches)

    def _add_rows(self, leaf: Leaf, start: int, stop: int, patches: dict[int, Entry]) -> None:
        """Add rows of an earlier page. Where it went on beyond its least weight, its rows but the last mark no
        boundary."""
        rows, inner = leaf.page.rows(), self._first_inner(leaf)
        for place in range(start, stop):
            self._add(patches.get(place) or rows[place], is_inner=inner <= place < len(rows) - 1)

    def _first_inner(self, leaf: Leaf) -> int:
        if self._measured[0] is not leaf:
            weights = accumulate(len(name) + _ROW_BYTES for name in leaf.page.names)
            first = next((place for place, weight in enumerate(weights) if weight >= NOMINAL_MIN_BYTES), 1 << 30)
            self._measured = leaf, first
        return self._measured[1]

    def _store_page(self, rows: list[Entry]) -> None:
        segments = [name for row in rows for name in row.segments]
        side = self._side(segments, rows, self._with_deltas(set(segments)))
        earlier, self._earlier = self._earlier, None
        page_id, segment = self._sink.put_page(encode_entries(rows), side, earlier)
        size_bytes = sum(map(_size, rows))
        self._pass_up(0, Child(rows[-1].key, page_id, len(rows), size_bytes, segment))

    def _with_deltas(self, segments: set[SegmentName]) -> set[SegmentName]:
        """Those that hold deltas. Most do not, which is known after one look."""
        plain = {name for name in segments - self._plain if not self._sink.has_deltas(name)}
        self._plain |= plain
        return segments - self._plain

    def _side(self, segments: list[SegmentName], rows: list[Entry], suspects: set[SegmentName]) -> bytes:
        """The side record of a page with these references; `rows` has at least those that need more than they name."""
        further: set[SegmentName] = set()
        for row in rows:
            if row.tree:
                further |= self._needs(row)
            if suspects and not suspects.isdisjoint(row.segments):
                for segment, chunk_id in row.references():
                    further.update(self._sink.closure(segment, chunk_id))
        self.needed.update(segments, further)
        return encode_side(segments, further)

    def _pass_up(self, level: int, child: Child) -> None:
        if level == len(self._levels):
            if level >= LEVELS_MAX:
                raise HostileError("a tree needs a catalog of too many levels", next_step="split this source")
            self._levels.append(Gatherer(self._key, level + 1, lambda rows: self._store_index(level + 1, rows)))
            self._last.append(child)
            self._counts.append(0)
        if self._counts[level] and child.last_key <= self._last[level].last_key:
            raise BugError("a catalog's entries are out of order", next_step="report this")
        self.needed.update((child.segment, *self._sink.closure(child.segment, child.page_id)))
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


def _size(entry: Entry) -> int:
    return entry.size if entry.type == FILE else 0


def _weight(entry: Entry) -> int:
    """What an entry's values weigh when page boundaries are decided."""
    return len(entry.ids) + len(entry.target) + len(entry.xattrs)


def _last_key(leaf: Leaf) -> bytes:
    return leaf.row.last_key or key_of(leaf.page.folders[-1][0], leaf.page.names[-1])

