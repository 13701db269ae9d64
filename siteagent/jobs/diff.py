"""What changed between two snapshots, or between two folders of snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from shared.errors import RefusedError
from shared.tree import ANCESTOR, FILE, FOLDER, LINK, TYPE_NAMES, UNREADABLE, path_of
from siteagent.home import Home
from siteagent.jobs.reading import catalog_of, find_entry, folder_below, reading
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalog import Catalog
from siteagent.store.catalogdiff import Pair, Side, differing
from siteagent.store.entry import Entry

ChangeKind = Literal["added", "removed", "type", "content", "metadata"]


class Part(Struct, frozen=True):
    """A snapshot, and the absolute path in it that is compared (None: all of it)."""

    snapshot: SnapshotEntry
    path: bytes | None


class Change(Struct, frozen=True):
    """One path that differs. `path` is absolute when both sides name one folder, else relative to the two.

    `type` and `size_bytes` are those of the new entry (removed: of the old one), `old_size_bytes` of the old one; sizes
    are 0 for all but files.
    """

    kind: ChangeKind
    path: bytes
    type: str
    size_bytes: int
    old_size_bytes: int


def diff(home: Home, old: Part, new: Part) -> Iterator[Change]:
    """The differences in the order of a catalog, as they are found.

    Raises RefusedError when a path is not there or the two cannot be compared, DamagedError when a catalog does not
    read.
    """
    _require_one_domain(old.snapshot, new.snapshot)
    with reading(home, "diff"):
        before, after = catalog_of(home, old.snapshot), catalog_of(home, new.snapshot)
        first, second = _top(before, old.path), _top(after, new.path)
        if (first is None or first.type == FOLDER) and (second is None or second.type == FOLDER):
            yield from _folders(home, Side(before.root, folder_below(first)), Side(after.root, folder_below(second)))
        elif first is None or second is None:
            raise RefusedError("a whole snapshot cannot be compared with a single file",
                               subject=f"{old.snapshot.id.hex()}, {new.snapshot.id.hex()}",
                               next_step="name a path on both sides")
        elif (kind := change_kind(first, second)) is not None:
            yield _change(kind, second.path if first.path == second.path else second.name, first, second)


def change_kind(old: Entry, new: Entry) -> ChangeKind | None:
    """How two versions of an entry differ; None when only bookkeeping does (ctime, inode, where chunks lie)."""
    if old.type != new.type:
        return "type"
    if _content(old) != _content(new):
        return "content"
    if old.flags & new.flags & ANCESTOR:
        return None
    return "metadata" if _metadata(old) != _metadata(new) else None


def size_of(entry: Entry | None) -> int:
    """The size of a file in bytes; 0 for everything else."""
    return entry.size if entry is not None and entry.type == FILE else 0


def _content(entry: Entry) -> tuple[object, ...]:
    """What is equal exactly when the content is: chunk ids and chunk lists name what they hold, and so do targets."""
    if entry.type == FILE:
        return entry.ids, entry.lengths, entry.tree, entry.size, entry.flags & UNREADABLE
    return entry.target if entry.type == LINK else b"", entry.device


def _metadata(entry: Entry) -> tuple[object, ...]:
    return entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.xattrs, entry.extra


def _require_one_domain(old: SnapshotEntry, new: SnapshotEntry) -> None:
    domains = {snapshot.summary.domain for snapshot in (old, new) if snapshot.summary is not None}
    if len(domains) > 1:
        raise RefusedError("these snapshots name their chunks under different keys, so contents cannot be compared",
                           subject=f"{old.id.hex()}, {new.id.hex()}",
                           next_step="compare snapshots of one machine, or restore both and compare the files")


def _top(catalog: Catalog, path: bytes | None) -> Entry | None:
    return find_entry(catalog, path) if path is not None else None


def _folders(home: Home, old: Side, new: Side) -> Iterator[Change]:
    is_one_folder = old.folder == new.folder
    for pair in differing(home.reader, old, new):
        kind, entry = _kind(pair), pair[1] or pair[0]
        if kind is not None and entry is not None and entry.name:
            path = entry.path if is_one_folder else _below(entry, new.folder if pair[1] else old.folder)
            yield _change(kind, path, *pair)


def _kind(pair: Pair) -> ChangeKind | None:
    old, new = pair
    if old is not None and new is not None:
        return change_kind(old, new)
    return "added" if old is None else "removed"


def _below(entry: Entry, folder: bytes) -> bytes:
    """The path of an entry relative to a folder."""
    above = path_of(folder, b"") if folder else b""
    return entry.path[len(above) + 1 :]


def _change(kind: ChangeKind, path: bytes, old: Entry | None, new: Entry | None) -> Change:
    entry = new or old
    return Change(kind, path, TYPE_NAMES[entry.type] if entry is not None else "", size_of(new or old), size_of(old))
