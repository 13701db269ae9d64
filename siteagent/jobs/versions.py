"""The versions of one path over the snapshots of a NAME, equal ones collapsed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from shared.tree import FILE, FOLDER, LINK, TYPE_NAMES
from siteagent.home import Home
from siteagent.jobs.diff import ChangeKind, change_kind
from siteagent.jobs.reading import catalog_of, entry_at, reading
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalog import Root
from siteagent.store.entry import Entry


class Version(Struct):
    """A path as it was from `first` to `last` of the snapshots of a NAME, of which there are `snapshots`.

    `type` None: it was not there. `size_bytes` is 0 for all but files and links. `change` tells it from the version
    before: the first one was added.
    """

    first: SnapshotEntry
    last: SnapshotEntry
    snapshots: int
    change: ChangeKind
    type: str | None
    size_bytes: int
    mtime_ns: int


def versions(home: Home, path: bytes, snapshots: Iterable[SnapshotEntry]) -> Iterator[Version]:
    """The versions, oldest first; `snapshots` are those of one NAME, oldest first. None before the path appears.

    Of a folder only whether it is there makes a version. Raises DamagedError when a catalog does not read.
    """
    version: Version | None = None
    before: Entry | None = None
    known: tuple[Root, Entry | None] | None = None
    with reading(home, "history"):
        for snapshot in snapshots:
            catalog = catalog_of(home, snapshot)
            entry = known[1] if known is not None and known[0] == catalog.root else entry_at(catalog, path)
            known = catalog.root, entry
            change = _change(before, entry)
            if change is not None:
                if version is not None:
                    yield version
                version = _version(snapshot, entry, change)
            elif version is not None:
                version.last = snapshot
                version.snapshots += 1
            before = entry
    if version is not None:
        yield version


def _change(before: Entry | None, entry: Entry | None) -> ChangeKind | None:
    if before is None or entry is None:
        if before is entry:
            return None
        return "added" if before is None else "removed"
    change = change_kind(before, entry)
    return None if change != "type" and entry.type == FOLDER else change


def _version(snapshot: SnapshotEntry, entry: Entry | None, change: ChangeKind) -> Version:
    if entry is None:
        return Version(snapshot, snapshot, 1, change, None, 0, 0)
    size = entry.size if entry.type in (FILE, LINK) else 0
    return Version(snapshot, snapshot, 1, change, TYPE_NAMES[entry.type], size, entry.mtime_ns)
