"""An independent witness of what a tree holds: describe two trees, compare them, read the differences.

It shares no code with the product, keeps raw bytes throughout, never follows a link below the root, opens nothing but
folders and regular files, and says what it could not read: nothing unseen passes for equal. Not looked at: atime,
ctime, birth time, the sizes and link counts of folders, hard links to names outside the tree.
"""

import enum
import errno
import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.holes import HoleMap, hole_difference, read_hole_map
from tests.support.places import folder_address

_READ_BYTES = 1 << 20
_PRIVILEGED = (b"trusted.", b"security.")
_DENIED = (errno.EACCES, errno.EPERM)


class Kind(enum.Enum):
    """What an entry is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    FIFO = "fifo"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    SOCKET = "socket"


_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFSOCK: Kind.SOCKET,
}
_DEVICES = (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)


class Ignore(enum.Enum):
    """Differences a comparison may be told to pass over."""

    ROOT = "the root's own metadata"
    SOCKETS = "sockets must be absent after"
    DEVICES = "device nodes may be absent after"
    OWNERS = "uid and gid"
    MODES = "permission bits"
    TIMES = "modification times"
    FOLDER_TIMES = "modification times of folders"
    XATTRS = "all extended attributes"
    PRIVILEGED_XATTRS = "trusted.* and security.*"
    HOLES = "where a sparse file has data"
    LINKS = "which paths share an inode"
    UNREAD = "what could not be read"


AS_ORDINARY_USER = frozenset({Ignore.OWNERS, Ignore.DEVICES, Ignore.PRIVILEGED_XATTRS})


@dataclass(frozen=True)
class Entry:
    """One entry; a field is None where its kind has no such thing, or where ``unread`` names it."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size_bytes: int | None = None
    sha256: str | None = None
    holes: HoleMap | None = None
    target: bytes | None = None
    device: tuple[int, int] | None = None
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Tree:
    """All entries by path below the root (``b""`` is the root itself), and the sets of paths that share an inode."""

    entries: Mapping[bytes, Entry]
    link_groups: frozenset[frozenset[bytes]]

    def paths(self, *kinds: Kind) -> frozenset[bytes]:
        """The paths of the given kinds, of all kinds when none is given."""
        return frozenset(path for path, entry in self.entries.items() if not kinds or entry.kind in kinds)

    def unread_paths(self) -> frozenset[bytes]:
        """Entries of which content, children or attributes were closed to this user."""
        return frozenset(path for path, entry in self.entries.items() if entry.unread)

    def without(self, left_out: Collection[bytes]) -> "Tree":
        """The tree without these paths and all below them."""
        gone = frozenset(left_out)
        kept = {path: entry for path, entry in self.entries.items() if not gone.intersection((path, *_parents(path)))}
        return Tree(kept, _groups_within(self.link_groups, kept))

    def below(self, folder: bytes) -> "Tree":
        """The subtree of ``folder`` with that folder as its root."""
        start = folder + b"/" if folder else b""
        inside = {path: path[len(start) :] for path in self.entries if (path + b"/").startswith(start)}
        kept = {inside[path]: self.entries[path] for path in inside}
        groups = _groups_within(self.link_groups, inside)
        return Tree(kept, frozenset(frozenset(inside[path] for path in group) for group in groups))


def shown(path: bytes) -> str:
    """The path in printable ASCII only."""
    return repr(path) if path else "(root)"


def describe(root: Path) -> Tree:
    """Describe ``root`` and all below it. A root that is a link is followed; a file as root is a tree of one entry.

    OSError when the root cannot be opened, RuntimeError when a file changes meanwhile.
    """
    address = os.path.realpath(os.fsencode(root))
    entries: dict[bytes, Entry] = {}
    inodes: dict[tuple[int, int], set[bytes]] = {}
    for path, status, entry in _walk(b"", address):
        entries[path] = entry
        if entry.kind is not Kind.FOLDER and status.st_nlink > 1:
            inodes.setdefault((status.st_dev, status.st_ino), set()).add(path)
    return Tree(entries, frozenset(frozenset(paths) for paths in inodes.values() if len(paths) > 1))


def _walk(path: bytes, address: bytes) -> Iterator[tuple[bytes, os.stat_result, Entry]]:
    status = os.lstat(address)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    if kind is not Kind.FOLDER:
        yield path, status, _entry(path, kind, address, status, frozenset())
        return
    try:
        folder_fd = os.open(address, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _DENIED or not path:
            raise
        yield path, status, _entry(path, kind, address, status, frozenset({"children"}))
        return
    try:
        here = folder_address(folder_fd)
        is_searchable = os.access(here, os.X_OK)
        unread = frozenset() if is_searchable else frozenset({"children"})
        yield path, status, _entry(path, kind, address, status, unread)
        for name in sorted(os.listdir(here)) if is_searchable else []:
            yield from _walk(path + b"/" + name if path else name, here + b"/" + name)
    finally:
        os.close(folder_fd)


def _entry(path: bytes, kind: Kind, address: bytes, status: os.stat_result, unread: frozenset[str]) -> Entry:
    xattrs, unread_xattrs = _read_xattrs(address)
    size_bytes, sha256, holes = None, None, None
    if kind is Kind.FILE:
        size_bytes = status.st_size
        try:
            sha256, holes = _read_content(path, address, status)
        except PermissionError:
            unread |= {"content"}
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        size_bytes=size_bytes,
        sha256=sha256,
        holes=holes,
        target=os.readlink(address) if kind is Kind.SYMLINK else None,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in _DEVICES else None,
        xattrs=xattrs,
        unread=unread | unread_xattrs,
    )


def _read_content(path: bytes, address: bytes, status: os.stat_result) -> tuple[str, HoleMap]:
    file_fd = os.open(address, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        opened = os.fstat(file_fd)
        holes = read_hole_map(file_fd)
        digest = hashlib.sha256()
        size_bytes = 0
        os.lseek(file_fd, 0, os.SEEK_SET)
        while piece := os.read(file_fd, _READ_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    finally:
        os.close(file_fd)
    seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if seen != (opened.st_dev, opened.st_ino, size_bytes, opened.st_mtime_ns):
        raise RuntimeError(f"{shown(path)} changed while it was described")
    return digest.hexdigest(), holes


def _read_xattrs(address: bytes) -> tuple[dict[bytes, bytes], frozenset[str]]:
    values: dict[bytes, bytes] = {}
    try:
        for name in os.listxattr(address, follow_symlinks=False):
            values[os.fsencode(name)] = os.getxattr(address, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in _DENIED:
            return {}, frozenset({"xattrs"})
        if error.errno != errno.ENOTSUP:
            raise
    return values, frozenset()


def compare(before: Tree, after: Tree, *, ignore: Collection[Ignore] = frozenset()) -> list[str]:
    """The differences, one line each as ``PATH: aspect: before -> after``; empty when ``after`` is a faithful copy.

    What follows from a difference is not repeated: nothing below a missing folder, no content where sizes differ.
    """
    if Ignore.SOCKETS in ignore:
        before = before.without(before.paths(Kind.SOCKET))
    if Ignore.DEVICES in ignore:
        before = before.without(before.paths(*_DEVICES) - after.paths())
    return [
        *_lonely(before, after, "missing"),
        *_lonely(after, before, "not expected"),
        *(line for path in sorted(before.paths() & after.paths()) for line in _compared(path, before, after, ignore)),
        *([] if Ignore.LINKS in ignore else _link_lines(before, after)),
    ]


def _lonely(tree: Tree, other: Tree, word: str) -> Iterator[str]:
    alone = tree.paths() - other.paths()
    common = tree.paths() & other.paths()
    changed = {path for path in common if tree.entries[path].kind is not other.entries[path].kind}
    below: dict[bytes, int] = {}
    tops = []
    for path in alone:
        top = next((parent for parent in _parents(path) if parent in alone or parent in changed), None)
        if top is None:
            tops.append(path)
        else:
            below[top] = below.get(top, 0) + 1
    for path in sorted(tops):
        count = f" with {below[path]} below" if path in below else ""
        yield f"{shown(path)}: {word}: {tree.entries[path].kind.value}{count}"


def _compared(path: bytes, before: Tree, after: Tree, ignore: Collection[Ignore]) -> Iterator[str]:
    old, new = before.entries[path], after.entries[path]
    if old.kind is not new.kind:
        yield f"{shown(path)}: type: {old.kind.value} -> {new.kind.value}"
    elif path or Ignore.ROOT not in ignore:
        for lines in (_metadata_lines, _content_lines, _xattr_lines):
            yield from (f"{shown(path)}: {line}" for line in lines(old, new, ignore))


def _metadata_lines(old: Entry, new: Entry, ignore: Collection[Ignore]) -> Iterator[str]:
    if Ignore.MODES not in ignore and old.mode != new.mode:
        yield f"mode: {old.mode:04o} -> {new.mode:04o}"
    if Ignore.OWNERS not in ignore and old.uid != new.uid:
        yield f"uid: {old.uid} -> {new.uid}"
    if Ignore.OWNERS not in ignore and old.gid != new.gid:
        yield f"gid: {old.gid} -> {new.gid}"
    is_time_ignored = Ignore.TIMES in ignore or (Ignore.FOLDER_TIMES in ignore and old.kind is Kind.FOLDER)
    if not is_time_ignored and old.mtime_ns != new.mtime_ns:
        yield f"mtime_ns: {old.mtime_ns} -> {new.mtime_ns}"


def _content_lines(old: Entry, new: Entry, ignore: Collection[Ignore]) -> Iterator[str]:
    if Ignore.UNREAD not in ignore and (old.unread or new.unread):
        yield f"unread: {sorted(old.unread)} -> {sorted(new.unread)}"
    if old.target != new.target:
        yield f"target: {old.target!r} -> {new.target!r}"
    if old.device != new.device:
        yield f"device: {old.device} -> {new.device}"
    if old.size_bytes != new.size_bytes:
        yield f"size: {old.size_bytes} -> {new.size_bytes}"
    elif old.sha256 is not None and new.sha256 is not None and old.sha256 != new.sha256:
        yield f"content: {old.sha256} -> {new.sha256}"
    elif Ignore.HOLES not in ignore and old.holes is not None and new.holes is not None:
        lost = hole_difference(old.holes, new.holes)
        if lost is not None:
            yield f"holes: {lost}"


def _xattr_lines(old: Entry, new: Entry, ignore: Collection[Ignore]) -> Iterator[str]:
    if Ignore.XATTRS in ignore or "xattrs" in old.unread | new.unread:
        return
    for name in sorted({*old.xattrs, *new.xattrs}):
        if Ignore.PRIVILEGED_XATTRS in ignore and name.startswith(_PRIVILEGED):
            continue
        values = (old.xattrs.get(name), new.xattrs.get(name))
        if values[0] != values[1]:
            yield f"xattr {name!r}: {_brief(values[0])} -> {_brief(values[1])}"


def _brief(value: bytes | None) -> str:
    if value is None:
        return "none"
    if len(value) <= 60:
        return repr(value)
    return f"{value[:40]!r}... ({len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:12]})"


def _link_lines(before: Tree, after: Tree) -> Iterator[str]:
    # A missing name is reported as such, so groups are compared among the names both trees have.
    common = before.paths() & after.paths()
    old = _groups_within(before.link_groups, common)
    new = _groups_within(after.link_groups, common)
    for group in sorted(old - new, key=sorted):
        parts = " and ".join(_shown_group(part) for part in sorted(new, key=sorted) if part & group)
        yield f"{shown(min(group))}: hard links: {_shown_group(group)} -> {parts or 'none'}"
    for group in sorted(new - old, key=sorted):
        if not any(group & part for part in old):
            yield f"{shown(min(group))}: hard links: none -> {_shown_group(group)}"


def _groups_within(groups: Collection[frozenset[bytes]], paths: Collection[bytes]) -> frozenset[frozenset[bytes]]:
    kept = (frozenset(path for path in group if path in paths) for group in groups)
    return frozenset(group for group in kept if len(group) > 1)


def _shown_group(group: frozenset[bytes]) -> str:
    return "{" + ", ".join(shown(path) for path in sorted(group)) + "}"


def _parents(path: bytes) -> Iterator[bytes]:
    """The folders above ``path``, nearest first, without the root."""
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path
