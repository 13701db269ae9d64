"""The calls of the operating system that `siteagent.disk.local` makes, watched and made to fail from within.

What counts as durable follows from the fsync that is really called, not from the call of the seam above it; a failure
comes from where the system reports it, so the shipped code between the two is part of every test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from siteagent.disk import local

SHORT = -1
"""In place of an errno: writes take less than they were given."""
FAILING = {"create": "open", "append": "pwritev", "sync": "fsync", "close": "close", "rename": "rename",
           "remove": "unlink", "make_folder": "makedirs", "sync_folder": "fsync",
           "allocate": "posix_fallocate"}  # fmt: skip
"""The system call in which an operation of the seam fails."""


class System:
    """Stands for the module `os` in `siteagent.disk.local`. One call of the seam is watched at a time."""

    def __init__(self) -> None:
        self.on_sync: Callable[[str], None] | None = None
        self._name, self._code, self.failed = "", 0, False

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def watch(self, operation: str, code: int | None, on_sync: Callable[[str], None] | None) -> None:
        """From here on: the operation that runs, what it fails with (None: nothing), who hears of syncs."""
        self._name, self._code = FAILING.get(operation, "") if code else "", code or 0
        self.on_sync, self.failed = on_sync, False

    def _fail(self, name: str) -> None:
        if self._name == name and self._code > 0:
            self.failed = True
            raise OSError(self._code, os.strerror(self._code))

    def open(self, path: str, flags: int, *more: Any) -> int:
        """Open a file or folder."""
        if flags & os.O_CREAT:
            self._fail("open")
        return os.open(path, flags, *more)

    def pwritev(self, handle: int, buffers: Sequence[memoryview], offset: int) -> int:
        """Write. Before it fails, a full disk still takes the beginning."""
        if self._name != "pwritev":
            return os.pwritev(handle, buffers, offset)
        whole = b"".join(buffers)
        done = os.pwrite(handle, whole[: (len(whole) + 1) // 2], offset)
        self._fail("pwritev")
        return done

    def posix_fallocate(self, handle: int, offset: int, length: int) -> None:
        """Take room."""
        self._fail("posix_fallocate")
        os.posix_fallocate(handle, offset, length)

    def fsync(self, handle: int) -> None:
        """Note what is durable from here on; while that is watched nothing is really synced, for no power fails."""
        self._fail("fsync")
        if self.on_sync is None:
            os.fsync(handle)
        else:
            self.on_sync(os.readlink(f"/proc/self/fd/{handle}"))

    def close(self, handle: int) -> None:
        """Close a handle: it is closed also when that fails."""
        os.close(handle)
        self._fail("close")

    def rename(self, source: str, target: str) -> None:
        """Give a file another name."""
        self._fail("rename")
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        self._fail("unlink")
        os.unlink(path)

    def makedirs(self, path: str, mode: int, exist_ok: bool) -> None:
        """Make a folder and its parents."""
        self._fail("makedirs")
        os.makedirs(path, mode, exist_ok)


SYSTEM = System()


def install() -> None:
    """Let `siteagent.disk.local` call the system through SYSTEM, in this process, for good: unwatched it changes
    nothing."""
    vars(local)["os"] = SYSTEM
