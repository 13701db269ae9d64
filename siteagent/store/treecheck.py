"""Checking catalogs: every page decodes and keeps its order, and what it names lies where it says.

Pages that several snapshots share are checked once. Trouble is put down to the segment of the page that does not read
or says something wrong, so that the next backup stores that page anew.
"""

from __future__ import annotations

from msgspec import Struct, field

from shared.errors import DamagedError, FarkeepError, HostileError
from shared.tree import FILE, LINK, UNREADABLE, components_of, path_of
from siteagent.disk.confined import are_safe
from siteagent.store.catalog import EMPTY, Catalog, Root
from siteagent.store.entry import Entry
from siteagent.store.listcheck import UNKNOWN, ListCheck
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.page import ENTRY_INDEX, LEVELS_MAX, Child, EntryPage, decode_index, side_segments
from siteagent.store.reader import SegmentReader


class TreeResult(Struct):
    """What was found. `damaged`: what is wrong, by the segment of the page or chunk concerned; `wrong`: paths whose
    entries contradict what is stored, and in what way."""

    damaged: dict[SegmentName, str] = field(default_factory=dict)
    wrong: dict[bytes, str] = field(default_factory=dict)


class Needs(Struct):
    """The segments one catalog needs by its own pages' sets; not all of them when `is_whole` is False."""

    segments: set[SegmentName] = field(default_factory=set)
    is_whole: bool = True


class TreeCheck:
    """Checks the catalogs of one home, one after the other."""

    def __init__(self, reader: SegmentReader) -> None:
        self._reader = reader
        self._catalog = Catalog(reader, EMPTY)
        self._seen: set[tuple[bytes, SegmentName]] = set()
        self._lists = ListCheck(reader, self._blame)
        self.result = TreeResult()

    def check(self, root: Root) -> Needs:
        """Check one catalog; returns the segments it needs."""
        needs = Needs()
        if root.page_id:
            row = Child(b"", root.page_id, UNKNOWN, UNKNOWN, root.segment)
            self._check_page(row, root.level, needs)
        return needs

    def _check_page(self, row: Child, level: int, needs: Needs, after: bytes = b"") -> None:
        """`after`: the last key before this page."""
        needs.segments.add(row.segment)
        try:
            side = self._reader.side(row.segment, row.page_id)
            needs.segments.update(side_segments(side))
            needs.segments |= self._reader.frame_closure(row.segment, row.page_id)
            is_new = (row.page_id, row.segment) not in self._seen
            children = self._children(row, level, side) if level else None
            if is_new and children is None:
                self._check_leaf(row, side, after)
        except FarkeepError as error:
            self._blame(row.segment, error)
            needs.is_whole = False
            return
        if is_new:
            self._seen.add((row.page_id, row.segment))
        for child in children or ():
            self._check_page(child, level - 1, needs, after)
            after = child.last_key

    def _blame(self, segment: SegmentName, error: FarkeepError) -> None:
        self.result.damaged.setdefault(segment, error.message)

    def _children(self, row: Child, level: int, side: bytes) -> list[Child]:
        kind, found, children = decode_index(self._reader.chunk(row.segment, row.page_id), side)
        if kind != ENTRY_INDEX or found != level or level > LEVELS_MAX:
            raise _wrong("a catalog is not level", row)
        keys = [child.last_key for child in children]
        if not keys or sorted(set(keys)) != keys or (row.last_key and keys[-1] != row.last_key):
            raise _wrong("an index page is out of order", row)
        _check_sums(row, sum(child.entries for child in children), sum(child.size_bytes for child in children))
        return children

    def _check_leaf(self, row: Child, side: bytes, after: bytes) -> None:
        entries = EntryPage(self._reader.chunk(row.segment, row.page_id), side).rows()
        keys = [entry.key for entry in entries]
        if not keys or sorted(set(keys)) != keys or (row.last_key and keys[-1] != row.last_key):
            raise _wrong("an entry page is out of order", row)
        if after and keys[0] <= after:
            raise _wrong("an entry page begins before the one before it ends", row)
        _check_sums(row, len(entries), sum(entry.size for entry in entries if entry.type == FILE))
        own = set(side_segments(side))
        for entry in entries:
            self._check_entry(entry, row.segment, own)

    def _check_entry(self, entry: Entry, page_segment: SegmentName, own: set[SegmentName]) -> None:
        """`own`: the set of the page that this entry is on."""
        if not are_safe([part for part in (*components_of(entry.folder), entry.name) if part or entry.folder]):
            self._contradict(entry, "its name is no path: it leads elsewhere", page_segment)
        for stored, segment in _values(entry):
            try:
                self._catalog.value(stored, segment)
            except FarkeepError as error:
                self._blame(segment, error)
        if entry.type == LINK and not self._leads_somewhere(entry):
            self._contradict(entry, "it is a link that leads nowhere at all", page_segment)
        if entry.tree:
            facts = self._lists.check(entry.tree, entry.segments[0])
            length = facts.size_bytes
            if not self._reader.successors.are_within(facts.segments(), own):
                self._contradict(entry, "its page does not name all segments it needs", page_segment)
        else:
            pieces = list(self._catalog.pieces(entry))
            length = sum(piece.length for piece in pieces)
            if not self._lists.are_there(pieces):
                self._contradict(entry, "a piece of it is not in the segment that should hold it", page_segment)
        if not self._reader.successors.are_within(self._needs(entry), own):
            self._contradict(entry, "its page does not name all segments it needs", page_segment)
        if length not in (entry.size, UNKNOWN) and entry.type == FILE and not entry.flags & UNREADABLE:
            self._contradict(entry, "its pieces do not add up to its size", page_segment)

    def _leads_somewhere(self, entry: Entry) -> bool:
        try:
            return bool(self._catalog.target(entry))
        except HostileError:
            return False
        except FarkeepError:
            # A segment that does not read was blamed when its values were looked for.
            return True

    def _needs(self, entry: Entry) -> set[SegmentName]:
        try:
            return self._catalog.needs(entry)
        except FarkeepError:
            # A segment that does not read was blamed when its pieces were looked for.
            return set(entry.segments)

    def _contradict(self, entry: Entry, what: str, page_segment: SegmentName) -> None:
        self.result.wrong.setdefault(path_of(entry.folder, entry.name), what)
        self.result.damaged.setdefault(page_segment, "a page contradicts what is stored")


def _values(entry: Entry) -> list[tuple[bytes, SegmentName]]:
    """(stored value, its segment) of the link target and xattrs that live out of line."""
    outside = [stored for stored in (entry.target, entry.xattrs) if stored[:1] == b"\1"]
    return list(zip(outside, entry.segments[len(entry.segments) - len(outside) :], strict=True))


def _check_sums(row: Child, entries: int, size_bytes: int) -> None:
    """Compare what an index says of a page with the page (a root has no row above it)."""
    if row.entries != UNKNOWN and (row.entries, row.size_bytes) != (entries, size_bytes):
        raise _wrong("an index page's sums are not those of the pages below", row)


def _wrong(what: str, row: Child) -> DamagedError:
    return DamagedError(what, subject=shown_segment(row.segment), next_step="run `farkeep verify --read-data`")
