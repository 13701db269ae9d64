"""Making a restored tree durable: the file systems that it lies on are synced, and no others.

sync(2) waits for every disk of the machine, a broken one among them, and tells nothing of what failed; syncfs(2) does
neither. A target may reach into mounts below it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

from siteagent.disk.mounts import MOUNT_TABLE, read_mounts


def sync_target(handle: int) -> None:
    """Make everything below an open folder durable; raises OSError when the disk refuses."""
    os.fsync(handle)
    _sync_file_system(handle)
    for folder in _mounts_below(os.readlink(b"/proc/self/fd/%d" % handle)):
        with contextlib.suppress(PermissionError, FileNotFoundError, NotADirectoryError):
            mounted = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _sync_file_system(mounted)
            finally:
                os.close(mounted)


def _mounts_below(path: bytes) -> Iterator[bytes]:
    with open(MOUNT_TABLE, "rb") as table:
        mounts = read_mounts(table.read())
    inside = path.rstrip(b"/") + b"/"
    return (mount.folder for mount in mounts if mount.folder.startswith(inside) and mount.folder != inside)


def _sync_file_system(handle: int) -> None:
    if ctypes.CDLL(None, use_errno=True).syncfs(handle):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
