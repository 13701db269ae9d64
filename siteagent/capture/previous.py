"""The previous snapshot's catalog, read alongside the walk: a cursor that moves forward folder by folder."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.errors import DamagedError, HostileError
from shared.tree import ANCESTOR, FILE
from siteagent.sources.base import Identity
from siteagent.store.catalog import Catalog, Leaf
from siteagent.store.entry import Entry
from siteagent.store.names import SegmentName
from siteagent.store.page import side_segments

NOTED_FILES_MAX = 200_000
"""Files remembered to recognise renamed ones: what is beyond counts as removed and new."""


class Slice(NamedTuple):
    """The rows of one folder within one entry page of the previous catalog."""

    leaf: Leaf
    start: int
    stop: int
    names: list[bytes]
    identities: list[Identity | None]

    def cut(self, start: int, stop: int) -> Slice:
        """A part of it."""
        return Slice(self.leaf, self.start + start, self.start + stop, self.names[start:stop],
                     self.identities[start:stop])  # fmt: skip

    def entry(self, place: int) -> Entry:
        """The entry at `place` within this slice."""
        return self.leaf.page.row(self.start + place)


@dataclass
class Previous:
    """A cursor over the previous catalog; `None` where there is no previous snapshot."""

    catalog: Catalog | None
    unusable: frozenset[SegmentName] = frozenset()
    removed: int = 0
    damage: str = ""
    removed_files: set[tuple[int, int]] = field(default_factory=set)
    """(inode, size) of removed files, to recognise renamed ones."""

    def __post_init__(self) -> None:
        self._slices = self._read()
        self._next: tuple[bytes, Slice] | None = next(self._slices, None)

    def _read(self) -> Iterator[tuple[bytes, Slice]]:
        if self.catalog is None:
            return
        try:
            for leaf in self.catalog.leaves():
                page = leaf.page
                if leaf.row.segment in self.unusable:
                    # Taking such a page over whole is out of the question: it is put together and stored anew.
                    leaf = leaf._replace(is_last=True)
                identities = self._trusted(leaf)
                for folder, start, stop in page.folders:
                    yield folder, Slice(leaf, start, stop, page.names[start:stop], identities[start:stop])
        except (DamagedError, HostileError) as error:
            self.damage = str(error)

    def _trusted(self, leaf: Leaf) -> list[Identity | None]:
        """Identities of a page; None for entries whose content must not be relied on."""
        identities = leaf.page.identities()
        if leaf.row.segment in self.unusable:
            return [None] * len(identities)
        if self.unusable and not self.unusable.isdisjoint(side_segments(leaf.page.side)):
            rows = leaf.page.rows()
            tainted = [bool(row.tree) or self._is_tainted(row) for row in rows]
            return [None if bad else known for bad, known in zip(tainted, identities, strict=True)]
        return identities

    def _is_tainted(self, row: Entry) -> bool:
        return self.catalog is None or not self.unusable.isdisjoint(self.catalog.needs(row))

    def take(self, folder: bytes, until: bytes | None = None) -> list[Slice]:
        """The slices of this folder (up to the name `until`); folders before it are gone from the source."""
        while self._next is not None and self._next[0] < folder:
            self._remove(self._next[1])
            self._next = next(self._slices, None)
        found = []
        while self._next is not None and self._next[0] == folder:
            part = self._next[1]
            if until is not None and part.names[-1] > until:
                count = bisect_right(part.names, until)
                found += [part.cut(0, count)] if count else []
                self._next = folder, part.cut(count, len(part.names))
                break
            found.append(part)
            self._next = next(self._slices, None)
        return found

    def finish(self) -> None:
        """Count what is left as removed."""
        while self._next is not None:
            self._remove(self._next[1])
            self._next = next(self._slices, None)

    def _remove(self, part: Slice) -> None:
        for place in range(len(part.names)):
            self.note_removed(part, place)

    def note_removed(self, part: Slice, place: int) -> None:
        """Count one entry as removed (folders on the way to a root are no part of the source)."""
        entry = part.entry(place)
        self.removed += not entry.flags & ANCESTOR
        if entry.type == FILE and entry.size and len(self.removed_files) < NOTED_FILES_MAX:
            self.removed_files.add((entry.inode, entry.size))
