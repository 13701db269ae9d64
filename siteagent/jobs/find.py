"""Finding files in many snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from shared.errors import DamagedError, HostileError
from siteagent.home import Home
from siteagent.jobs.reading import reading
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
    search, known = Search([], []), dict[tuple[str, bytes], Found]()
    with reading(home, "find"):
        pages = CatalogSearch(home.reader, pattern)
        for snapshot in sorted(snapshots, key=time_of, reverse=True):
            name = snapshot.summary.name if snapshot.summary is not None else ""
            try:
                for hit in pages.hits(home.catalog(snapshot).root):
                    found = known.get((name, hit.path))
                    if found is None:
                        if limit is not None and len(known) >= limit:
                            search.is_cut = True
                            continue
                        found = known[name, hit.path] = Found(name, hit, snapshot, snapshot)
                    found.oldest = snapshot
                    found.snapshots += 1
            except (DamagedError, HostileError) as error:
                search.unread.append((snapshot, str(error)))
    search.found = list(known.values())
    return search


def time_of(snapshot: SnapshotEntry) -> int:
    """When a snapshot was taken, in nanoseconds since 1970."""
    return snapshot.summary.time_ns if snapshot.summary is not None else snapshot.time_ns
