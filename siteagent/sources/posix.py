"""Files of the local Linux, Unix or macOS machine: a live view, walked through folder handles, no link followed.

Every folder is opened relative to its parent with O_NOFOLLOW, so that swapping a folder for a link while a backup
runs leads nowhere. Only roots named by the user are followed when they are links.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import chain, islice, takewhile
from operator import itemgetter

from shared.tree import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    FIFO,
    FILE,
    FOLDER,
    FOLDER_KEY_MAX_BYTES,
    LINK,
    child_folder,
    path_of,
)
from siteagent.disk.confined import raise_handle_limit
from siteagent.sources.base import Batch, Metadata, Reader, Selection, Skipped, SmallFile, SourceError
from siteagent.sources.posixfile import PosixReader, identity_of, open_file, read_small_files
from siteagent.sources.roots import Node
from siteagent.sources.xattrs import read_xattrs

_TYPES = {
    stat.S_IFREG: FILE, stat.S_IFDIR: FOLDER, stat.S_IFLNK: LINK, stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHARACTER_DEVICE, stat.S_IFBLK: BLOCK_DEVICE,
}  # fmt: skip
_KINDS = frozenset(kind >> 12 for kind in _TYPES)
_FOLDER_KIND = stat.S_IFDIR >> 12
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
_INLINE_MAX = 4096
"""File systems keep the content of very small files inside the inode, where it counts as no block."""
_OPEN_FOLDERS_MAX = 400
_PART_ENTRIES = 1 << 14
"""Entries of one folder that are looked at together: a million at once would take a gigabyte."""
_CACHE_TAG, _CACHE_SIGNATURE = b"CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55"


class _Folder:
    """A folder on the walk's path; its handle is closed when too many are open and opened again when needed."""

    __slots__ = ("device", "handle", "is_followed", "key", "name", "node", "parent", "root")

    def __init__(self, parent: _Folder | None, name: bytes, key: bytes, node: Node | None, root: bytes | None) -> None:
        self.parent, self.name, self.key, self.node, self.root = parent, name, key, node, root
        self.handle = -1
        self.device = 0
        self.is_followed = False


class PosixView:
    """The live file system below some roots."""

    quality = "live"
    is_repeatable = True

    def __init__(self, roots: Node, selection: Selection | None, home: tuple[int, int] | None, *,
                 is_one_file_system: bool = False, skips_caches: bool = False,
                 vanished: Sequence[SourceError] = ()) -> None:
        """`home`: (device, inode) of the folder to leave out; `vanished`: what was wanted and is not there."""
        self._roots, self._selection, self._home = roots, selection, home
        self._one_file_system, self._skips_caches = is_one_file_system, skips_caches
        self._vanished = tuple(vanished)
        self.skipped = Skipped()
        self._open: list[_Folder] = []
        self._user = os.geteuid()
        raise_handle_limit()

    def batches(self) -> Iterator[Batch]:
        """Folders in catalog order."""
        self.skipped = Skipped(errors=list(self._vanished))
        top = _Folder(None, b"/", b"", self._roots, self._roots.root)
        top.is_followed = True
        pending = [top]
        if self._roots.root is not None:
            about = os.stat("/")
            yield Batch(b"", [b""], [identity_of(about)], [about], self._handle(top))
        while pending:
            folder = pending.pop()
            below: list[_Folder] = []
            for batch in self._parts(folder):
                yield batch
                below += self._subfolders(folder, batch)
            pending.extend(reversed(below))

    def _parts(self, folder: _Folder) -> Iterator[Batch]:
        """A folder's entries: at once, or in parts when there are very many."""
        if len(folder.key) > FOLDER_KEY_MAX_BYTES:
            self._fail(folder.key, b"", "the path is longer than 32 KiB")
            return
        try:
            handle = self._handle(folder)
            if folder.root is None:
                yield self._batch(folder, handle, self._look_up(folder, handle))
                return
            items, names = _listed(handle)
            if not names:
                yield self._batch(folder, handle, self._scan(folder, handle, items))
                return
        except OSError as error:
            self._fail(folder.key, b"", error.strerror or str(error))
            return
        yield from self._large(folder, handle, names)

    def _large(self, folder: _Folder, handle: int, names: list[bytes]) -> Iterator[Batch]:
        """A folder of very many entries: the names are held, what else is known of them for one part at a time."""
        names.sort()
        children = folder.node.children if folder.node else {}
        if self._skips_caches and _CACHE_TAG in names and _is_cache(handle):
            self.skipped.excluded += len(names) - 1
            names = [_CACHE_TAG]
        for start in range(0, len(names), _PART_ENTRIES):
            part = names[start : start + _PART_ENTRIES]
            found = self._select(folder, handle, self._look_at_each(folder, handle, part, children))
            batch = self._batch(folder, handle, found)
            if start + len(part) < len(names):
                batch.until = part[-1]
            yield batch

    def _batch(self, folder: _Folder, handle: int, found: list[tuple[bytes, os.stat_result]]) -> Batch:
        found.sort(key=itemgetter(0))
        names = [name for name, _ in found]
        facts = [about for _, about in found]
        children = folder.node.children if folder.node else {}
        is_way = folder.root is None
        ancestors = frozenset(name for name, node in children.items() if is_way and node.root is None)
        followed = frozenset(name for name, node in children.items()
                             if (is_way or node.root is not None) and name in names and _is_link(handle, name))
        return Batch(folder.key, names, list(map(identity_of, facts)), facts, handle, ancestors, followed)

    def _scan(self, folder: _Folder, handle: int,
              items: list[os.DirEntry[str]]) -> list[tuple[bytes, os.stat_result]]:
        names = [item.name.encode("utf-8", "surrogateescape") for item in items]
        children = folder.node.children if folder.node else None
        try:
            if children:
                raise FileNotFoundError
            found = list(zip(names, [item.stat(follow_symlinks=False) for item in items], strict=True))
        except OSError:
            found = self._look_at_each(folder, handle, names, children or {})
        return self._select(folder, handle, found)

    def _look_at_each(self, folder: _Folder, handle: int, names: list[bytes],
                      children: dict[bytes, Node]) -> list[tuple[bytes, os.stat_result]]:
        """With care: a root among the names is followed, what vanished is passed over, trouble is noted."""
        found = []
        for name in names:
            is_root = name in children and children[name].root is not None
            try:
                found.append((name, os.stat(name, dir_fd=handle, follow_symlinks=is_root)))
            except FileNotFoundError as error:
                if is_root:
                    self._fail(folder.key, name, error.strerror or str(error))
            except OSError as error:
                self._fail(folder.key, name, error.strerror or str(error))
        return found

    def _select(self, folder: _Folder, handle: int,
                found: list[tuple[bytes, os.stat_result]]) -> list[tuple[bytes, os.stat_result]]:
        if not _KINDS.issuperset({about.st_mode >> 12 for _, about in found}):
            known = [row for row in found if row[1].st_mode >> 12 in _KINDS]
            self.skipped.sockets += len(found) - len(known)
            found = known
        if self._skips_caches and any(name == _CACHE_TAG for name, _ in found) and _is_cache(handle):
            self.skipped.excluded += len(found) - 1
            found = [row for row in found if row[0] == _CACHE_TAG]
        return found if self._selection is None else self._wanted(folder, found, self._selection)

    def _wanted(self, folder: _Folder, found: list[tuple[bytes, os.stat_result]],
                selection: Selection) -> list[tuple[bytes, os.stat_result]]:
        children, root = folder.node.children if folder.node else {}, folder.root or b"/"
        kept = [
            (name, about) for name, about in found
            if name in children or not selection.excludes(
                root, path_of(folder.key, name), is_folder=stat.S_ISDIR(about.st_mode),
                size_bytes=about.st_size if stat.S_ISREG(about.st_mode) else 0)
        ]  # fmt: skip
        self.skipped.excluded += len(found) - len(kept)
        return kept

    def _look_up(self, folder: _Folder, handle: int) -> list[tuple[bytes, os.stat_result]]:
        """Only the named children of a folder on the way to a root; ancestors may be links and are followed."""
        found = []
        for name in folder.node.children if folder.node else ():
            try:
                found.append((name, os.stat(name, dir_fd=handle)))
            except OSError as error:
                self._fail(folder.key, name, error.strerror or str(error))
        return found

    def _subfolders(self, folder: _Folder, batch: Batch) -> list[_Folder]:
        result = []
        children = folder.node.children if folder.node else {}
        if folder.root is not None and children:
            self._note_out_of_reach(folder, batch, children)
        for place in [at for at, identity in enumerate(batch.identities) if identity[0] >> 12 == _FOLDER_KIND]:
            name, about = batch.names[place], batch.facts[place]
            node = children.get(name)
            path = child_folder(folder.key, name)
            if self._home == (about.st_dev, about.st_ino):
                self.skipped.home.append(path_of(folder.key, name))
                continue
            is_explicit = node is not None and (node.root is not None or folder.root is None)
            if self._one_file_system and folder.root and not is_explicit and about.st_dev != folder.device:
                self.skipped.excluded += 1
                continue
            root = node.root if node is not None and node.root is not None else folder.root
            below = _Folder(folder, name, path, node, root)
            below.device = about.st_dev
            below.is_followed = is_explicit
            result.append(below)
        return result

    def _note_out_of_reach(self, folder: _Folder, batch: Batch, children: dict[bytes, Node]) -> None:
        """Roots that were named below another one, and that are gone, or have a link (never followed there) before
        them."""
        kinds = {name: identity[0] >> 12 for name, identity in zip(batch.names, batch.identities, strict=True)}
        known = {error.path for error in self.skipped.errors}
        for name, node in children.items():
            if name in kinds:
                is_lost, what = node.root is None and kinds[name] != _FOLDER_KIND, "is no folder"
            else:
                is_lost, what = batch.until is None and not _is_there(batch.handle, name), "is not there"
            if is_lost:
                reason = f"{os.fsdecode(path_of(folder.key, name))} {what}; no link below a root is followed"
                self.skipped.errors += [SourceError(root, reason) for root in node.roots() if root not in known]

    def _handle(self, folder: _Folder) -> int:
        """A folder's handle; those above it that were closed are opened again, however many there are."""
        way: list[_Folder] = []
        above: _Folder | None = folder
        while above is not None and above.handle < 0:
            way.append(above)
            above = above.parent
        for below in reversed(way):
            flags = _FOLDER_FLAGS if below.is_followed else _FOLDER_FLAGS | os.O_NOFOLLOW
            if below.parent is None:
                below.handle = os.open(b"/", flags)
            else:
                below.handle = os.open(below.name, flags, dir_fd=below.parent.handle)
            self._open.append(below)
            if len(self._open) > _OPEN_FOLDERS_MAX:
                self._close_folders(_OPEN_FOLDERS_MAX // 2)
        return folder.handle

    def _close_folders(self, count: int) -> None:
        for folder in self._open[:count]:
            os.close(folder.handle)
            folder.handle = -1
        del self._open[:count]

    def _fail(self, folder: bytes, name: bytes, reason: str) -> None:
        self.skipped.errors.append(SourceError(path_of(folder, name), reason))

    def describe(self, batch: Batch, place: int) -> Metadata:
        """What is recorded of an entry."""
        about: os.stat_result = batch.facts[place]
        kind = _TYPES[stat.S_IFMT(about.st_mode)]
        group = 0
        if about.st_nlink > 1 and kind != FOLDER:
            # The device's own number: one given out in the order of this walk would be another one the next time.
            group = (about.st_dev << 64) + about.st_ino
        device = about.st_rdev if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else 0
        return Metadata(kind, about.st_mode, about.st_uid, about.st_gid, about.st_size, about.st_mtime_ns,
                        about.st_ctime_ns, about.st_ino, group, device)  # fmt: skip

    def is_sparse(self, batch: Batch, place: int) -> bool:
        """True when a file may have holes."""
        about: os.stat_result = batch.facts[place]
        return about.st_blocks * 512 < about.st_size and about.st_size > _INLINE_MAX

    def read_small(self, batch: Batch, places: list[int], buffer: memoryview) -> list[SmallFile]:
        """Read files whole into `buffer`, one after the other, as many of `places` as fit."""
        if batch.followed:
            if batch.names[places[0]] in batch.followed:
                return [SmallFile(places[0], 0, -1, b"")]
            places = list(takewhile(lambda place: batch.names[place] not in batch.followed, places))
        return read_small_files(batch.names, batch.identities, places, batch.handle, buffer, self._user == 0)

    def open(self, batch: Batch, place: int) -> PosixReader:
        """Open a file for reading."""
        about: os.stat_result = batch.facts[place]
        name = batch.names[place]
        return open_file(name, batch.handle, self._user in (0, about.st_uid), follows=name in batch.followed)

    def refresh(self, batch: Batch, place: int, reader: Reader) -> None:
        """Take over what an open file says of itself now."""
        about = reader.facts()
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.ESTALE, "it became something else while it was read")
        batch.facts[place], batch.identities[place] = about, identity_of(about)

    def target(self, batch: Batch, place: int) -> bytes:
        """The target of a link."""
        return os.readlink(batch.names[place], dir_fd=batch.handle)

    def xattrs(self, batch: Batch, place: int) -> bytes:
        """Encoded extended attributes of an entry that is not a file."""
        name = batch.names[place]
        if name not in batch.followed:
            return read_xattrs(b"/proc/self/fd/%d/%s" % (batch.handle, name))
        handle = os.open(name, _FOLDER_FLAGS, dir_fd=batch.handle)
        try:
            return read_xattrs(handle)
        finally:
            os.close(handle)

    def close(self) -> None:
        """Close all folders."""
        self._close_folders(len(self._open))


def _listed(handle: int) -> tuple[list[os.DirEntry[str]], list[bytes]]:
    """The entries of a folder, or (when there are very many) their names alone."""
    with os.scandir(handle) as listing:
        items = list(islice(listing, _PART_ENTRIES + 1))
        if len(items) <= _PART_ENTRIES:
            return items, []
        return [], [item.name.encode("utf-8", "surrogateescape") for item in chain(items, listing)]


def _is_link(folder: int, name: bytes) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _is_there(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _is_cache(handle: int) -> bool:
    try:
        tag = os.open(_CACHE_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
    except OSError:
        return False
    try:
        return os.read(tag, len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE
    except OSError:
        # A folder of that name, or a tag that cannot be read: what is no cache for sure is backed up.
        return False
    finally:
        os.close(tag)
