"""One owner process per home: a lock that a dead holder never keeps.

The lock is `flock(2)` on H/owner, released by the kernel when its process ends. The file's content tells others who
holds it: JSON {process, command, since_ns}; not on which machine, for it stays behind when the holder is killed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from datetime import UTC, datetime

from shared.clock import Clock
from shared.errors import UnavailableError
from siteagent.disk.local import write_error

_POLL_S = 0.2
_NOTE_BYTES_MAX = 4096


class Owner:
    """The right to open a home; held until `release`."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def release(self) -> None:
        """Give the home back; harmless when called twice."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.ftruncate(handle, 0)
            os.close(handle)


def take_home(home: str, command: str, clock: Clock, wait_s: float = 0.0) -> Owner:
    """Become the owner of a home, waiting up to `wait_s` seconds (0: not at all).

    Raises UnavailableError naming the holder and since when it holds the home.
    """
    path = os.path.join(home, "owner")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UnavailableError("this user may not open the home", subject=home,
                                   next_step="run as the user who made it (or as root)") from error
        raise write_error(error, path) from error
    until_ns = clock.monotonic_ns() + int(wait_s * 1e9)
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if clock.monotonic_ns() >= until_ns:
                holder = read_holder(os.pread(handle, _NOTE_BYTES_MAX, 0))
                os.close(handle)
                raise UnavailableError(f"the home is in use by {holder}", subject=home,
                                       next_step="wait for it, or run again with --wait") from None
            clock.sleep(_POLL_S)
    _sign(handle, command, clock)
    return Owner(handle)


def _sign(handle: int, command: str, clock: Clock) -> None:
    note = {"process": os.getpid(), "command": command, "since_ns": clock.now_ns()}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(note).encode(), 0)


def read_holder(note_bytes: bytes) -> str:
    """Who holds a home, in words, by the content of its owner file; never raises: any program may have written it."""
    try:
        note = json.loads(note_bytes)
        since = datetime.fromtimestamp(int(note["since_ns"]) / 1e9, UTC).astimezone()
        command, process = str(note["command"]), int(note["process"])
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return "another process"
    return f"`farkeep {command}` (process {process} on {os.uname().nodename}) since {since:%Y-%m-%d %H:%M:%S}"
