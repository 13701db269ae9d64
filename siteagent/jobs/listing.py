"""What a snapshot holds (`ls`) and what a home holds (`stats`)."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from msgspec import Struct

from shared.tree import FILE, FOLDER, LINK, TYPE_NAMES
from siteagent.disk.disk import Disk
from siteagent.home import Home
from siteagent.jobs.reading import catalog_of, find_entry, folder_below, reading
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry


class Row(Struct, frozen=True):
    """One entry as it is listed. `size_bytes` 0 for all but files and links; `target` None for all but links."""

    path: bytes
    type: str
    size_bytes: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    target: bytes | None
    flags: int


def list_entries(home: Home, snapshot: SnapshotEntry, path: bytes | None, *, is_recursive: bool) -> Iterator[Row]:
    """The entries of a folder (a file: itself), or everything below it; `path` None: the whole snapshot.

    Raises RefusedError when there is no such path, DamagedError when the catalog does not read.
    """
    with reading(home, "ls"):
        catalog = catalog_of(home, snapshot)
        entry = find_entry(catalog, path) if path is not None else None
        if entry is not None and entry.type != FOLDER:
            yield _row(catalog, entry)
            return
        folder = folder_below(entry)
        found = catalog.below(folder) if is_recursive or path is None else catalog.folder(folder)
        for below in found:
            yield _row(catalog, below)


def _row(catalog: Catalog, entry: Entry) -> Row:
    size = entry.size if entry.type in (FILE, LINK) else 0
    target = catalog.target(entry) if entry.type == LINK else None
    return Row(entry.path, TYPE_NAMES[entry.type], size, stat.S_IMODE(entry.mode), entry.uid, entry.gid,
               entry.mtime_ns, target, entry.flags)


class Stats(Struct, frozen=True):
    """What a home holds and costs, in numbers and bytes on disk."""

    site: bytes
    site_name: str
    snapshots: int
    forgotten: int
    """Forgotten and not swept yet; `snapshots` does not count them."""
    names: int
    oldest_ns: int
    newest_ns: int
    bytes_seen: int
    """What the newest snapshots of all names would take when restored."""
    packs: int
    segments: int
    damaged_segments: int
    bytes_data: int
    bytes_catalog: int
    bytes_manifests: int
    bytes_log: int
    bytes_index: int
    bytes_free: int

    @property
    def bytes_stored(self) -> int:
        """Everything but the index, which is a cache."""
        return self.bytes_data + self.bytes_catalog + self.bytes_manifests + self.bytes_log


def stats(home: Home) -> Stats:
    """Add up what a home holds; reads the log and the sizes of files, no segment."""
    history = home.ledger.history()
    newest = {entry.summary.name: entry.summary for entry in history.wanted if entry.summary is not None}
    times = [entry.summary.time_ns if entry.summary else entry.time_ns for entry in history.wanted]
    packs = history.packs.values()
    return Stats(
        site=home.keyring.site_id, site_name=history.site_name, snapshots=len(times),
        forgotten=len(history.forgotten), names=len(newest),
        oldest_ns=min(times, default=0), newest_ns=max(times, default=0),
        bytes_seen=sum(summary.bytes_seen for summary in newest.values()), packs=len(packs),
        segments=sum(pack.segments for pack in packs), damaged_segments=len(history.damaged),
        bytes_data=sum(_pack_bytes(home, pack.id) for pack in packs if pack.kind != "catalog"),
        bytes_catalog=sum(_pack_bytes(home, pack.id) for pack in packs if pack.kind == "catalog"),
        bytes_manifests=_folder_bytes(home.disk, "snapshots") + _folder_bytes(home.disk, "reaches"),
        bytes_log=_folder_bytes(home.disk, "log"), bytes_index=_folder_bytes(home.disk, "index"),
        bytes_free=home.disk.free_bytes(),
    )  # fmt: skip


def _pack_bytes(home: Home, pack_id: bytes) -> int:
    """Length of a pack without the holes in it."""
    return min(home.packs.size(pack_id) or 0, home.packs.allocated(pack_id))


def _folder_bytes(disk: Disk, folder: str) -> int:
    return sum(disk.size(f"{folder}/{name}") or 0 for name in disk.list(folder))
