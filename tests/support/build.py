"""Make a described tree on disk, and say what the user or the file system did not allow."""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.descriptions import (
    Content,
    Description,
    Device,
    Fifo,
    File,
    Folder,
    HardLink,
    Metadata,
    Node,
    Socket,
    Symlink,
)
from tests.support.places import place

# What a file system or an ordinary user may refuse; anything else is a fault of the test's machine and is raised.
_REFUSALS = frozenset(
    {
        *(errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG),
        *(errno.EEXIST, errno.EMLINK, errno.E2BIG, errno.ERANGE, errno.EOVERFLOW),
    }
)
# An inode's room for attributes is small; a full disk shows when contents are written.
_ATTRIBUTE_REFUSALS = _REFUSALS | {errno.ENOSPC}


@dataclass(frozen=True)
class LeftOut:
    """Part ``what`` ("entry", "owner", "mode", "times", or an attribute's name) that could not be made at ``path``."""

    path: bytes
    what: str
    reason: str


def build(description: Description, root: Path) -> tuple[LeftOut, ...]:
    """Make the tree at ``root`` (created when absent, else an empty folder) and return what was left out.

    Folders get their attributes, times and modes last, deepest first. FileExistsError when the root holds something.
    """
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty")
    builder = _Builder(root)
    for path, node in description.entries:
        builder.make(path, node)
    for path, node in reversed(description.entries):
        if not isinstance(node, HardLink):
            builder.describe(path, node.metadata)
    builder.describe(b"", description.root)
    return tuple(builder.left_out)


class _Builder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._absent: set[bytes] = set()
        self.left_out: list[LeftOut] = []

    def make(self, path: bytes, node: Node) -> None:
        needed = [path.rpartition(b"/")[0], *([node.path] if isinstance(node, HardLink) else [])]
        if self._absent.intersection(needed):
            self._absent.add(path)
            self.left_out.append(LeftOut(path, "entry", "what it needs was left out"))
            return
        with place(self._root, path) as address:
            is_made = self._attempt(path, "entry", lambda: self._make_node(address, node))
        if not is_made:
            self._absent.add(path)

    def _make_node(self, address: bytes, node: Node) -> None:
        match node:
            case Folder():
                os.mkdir(address, 0o700)
            case File():
                _write(address, node.content)
            case Symlink():
                os.symlink(node.target, address)
            case Fifo():
                os.mkfifo(address, 0o600)
            case Device():
                kind = stat.S_IFBLK if node.is_block else stat.S_IFCHR
                os.mknod(address, kind | 0o600, os.makedev(node.major, node.minor))
            case Socket():
                # Unlike bind(2), this has no limit of 108 bytes on the path, and needs no rights (mknod(2)).
                os.mknod(address, stat.S_IFSOCK | 0o600)
            case HardLink():
                with place(self._root, node.path) as source:
                    os.link(source, address, follow_symlinks=False)

    def describe(self, path: bytes, metadata: Metadata) -> None:
        if path in self._absent:
            return
        with place(self._root, path) as address:
            self._set_metadata(path, address, metadata)

    def _set_metadata(self, path: bytes, address: bytes, metadata: Metadata) -> None:
        # The owner comes first, because changing it drops capabilities and setuid bits; the mode last, because with it
        # the rights for the other steps may go.
        owner = metadata.owner
        if owner is not None:
            self._attempt(path, "owner", lambda: os.chown(address, *owner, follow_symlinks=False))
        for name, value in metadata.xattrs:
            set_value = _xattr_setter(address, name, value)
            self._attempt(path, name.decode("ascii", "backslashreplace"), set_value)
        times = (metadata.mtime_ns, metadata.mtime_ns)
        self._attempt(path, "times", lambda: os.utime(address, ns=times, follow_symlinks=False))
        if not stat.S_ISLNK(os.lstat(address).st_mode):
            self._attempt(path, "mode", lambda: os.chmod(address, metadata.mode))

    def _attempt(self, path: bytes, what: str, action: Callable[[], None]) -> bool:
        is_attribute = what not in ("entry", "owner", "times", "mode")
        try:
            action()
        except OSError as error:
            if error.errno not in (_ATTRIBUTE_REFUSALS if is_attribute else _REFUSALS):
                raise
            self.left_out.append(LeftOut(path, what, errno.errorcode.get(error.errno or 0, str(error.errno))))
            return False
        return True


def _xattr_setter(address: bytes, name: bytes, value: bytes) -> Callable[[], None]:
    return lambda: os.setxattr(address, name, value, follow_symlinks=False)


def _write(address: bytes, content: Content) -> None:
    file_fd = os.open(address, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(file_fd, content.size_bytes)
        for offset, piece in content.pieces():
            write_all(file_fd, piece, offset)
    finally:
        os.close(file_fd)


def write_all(file_fd: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``, however the kernel cuts it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file_fd, view, offset)
        view = view[written:]
        offset += written
