"""Searching many catalogs for entries: a page that several of them share is searched once.

What is remembered per page is what was found in it (mostly nothing), never its entries, so memory follows from the
number of different pages and of finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from shared.tree import FOLDER, path_of
from siteagent.store.catalog import Root, read_entries, read_index
from siteagent.store.chunklist import PageSource
from siteagent.store.page import Child


class Pattern(Protocol):
    """Which entries are looked for; their keys lie from `start` to before `stop` (empty: to the end)."""

    start: bytes
    stop: bytes
    is_folder_only: bool

    def places(self, folder: bytes, names: list[bytes], start: int, stop: int) -> Iterator[int]:
        """Places in `names`, from `start` to before `stop`, of what is looked for in a folder (its key)."""


class Hit(NamedTuple):
    """An entry that was found; times in nanoseconds since 1970. Hits sort as catalogs do, by folder key and name."""

    folder: bytes
    name: bytes
    type: int
    size_bytes: int
    mtime_ns: int

    @property
    def path(self) -> bytes:
        """Absolute path, raw bytes."""
        return path_of(self.folder, self.name)


class CatalogSearch:
    """One question to many catalogs of one home."""

    def __init__(self, source: PageSource, pattern: Pattern) -> None:
        self._source, self._pattern = source, pattern
        self._hits: dict[bytes, tuple[Hit, ...]] = {}
        self._worthwhile: dict[bytes, tuple[Child, ...]] = {}

    def hits(self, root: Root) -> Iterator[Hit]:
        """What one catalog holds, in order and only as far as it is asked for; raises DamagedError or HostileError."""
        if root.page_id:
            yield from self._below(Child(b"", root.page_id, 0, 0, root.segment), root.level)

    def _below(self, row: Child, level: int) -> Iterator[Hit]:
        if level == 0:
            hits = self._hits.get(row.page_id)
            if hits is None:
                hits = self._hits[row.page_id] = tuple(self._search(row))
            yield from hits
            return
        known = self._worthwhile.get(row.page_id)
        if known is not None:
            for child in known:
                yield from self._below(child, level - 1)
            return
        worthwhile = []
        for child in self._wanted(row, level):
            found = False
            for hit in self._below(child, level - 1):
                found = True
                yield hit
            if found:
                worthwhile.append(child)
        self._worthwhile[row.page_id] = tuple(worthwhile)

    def _wanted(self, row: Child, level: int) -> Iterator[Child]:
        """The children that may hold keys between `start` and `stop`."""
        pattern, after = self._pattern, b""
        for child in read_index(self._source, row, level):
            if child.last_key >= pattern.start and (not pattern.stop or after < pattern.stop):
                yield child
            after = child.last_key

    def _search(self, row: Child) -> Iterator[Hit]:
        page, pattern = read_entries(self._source, row), self._pattern
        types: list[int] = []
        for folder, start, stop in page.folders:
            for place in pattern.places(folder, page.names, start, stop):
                if not types:
                    types, sizes, times = page.numbers(4), page.numbers(8), page.numbers(9)
                if types[place] == FOLDER or not pattern.is_folder_only:
                    yield Hit(folder, page.names[place], types[place], sizes[place], times[place])
