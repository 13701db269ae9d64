"""Files that moved: the same inode, size and time of modification under another name are not read again.

The inodes of the previous catalog are looked through only once there is much that is new: a sorted list of numbers,
some 50 bytes per file while it lasts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict

from shared.errors import DamagedError, HostileError
from shared.tree import FILE
from siteagent.sources.base import Identity
from siteagent.store.catalog import Catalog, read_entries
from siteagent.store.chunklist import PageSource
from siteagent.store.entry import Entry
from siteagent.store.page import Child, EntryPage

_WORTH_BYTES, _WORTH_FILES = 16 << 20, 1000
_PAGES_MAX = 8
_PLACE_BITS, _PAGE_BITS = 16, 32
_POSITION_BITS = _PLACE_BITS + _PAGE_BITS
_FILE_KIND = 0o10


class Moves:
    """Finds where a file was in the previous snapshot."""

    def __init__(self, source: PageSource, catalog: Catalog | None) -> None:
        self._source, self._catalog = source, catalog
        self._files = self._bytes = 0
        self._pages: list[Child] = []
        self._known: list[int] | None = None
        self._opened: OrderedDict[int, EntryPage] = OrderedDict()

    def find(self, identity: Identity) -> Entry | None:
        """The earlier entry of a file that is new under its name; None when there is none, or not yet worth a look."""
        mode, size, mtime_ns, _, inode = identity
        if self._catalog is None or mode >> 12 != _FILE_KIND or not size:
            return None
        self._files += 1
        self._bytes += size
        if self._known is None and self._files < _WORTH_FILES and self._bytes < _WORTH_BYTES:
            return None
        entry = self._earlier(self._catalog, inode)
        if entry is None or entry.type != FILE or entry.flags or entry.link_group:
            return None
        return entry if (entry.size, entry.mtime_ns, entry.mode >> 12) == (size, mtime_ns, mode >> 12) else None

    def _earlier(self, catalog: Catalog, inode: int) -> Entry | None:
        known = self._known = self._inodes(catalog) if self._known is None else self._known
        at = bisect_left(known, inode << _POSITION_BITS)
        if at == len(known) or known[at] >> _POSITION_BITS != inode:
            return None
        position = known[at] & ((1 << _POSITION_BITS) - 1)
        try:
            return self._page(position >> _PLACE_BITS).row(position & ((1 << _PLACE_BITS) - 1))
        except (DamagedError, HostileError):
            return None

    def _inodes(self, catalog: Catalog) -> list[int]:
        found: list[int] = []
        try:
            for leaf in catalog.leaves():
                number = len(self._pages)
                self._pages.append(leaf.row)
                for place, (mode, inode) in enumerate(zip(leaf.page.numbers(5), leaf.page.numbers(11), strict=True)):
                    if mode >> 12 == _FILE_KIND:
                        found.append(inode << _POSITION_BITS | number << _PLACE_BITS | place)
        except (DamagedError, HostileError):
            # What moved and cannot be found is read again.
            pass
        found.sort()
        return found

    def _page(self, number: int) -> EntryPage:
        page = self._opened.get(number)
        if page is None:
            page = self._opened[number] = read_entries(self._source, self._pages[number])
            if len(self._opened) > _PAGES_MAX:
                self._opened.popitem(last=False)
        return page
