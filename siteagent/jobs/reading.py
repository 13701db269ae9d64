"""What every job that only reads does first: register a lease, bring the index in line, find the entry of a path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import RefusedError
from shared.tree import child_folder, folder_key
from siteagent.home import Home
from siteagent.ledger.state import SnapshotEntry
from siteagent.salvage import refresh_index
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry


@contextmanager
def reading(home: Home, job: str) -> Iterator[None]:
    """Hold a lease while a block reads, with an index that knows every pack that is there."""
    lease = home.leases.register(job)
    try:
        refresh_index(home)
        yield
    finally:
        lease.end()


def catalog_of(home: Home, entry: SnapshotEntry) -> Catalog:
    """The tree of a snapshot, for a job that holds its lease; raises RefusedError when a prune gave it up before."""
    if entry.id in home.ledger.history().swept:
        raise RefusedError("this snapshot was pruned meanwhile", subject=entry.id.hex(),
                           next_step="choose another one: `farkeep snapshots`")
    return home.catalog(entry)


def find_entry(catalog: Catalog, path: bytes) -> Entry | None:
    """The entry at an absolute path; None for `/` when it was no root itself. Raises RefusedError when it is absent."""
    entry = entry_at(catalog, path)
    if entry is None and path.strip(b"/"):
        raise RefusedError("this path is not in the snapshot", subject=os.fsdecode(path),
                           next_step="look with `farkeep ls`; the path is the absolute one that was backed up")
    return entry


def entry_at(catalog: Catalog, path: bytes) -> Entry | None:
    """The entry at an absolute path, or None."""
    components = [part for part in path.split(b"/") if part]
    if not components:
        return catalog.find(b"", b"")
    return catalog.find(folder_key(components[:-1]), components[-1])


def folder_below(entry: Entry | None) -> bytes:
    """The key of the folder that an entry names (None: `/`)."""
    return b"" if entry is None else child_folder(entry.folder, entry.name)

