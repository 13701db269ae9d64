"""Writing below one folder and nowhere else: every step is relative to an open folder handle and follows no link.

Names are single components, checked by `safe_component`; a link, file or device in the way of a folder is replaced by
the folder, never entered.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
from collections import OrderedDict

from shared.errors import HostileError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_MAX = 512
_NAME_MAX = 255
_NEVER = frozenset((b"", b".", b".."))


def are_safe(names: list[bytes]) -> bool:
    """True when every name is a safe component; cheaper than asking one by one."""
    joined = b"".join(names)
    return (b"/" not in joined and b"\0" not in joined and _NEVER.isdisjoint(names)
            and max(map(len, names), default=0) <= _NAME_MAX)  # fmt: skip


def safe_component(name: bytes) -> bytes:
    """Return a name that stays within its folder; raises HostileError for any other."""
    if name in _NEVER or b"/" in name or b"\0" in name or len(name) > _NAME_MAX:
        raise HostileError("a stored name is no single component of a path", subject=repr(name[:80]),
                           next_step="do not restore this entry; run `farkeep verify` and ask where it came from")
    return name


class Confined:
    """A folder that is written into, with handles to the folders below it."""

    def __init__(self, handle: int, *, is_fresh: bool = False) -> None:
        """`handle`: the open folder, not closed here; `is_fresh`: it is empty, passes nothing on, and is all ours."""
        self._root, self._is_fresh = handle, is_fresh
        self._handles: OrderedDict[tuple[bytes, ...], int] = OrderedDict()
        self._plain: set[tuple[bytes, ...]] = set()
        self._entered: set[tuple[bytes, ...]] = set()
        raise_handle_limit()

    def is_plain(self, path: tuple[bytes, ...]) -> bool:
        """True for a folder made by this restore that inherited nothing: new entries in it have no surprises."""
        return self._is_fresh or path in self._plain

    def folder(self, path: tuple[bytes, ...]) -> int:
        """An open handle to the folder at `path`, made when it is missing. Raises OSError or HostileError."""
        if not path:
            return self._root
        handle = self._handles.get(path)
        if handle is not None:
            self._handles.move_to_end(path)
            return handle
        depth = len(path) - 1
        while depth and path[:depth] not in self._handles:
            depth -= 1
        handle = self._handles[path[:depth]] if depth else self._root
        for place in range(depth, len(path)):
            below = path[: place + 1]
            handle = self._handles[below] = self._enter(handle, safe_component(path[place]), below)
            if len(self._handles) > _OPEN_MAX:
                self._close_oldest(below)
        return handle

    def _enter(self, parent: int, name: bytes, path: tuple[bytes, ...]) -> int:
        if path not in self._entered:
            with contextlib.suppress(FileExistsError):
                self._make(parent, name, path)
            self._entered.add(path)
        try:
            return open_folder(parent, name)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
        os.unlink(name, dir_fd=parent)
        self._make(parent, name, path)
        return os.open(name, _FOLDER, dir_fd=parent)

    def _make(self, parent: int, name: bytes, path: tuple[bytes, ...]) -> None:
        os.mkdir(name, 0o700, dir_fd=parent)
        if path[:-1] in self._plain or inherits_nothing(parent):
            self._plain.add(path)

    def existing(self, path: tuple[bytes, ...]) -> int | None:
        """A handle to a folder that is there already (to be closed by the caller), or None."""
        handle = os.dup(self._root)
        for name in path:
            try:
                below = os.open(safe_component(name), _FOLDER, dir_fd=handle)
            except OSError:
                return None
            finally:
                os.close(handle)
            handle = below
        return handle

    def _close_oldest(self, kept: tuple[bytes, ...]) -> None:
        for path in list(self._handles)[: _OPEN_MAX // 2]:
            if path != kept:
                os.close(self._handles.pop(path))

    def close(self) -> None:
        """Close all handles."""
        while self._handles:
            os.close(self._handles.popitem()[1])


def open_folder(parent: int | None, name: bytes) -> int:
    """Open a folder to work in. One that denies its own owner is opened up first: its mode is applied in the end."""
    if os.geteuid():
        handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            about = os.fstat(handle)
            if about.st_uid == os.geteuid() and about.st_mode & 0o700 != 0o700:
                os.chmod(b"/proc/self/fd/%d" % handle, stat.S_IMODE(about.st_mode) | 0o700)
        finally:
            os.close(handle)
    return os.open(name, _FOLDER, dir_fd=parent)


def raise_handle_limit() -> None:
    """Let this process hold some thousand files open, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def inherits_nothing(folder: int) -> bool:
    """True when entries made in this folder take neither a group nor an ACL from it."""
    if os.fstat(folder).st_mode & stat.S_ISGID:
        return False
    try:
        return "system.posix_acl_default" not in os.listxattr(folder)
    except OSError:
        return True


def new_file(folder: int, name: bytes, mode: int) -> int:
    """Make a file that is not there yet and open it for writing."""
    return os.open(name, NEW_FILE, mode, dir_fd=folder)


def remove_entry(folder: int, name: bytes) -> None:
    """Remove what has this name: a folder only when it is empty."""
    about = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(about.st_mode):
        os.rmdir(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


def remove_tree(folder: int, name: bytes, device: int) -> int:
    """Remove an entry with all that is below it, never crossing to another file system; returns how many went.

    Raises OSError; PermissionError with EXDEV in its place when a mount stands in the way.
    """
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=folder)
        return 1
    count, trail = 0, [_emptied(folder, name, device)]
    try:
        while trail:
            handle, own_name, left = trail[-1]
            if not left:
                trail.pop()
                os.close(handle)
                os.rmdir(own_name, dir_fd=trail[-1][0] if trail else folder)
            elif stat.S_ISDIR(os.stat(left[-1], dir_fd=handle, follow_symlinks=False).st_mode):
                trail.append(_emptied(handle, left.pop(), device))
                continue
            else:
                os.unlink(left.pop(), dir_fd=handle)
            count += 1
    finally:
        for handle, _, _ in trail:
            os.close(handle)
    return count


def _emptied(folder: int, name: bytes, device: int) -> tuple[int, bytes, list[bytes]]:
    """A folder that is about to be emptied: its handle, its name, and the names in it."""
    handle = open_folder(folder, name)
    try:
        if os.fstat(handle).st_dev != device:
            raise OSError(errno.EXDEV, "another file system is mounted here", os.fsdecode(name))
        return handle, name, list(map(os.fsencode, os.listdir(handle)))
    except BaseException:
        os.close(handle)
        raise


def discard(folder: int, name: bytes) -> None:
    """Remove a temporary file that may be absent."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def write_all(handle: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`; raises OSError."""
    done = os.pwrite(handle, data, offset)
    while done < len(data):
        more = os.pwrite(handle, memoryview(data)[done:], offset + done)
        if more <= 0:
            raise OSError(errno.EIO, "a write made no progress")
        done += more
