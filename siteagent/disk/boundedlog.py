"""A file of lines that cannot grow without end: a full one gets another name, and only the two newest of those stay.

Unlike everything else below a home it is not durable and nobody relies on it, so it is written without a sync and
outside the Disk that crash tests replace. Several processes may write at a time: a line is one write to the end, and
whoever gives the file another name holds a lock on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

LIMIT_BYTES = 1 << 20
OLD_KEPT = 2


class BoundedLog:
    """The file at `path`, and older ones at `path`.1 and `path`.2; closed to other users."""

    def __init__(self, path: str, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path, self._limit_bytes = path, limit_bytes

    def append(self, line: str) -> None:
        """Write a line; raises OSError."""
        data = line.encode() + b"\n"
        handle = self._open()
        try:
            if os.fstat(handle).st_size + len(data) > self._limit_bytes and self._rotate(handle):
                os.close(handle)
                handle = self._open()
            os.write(handle, data)
        finally:
            os.close(handle)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _rotate(self, handle: int) -> bool:
        """Give the full file another name; False when another process is about to."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not os.path.samestat(os.fstat(handle), os.stat(self._path, follow_symlinks=False)):
            return True
        for number in range(OLD_KEPT, 0, -1):
            newer = f"{self._path}.{number - 1}" if number > 1 else self._path
            with contextlib.suppress(FileNotFoundError):
                os.rename(newer, f"{self._path}.{number}")
        return True
