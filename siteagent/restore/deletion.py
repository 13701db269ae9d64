"""Removing what a snapshot does not have: only strictly below a restored root, never across a mount, never a home."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from shared.tree import FOLDER, child_folder, path_of
from siteagent.disk.confined import Confined, remove_tree
from siteagent.restore.worker import Mapping
from siteagent.store.catalog import Catalog


@dataclass
class Extra:
    """Entries of the target that the snapshot does not have."""

    rows: list[tuple[tuple[bytes, ...], bytes]] = field(default_factory=list)
    kept: list[tuple[bytes, str]] = field(default_factory=list)


def find_extra(catalog: Catalog, mapping: Mapping, confined: Confined, protects: Callable[[bytes, bool], bool],
               home: tuple[int, int]) -> Extra:
    """Compare the target with the snapshot, folder by folder. `protects` tells names that selection leaves alone."""
    extra = Extra()
    for folder, names, folders in _folders(catalog, mapping):
        path = mapping.folder(folder)
        handle = confined.existing(path)
        if handle is None:
            continue
        try:
            device = os.fstat(handle).st_dev
            for name in sorted(map(os.fsencode, os.listdir(handle))):
                about = os.stat(name, dir_fd=handle, follow_symlinks=False)
                is_folder = stat.S_ISDIR(about.st_mode)
                if name in names and (name in folders or not is_folder):
                    continue
                if is_folder and about.st_dev != device:
                    extra.kept.append((path_of(folder, name), "another file system is mounted here"))
                elif is_folder and holds(handle, name, home):
                    extra.kept.append((path_of(folder, name), "the home lies here"))
                elif not protects(path_of(folder, name), is_folder):
                    extra.rows.append((path, name))
        finally:
            os.close(handle)
    return extra


def _folders(catalog: Catalog, mapping: Mapping) -> Iterator[tuple[bytes, set[bytes], set[bytes]]]:
    """(folder key, names in it, names of folders in it) of the restored root and every folder below it."""
    waiting: dict[bytes, tuple[set[bytes], set[bytes]]] = {mapping.prefix: (set(), set())}
    for entry in catalog.below(mapping.prefix):
        if entry.folder not in waiting:
            waiting[entry.folder] = (set(), set())
        waiting[entry.folder][0].add(entry.name)
        if entry.type == FOLDER:
            waiting[entry.folder][1].add(entry.name)
            waiting.setdefault(child_folder(entry.folder, entry.name), (set(), set()))
        for done in [key for key in waiting if key < entry.folder]:
            yield done, *waiting.pop(done)
    for folder in sorted(waiting):
        yield folder, *waiting[folder]


def holds(folder: int, name: bytes, home: tuple[int, int]) -> bool:
    """True when a folder is the home or contains it."""
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        about = os.fstat(handle)
        if (about.st_dev, about.st_ino) == home:
            return True
        with os.scandir(handle) as listing:
            names = [os.fsencode(item.name) for item in listing if item.is_dir(follow_symlinks=False)]
        return any(holds(handle, child, home) for child in names)
    finally:
        os.close(handle)


def remove(extra: Extra, confined: Confined) -> tuple[int, list[tuple[bytes, str]]]:
    """Remove them; returns how many entries went, and what could not be removed."""
    count, errors = 0, list[tuple[bytes, str]]()
    for path, name in extra.rows:
        try:
            handle = confined.folder(path)
            count += remove_tree(handle, name, os.fstat(handle).st_dev)
        except OSError as error:
            errors.append((b"/".join((*path, name)), error.strerror or str(error)))
    return count, errors
