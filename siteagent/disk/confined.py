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


class _Place:
    """A folder below the root: once per folder, however deep it lies, since paths of its parts would add up."""

    __slots__ = ("below", "handle", "is_entered", "is_plain", "name", "parent")

    def __init__(self, parent: _Place | None, name: bytes, handle: int = -1) -> None:
        self.parent, self.name, self.handle = parent, name, handle
        self.below: dict[bytes, _Place] = {}
        self.is_entered = self.is_plain = False


class Confined:
    """A folder that is written into, with handles to the folders below it."""

    def __init__(self, handle: int, *, is_fresh: bool = False) -> None:
        """`handle`: the open folder, not closed here; `is_fresh`: it is empty, passes nothing on, and is all ours."""
        self._top, self._is_fresh = _Place(None, b"", handle), is_fresh
        self._top.is_entered = True
        self._open: OrderedDict[_Place, None] = OrderedDict()
        self._newest: tuple[tuple[bytes, ...], _Place] = ((), self._top)
        raise_handle_limit()

    def _place(self, path: tuple[bytes, ...]) -> _Place:
        known, place = self._newest
        if path == known:
            return place
        above = max(len(path) - 1, 0)
        if above == 0 or path[:above] != known[:above]:
            above, place = 0, self._top
        else:
            for _ in range(len(known) - above):
                place = place.parent or self._top
        for name in path[above:]:
            below = place.below.get(name)
            place.below[name] = place = below if below is not None else _Place(place, name)
        self._newest = path, place
        return place

    def is_plain(self, path: tuple[bytes, ...]) -> bool:
        """True for a folder made by this restore that inherited nothing: new entries in it have no surprises."""
        return self._is_fresh or self._place(path).is_plain

    def folder(self, path: tuple[bytes, ...]) -> int:
        """An open handle to the folder at `path`, made when it is missing. Raises OSError or HostileError."""
        place = self._place(path)
        if place.handle >= 0 and place.is_entered:
            if place is not self._top:
                self._open.move_to_end(place)
            return place.handle
        way = [place]
        while (above := way[-1].parent) is not None and (above.handle < 0 or not above.is_entered):
            way.append(above)
        for below in reversed(way):
            self._keep(below, self._enter(_handle_above(below), below))
        return place.handle

    def _keep(self, place: _Place, handle: int) -> None:
        if place.handle >= 0:
            os.close(place.handle)
        place.handle = handle
        self._open[place] = None
        self._open.move_to_end(place)
        if len(self._open) > _OPEN_MAX:
            self._close_oldest()

    def _enter(self, parent: int, place: _Place) -> int:
        name = safe_component(place.name)
        if not place.is_entered:
            with contextlib.suppress(FileExistsError):
                self._make(parent, place)
            place.is_entered = True
        try:
            return open_folder(parent, name)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
        os.unlink(name, dir_fd=parent)
        self._make(parent, place)
        return os.open(name, _FOLDER, dir_fd=parent)

    def _make(self, parent: int, place: _Place) -> None:
        os.mkdir(place.name, 0o700, dir_fd=parent)
        if (place.parent is not None and place.parent.is_plain) or inherits_nothing(parent):
            place.is_plain = True

    def existing(self, path: tuple[bytes, ...]) -> int | None:
        """A handle to a folder that is there already (to be closed by the caller), or None."""
        place = self._place(path)
        way = [place]
        while way[-1].handle < 0 and (above := way[-1].parent) is not None:
            way.append(above)
        try:
            for below in reversed(way):
                if below.handle < 0:
                    self._keep(below, os.open(safe_component(below.name), _FOLDER, dir_fd=_handle_above(below)))
            return os.dup(place.handle)
        except OSError:
            return None

    def _close_oldest(self) -> None:
        for _ in range(_OPEN_MAX // 2):
            place, _ = self._open.popitem(last=False)
            os.close(place.handle)
            place.handle = -1

    def close(self) -> None:
        """Close all handles."""
        while self._open:
            place, _ = self._open.popitem()
            os.close(place.handle)
            place.handle = -1


def _handle_above(place: _Place) -> int:
    return place.parent.handle if place.parent is not None else -1


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
