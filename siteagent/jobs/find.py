"""Finding files in many snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from shared.errors import DamagedError, HostileError, RefusedError
from siteagent.home import Home
from siteagent.jobs.reading import catalog_of, reading
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalogsearch import CatalogSearch, Hit, Pattern


class Found(Struct):
    """A path that some snapshots of one NAME hold, as it is in the newest of them (`newest`)."""

    name: str
    hit: Hit
    newest: SnapshotEntry
    oldest: SnapshotEntry
    snapshots: int = 0


class Search(Struct):
    """What a search found, newest first, and the snapshots that could not be searched to the end, with the reason."""

    found: list[Found]
    unread: list[tuple[SnapshotEntry, str]]
    is_cut: bool = False
    """There is more than was asked for."""


def find(home: Home, pattern: Pattern, snapshots: Iterable[SnapshotEntry], limit: int | None = None) -> Search:
    """Look for entries in these snapshots, of which at most `limit` paths are wanted."""
    finds, unread = _Finds(limit), list[tuple[SnapshotEntry, str]]()
    with reading(home, "find"):
        pages = CatalogSearch(home.reader, pattern)
        for snapshot in sorted(snapshots, key=time_of, reverse=True):
            try:
                for hit in pages.hits(catalog_of(home, snapshot).root):
                    if not finds.add(snapshot, hit):
                        break
            except (DamagedError, HostileError, RefusedError) as error:
                unread.append((snapshot, str(error)))
    return Search(list(finds.known.values()), unread, finds.is_cut)


class _Finds:
    """What was found so far, by NAME and place in a catalog."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._last: dict[str, tuple[bytes, bytes]] = {}
        self.known: dict[tuple[str, bytes, bytes], Found] = {}
        self.is_cut = False

    def add(self, snapshot: SnapshotEntry, hit: Hit) -> bool:
        """Count a hit in; False when the rest of this snapshot can add nothing."""
        name, place = snapshot.summary.name if snapshot.summary is not None else "", (hit.folder, hit.name)
        found = self.known.get((name, *place))
        if found is None:
            if self._limit is not None and len(self.known) >= self._limit:
                self.is_cut = True
                return name in self._last and place < self._last[name]
            found = self.known[name, *place] = Found(name, hit, snapshot, snapshot)
            self._last[name] = max(place, self._last.get(name, place))
        found.oldest = snapshot
        found.snapshots += 1
        return True


def time_of(snapshot: SnapshotEntry) -> int:
    """When a snapshot was taken, in nanoseconds since 1970."""
    return snapshot.summary.time_ns if snapshot.summary is not None else snapshot.time_ns
