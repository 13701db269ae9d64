"""Handing entries to the catalog in order, while the content of some is still being stored."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from siteagent.capture.deltas import Awaited
from siteagent.store.catalog import Leaf
from siteagent.store.catalogbuilder import CatalogBuilder
from siteagent.store.entry import Entry

_WAITING_MAX = 512


class _Kept(NamedTuple):
    """Rows of the previous catalog that stay as they are."""

    leaf: Leaf
    start: int
    stop: int


class Replaced(NamedTuple):
    """The row of the previous catalog in whose place an entry comes."""

    leaf: Leaf
    place: int


class _Captured(NamedTuple):
    """An entry; the segment of its only chunk is known once `awaited` is settled."""

    entry: Entry
    awaited: Awaited | None
    replaced: Replaced | None


class Outlet:
    """A queue before a catalog's builder: empty most of the time, and then it costs nothing."""

    def __init__(self, builder: CatalogBuilder) -> None:
        self._builder = builder
        self._waiting: deque[_Kept | _Captured] = deque()

    def add(self, entry: Entry, awaited: Awaited | None, replaced: Replaced | None) -> None:
        """Hand on an entry that was captured."""
        if awaited is None and not self._waiting:
            self._build(entry, replaced)
        else:
            self._wait(_Captured(entry, awaited, replaced))

    def _build(self, entry: Entry, replaced: Replaced | None) -> None:
        if replaced is None:
            self._builder.add(entry)
        else:
            self._builder.add_changed(*replaced, entry)

    def add_unchanged(self, leaf: Leaf, start: int, stop: int) -> None:
        """Hand on rows of the previous catalog."""
        if not self._waiting:
            self._builder.add_unchanged(leaf, start, stop)
        else:
            self._wait(_Kept(leaf, start, stop))

    def _wait(self, item: _Kept | _Captured) -> None:
        self._waiting.append(item)
        while self._waiting and (len(self._waiting) > _WAITING_MAX or _is_ready(self._waiting[0])):
            self._release()

    def _release(self) -> None:
        item = self._waiting.popleft()
        if isinstance(item, _Kept):
            self._builder.add_unchanged(item.leaf, item.start, item.stop)
        elif item.awaited is None:
            self._build(item.entry, item.replaced)
        else:
            (piece,) = item.awaited.settle()
            segments = piece.segment, *item.entry.segments[1:]
            self._build(item.entry._replace(segments=segments), item.replaced)

    def finish(self) -> None:
        """Hand on what still waits."""
        while self._waiting:
            self._release()


def _is_ready(item: _Kept | _Captured) -> bool:
    return isinstance(item, _Kept) or item.awaited is None or item.awaited.is_ready
