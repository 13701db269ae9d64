"""Reading one local file through a handle, with its holes and extended attributes."""

from __future__ import annotations

import errno
import os
import stat
from operator import attrgetter

from siteagent.sources.base import Identity, SmallFile
from siteagent.sources.xattrs import ABSENT, read_xattrs

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_NO_ACCESS_TIME = getattr(os, "O_NOATIME", 0)

identity_of = attrgetter("st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


class PosixReader:
    """An open file."""

    __slots__ = ("_handle",)
    is_stream = False

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; returns the bytes read, 0 at the end."""
        return os.preadv(self._handle, [buffer], offset)

    def identity(self) -> Identity:
        """The file's identity now."""
        about = os.fstat(self._handle)
        return (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)

    def facts(self) -> os.stat_result:
        """What the view needs to describe the file as it is now."""
        return os.fstat(self._handle)

    def extents(self, size_bytes: int) -> list[tuple[int, int]] | None:
        """(offset, length) of the stretches that hold data, or None when there are no holes."""
        about = os.fstat(self._handle)
        if about.st_blocks * 512 >= size_bytes or not stat.S_ISREG(about.st_mode):
            return None
        found, at = [], 0
        while at < size_bytes:
            try:
                start = os.lseek(self._handle, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                return None
            end = min(os.lseek(self._handle, start, os.SEEK_HOLE), size_bytes)
            if end <= start:
                break
            found.append((start, end - start))
            at = end
        return None if found == [(0, size_bytes)] else found

    def xattrs(self) -> bytes:
        """Encoded extended attributes."""
        return read_xattrs(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def open_file(name: bytes, folder: int, may_hide_access: bool, *, follows: bool = False) -> PosixReader:
    """Open a regular file below a folder handle, leaving its access time alone where that is allowed.

    `follows`: the name is a root, which may be a link.
    """
    flags = _FLAGS & ~os.O_NOFOLLOW if follows else _FLAGS
    if may_hide_access:
        try:
            return PosixReader(os.open(name, flags | _NO_ACCESS_TIME, dir_fd=folder))
        except PermissionError:
            pass
    return PosixReader(os.open(name, flags, dir_fd=folder))


def read_small_files(names: list[bytes], identities: list[Identity], places: list[int], folder: int,
                     buffer: memoryview, is_root: bool) -> list[SmallFile]:
    """Read files of one folder whole, back to back into `buffer`, until one does not fit.

    The hottest loop of a first backup: five system calls and no object but the result per file.
    """
    flags = _FLAGS | _NO_ACCESS_TIME if is_root else _FLAGS
    found: list[SmallFile] = []
    at, room = 0, len(buffer)
    for place in places:
        identity = identities[place]
        size = identity[1]
        if at + size >= room:
            break
        try:
            handle = os.open(names[place], flags, dir_fd=folder)
        except OSError as error:
            found.append(SmallFile(place, 0, -1, b"", error))
            continue
        try:
            done = os.preadv(handle, [buffer[at : at + size + 1]], 0)
            xattrs = read_xattrs(handle) if os.listxattr(handle) else b""
            if done == size and identity_of(os.fstat(handle)) == identity:
                found.append(SmallFile(place, at, size, xattrs))
                at += size
            else:
                found.append(SmallFile(place, 0, -1, b""))
        except OSError as error:
            found.append(SmallFile(place, 0, -1, b"", None if error.errno in ABSENT else error))
        finally:
            os.close(handle)
    return found
