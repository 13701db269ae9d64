"""Where two catalogs differ, at the cost of the pages that differ.

Both trees are walked side by side in key order. A page that stands in both under one id holds the same entries, so it
is passed over unread, and an index page with all below it. Otherwise the page of the higher level is opened (both, when
they are level), until entries meet entries. That asks nothing of the two trees: page boundaries, numbers of pages and
levels may differ. Since boundaries follow from keys, the walks meet again at the next boundary after a difference.

Two *different* folders can be compared too: keys are then taken relative to them, and no page can stand for another,
because pages hold whole keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shared.tree import keys_below
from siteagent.store.catalog import Root, read_entries, read_index
from siteagent.store.chunklist import PageSource
from siteagent.store.entry import Entry
from siteagent.store.page import Child

Pair = tuple[Entry | None, Entry | None]
_ENTRY = -1


class Side(NamedTuple):
    """One of the two: a catalog, and the key of the folder of which all below is compared (empty: everything)."""

    root: Root
    folder: bytes = b""


class _Page(NamedTuple):
    """A page that was not opened; it holds keys beyond `after` up to `until` (empty: to the end)."""

    row: Child
    level: int
    after: bytes
    until: bytes


class _Row(NamedTuple):
    """An entry and its key; level, after and until make it comparable with pages."""

    entry: Entry
    level: int
    key: bytes
    until: bytes


class _Cursor:
    """A place in one catalog: everything that is still to come, pages unopened as long as possible."""

    def __init__(self, source: PageSource, side: Side, *, is_relative: bool) -> None:
        self._source, self._cut = source, len(side.folder) if is_relative else 0
        self._start, self._stop = keys_below(side.folder)
        root = side.root
        whole = _Page(Child(b"", root.page_id, 0, 0, root.segment), root.level, b"", b"")
        self._waiting: list[_Page | _Row] = [whole] if root.page_id else []

    @property
    def next(self) -> _Page | _Row | None:
        """What comes next."""
        return self._waiting[-1] if self._waiting else None

    def skip(self) -> None:
        """Pass over what comes next."""
        self._waiting.pop()

    def open(self, page: _Page) -> None:
        """Replace the page that comes next by what it holds within the folder that is wanted."""
        self._waiting.pop()
        found: list[_Page | _Row] = list(self._rows(page) if page.level == 0 else self._pages(page))
        self._waiting += reversed(found)

    def _rows(self, page: _Page) -> Iterator[_Row]:
        for entry in read_entries(self._source, page.row).rows():
            key = entry.key
            if self._start <= key and (not self._stop or key < self._stop):
                key = self._relative(key)
                yield _Row(entry, _ENTRY, key, key)

    def _pages(self, page: _Page) -> Iterator[_Page]:
        bound, after = b"", page.after
        for child in read_index(self._source, page.row, page.level):
            until = self._relative(child.last_key)
            if child.last_key >= self._start and (not self._stop or bound < self._stop):
                yield _Page(child, page.level - 1, after, until)
            bound, after = child.last_key, until

    def _relative(self, key: bytes) -> bytes:
        """A key as it reads below the folder; empty for one outside."""
        if not self._cut:
            return key
        if key < self._start or key >= self._stop:
            return b""
        rest = key[self._cut :]
        return rest if rest.startswith(b"\0\0") else rest[1:]


def differing(source: PageSource, old: Side, new: Side) -> Iterator[Pair]:
    """(old entry or None, new entry or None) wherever two catalogs differ, in key order.

    Entries that differ in anything are named, also in where their chunks lie. Raises DamagedError or HostileError.
    """
    is_one_folder = old.folder == new.folder
    left = _Cursor(source, old, is_relative=not is_one_folder)
    right = _Cursor(source, new, is_relative=not is_one_folder)
    while (first := left.next) is not None and (second := right.next) is not None:
        if _precedes(first, second):
            yield from ((entry, None) for entry in _step(left, first))
        elif _precedes(second, first):
            yield from ((None, entry) for entry in _step(right, second))
        elif isinstance(first, _Row) and isinstance(second, _Row):
            if first.entry != second.entry:
                yield first.entry, second.entry
            left.skip()
            right.skip()
        elif is_one_folder and _is_one_page(first, second):
            left.skip()
            right.skip()
        else:
            _open_higher(left, first, right, second)
    yield from ((entry, None) for entry in _rest(left))
    yield from ((None, entry) for entry in _rest(right))


def _precedes(first: _Page | _Row, second: _Page | _Row) -> bool:
    """True when every key of the one is smaller than every key of the other."""
    if not first.until:
        return False
    return first.until < second.key if isinstance(second, _Row) else first.until <= second.after


def _is_one_page(first: _Page | _Row, second: _Page | _Row) -> bool:
    return isinstance(first, _Page) and isinstance(second, _Page) and first.row.page_id == second.row.page_id


def _open_higher(left: _Cursor, first: _Page | _Row, right: _Cursor, second: _Page | _Row) -> None:
    if isinstance(first, _Page) and first.level >= second.level:
        left.open(first)
    if isinstance(second, _Page) and second.level >= first.level:
        right.open(second)


def _step(cursor: _Cursor, item: _Page | _Row) -> Iterator[Entry]:
    """Take what only one side has: an entry at once, a page by opening it."""
    if isinstance(item, _Page):
        cursor.open(item)
        return
    cursor.skip()
    yield item.entry


def _rest(cursor: _Cursor) -> Iterator[Entry]:
    while (item := cursor.next) is not None:
        yield from _step(cursor, item)
