"""Removing what a snapshot does not have: only strictly below a restored root, never across a mount, never a home.

Only folders that the snapshot lists whole are compared. The folders above a root are in it because of the root alone;
an empty folder may be one that was not entered when the snapshot was taken: a mount, the home, one without permission.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import stat
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from shared.tree import ANCESTOR, FOLDER, child_folder, path_of
from siteagent.disk.confined import Confined, remove_tree
from siteagent.restore.worker import Mapping
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry


class Extra(Struct):
    """Entries of the target that the snapshot does not have."""

    rows: list[tuple[tuple[bytes, ...], bytes]] = field(default_factory=list)
    kept: list[tuple[bytes, str]] = field(default_factory=list)


class Spared(Struct, frozen=True):
    """What is left alone: names that `protects` tells, the home (real paths of its folder and of the files beside it;
    the folder's device and inode), and in a snapshot with errors whatever an empty folder of it may have held. `target`
    is the real path of the restored root."""

    protects: Callable[[bytes, bool], bool]
    target: str
    home: tuple[str, ...]
    identity: tuple[int, int]
    has_errors: bool

    def holds_home(self, path: tuple[bytes, ...]) -> bool:
        """True when a place below the target is a part of the home or contains one."""
        place = os.path.join(os.fsencode(self.target), *path, b"")
        return any(os.fsencode(part + os.sep).startswith(place) for part in self.home)


class _Listing(Struct):
    """A folder as the snapshot has it: its key, whether it is listed whole, the names in it, and which are folders."""

    key: bytes
    is_whole: bool
    names: set[bytes] = field(default_factory=set)
    folders: set[bytes] = field(default_factory=set)


def find_extra(catalog: Catalog, mapping: Mapping, root: Entry | None, confined: Confined, spared: Spared) -> Extra:
    """Compare the target with the snapshot, folder by folder. `root`: the entry that the target becomes, if any."""
    extra = Extra()
    if mapping.only_name:
        return extra
    for listing in _listings(catalog, mapping.prefix, root):
        path = mapping.folder(listing.key)
        handle = confined.existing(path) if listing.is_whole else None
        if handle is None:
            continue
        try:
            if listing.names or not _may_be_unseen(handle, path, spared):
                _compare(handle, path, listing, spared, extra)
            elif spared.has_errors and os.listdir(handle):
                reason = "it is empty in a snapshot that could not read everything: what is in it was left alone"
                extra.kept.append((path_of(listing.key, b""), reason))
        finally:
            os.close(handle)
    return extra


def _may_be_unseen(handle: int, path: tuple[bytes, ...], spared: Spared) -> bool:
    """True when a folder may be empty in the snapshot because it was not entered."""
    about = os.fstat(handle)
    is_mount = bool(path) and os.stat("..", dir_fd=handle).st_dev != about.st_dev
    return is_mount or spared.has_errors or (about.st_dev, about.st_ino) == spared.identity


def _compare(handle: int, path: tuple[bytes, ...], listing: _Listing, spared: Spared, extra: Extra) -> None:
    device = os.fstat(handle).st_dev
    for name, about in _present(handle, listing.key, extra):
        is_folder = stat.S_ISDIR(about.st_mode)
        if name in listing.names and (name in listing.folders or not is_folder):
            continue
        if is_folder and about.st_dev != device:
            extra.kept.append((path_of(listing.key, name), "another file system is mounted here"))
        elif spared.holds_home((*path, name)) or (about.st_dev, about.st_ino) == spared.identity:
            extra.kept.append((path_of(listing.key, name), "the home lies here"))
        elif not spared.protects(path_of(listing.key, name), is_folder):
            extra.rows.append((path, name))


def _present(handle: int, key: bytes, extra: Extra) -> Iterator[tuple[bytes, os.stat_result]]:
    """What a folder of the target holds now. Others may work in it: what vanishes meanwhile is passed over."""
    try:
        names = sorted(map(os.fsencode, os.listdir(handle)))
    except OSError as error:
        extra.kept.append((path_of(key, b""), f"it could not be listed: {error.strerror}"))
        return
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            yield name, os.stat(name, dir_fd=handle, follow_symlinks=False)


def _listings(catalog: Catalog, prefix: bytes, root: Entry | None) -> Iterator[_Listing]:
    """The restored root and every folder below it, in catalog order."""
    waiting = [(prefix, root is not None and not root.flags & ANCESTOR)]
    current: _Listing | None = None
    for entry in catalog.below(prefix):
        if not entry.name:
            continue
        if current is None or entry.folder != current.key:
            if current is not None:
                yield current
            while waiting and waiting[0][0] < entry.folder:
                yield _Listing(*heapq.heappop(waiting))
            is_expected = bool(waiting) and waiting[0][0] == entry.folder
            current = _Listing(entry.folder, heapq.heappop(waiting)[1] if is_expected else False)
        current.names.add(entry.name)
        if entry.type == FOLDER:
            current.folders.add(entry.name)
            heapq.heappush(waiting, (child_folder(entry.folder, entry.name), not entry.flags & ANCESTOR))
    if current is not None:
        yield current
    while waiting:
        yield _Listing(*heapq.heappop(waiting))


def remove(extra: Extra, confined: Confined) -> tuple[int, list[tuple[bytes, str]]]:
    """Remove them; returns how many entries went, and what could not be removed."""
    count, errors = 0, list[tuple[bytes, str]]()
    for path, name in extra.rows:
        try:
            handle = confined.folder(path)
            count += remove_tree(handle, name, os.fstat(handle).st_dev)
        except FileNotFoundError:
            continue
        except OSError as error:
            errors.append((b"/".join((*path, name)), error.strerror or str(error)))
    return count, errors
