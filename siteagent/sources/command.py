"""The output of a command as a source: a view with one file that can be read once.

The command is one string for `/bin/sh -c`, so pipes and redirections work; as in every shell, the exit status of a
pipeline is that of its last part (write `set -o pipefail` where the shell has it). It runs in a session of its own with
an empty standard input. Nothing is kept on disk on the way. Whether the output is complete shows only at the end:
`finish` must be called before anything is committed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from typing import IO

from msgspec import Struct

from shared.errors import RefusedError
from shared.tree import FILE, FOLDER, child_folder
from siteagent.sources.base import Batch, Identity, Metadata, Reader, Skipped, SmallFile

_TAIL_LINES, _LINE_BYTES = 10, 500
_END_WAIT_S = 5.0
_UNKNOWN_SIZE = 1 << 62
"""Stands for the size until the stream has ended, so that nobody takes it for a small file."""


class _Facts(Struct):
    """What is known of an entry: the file that is made of the stream, or a folder on the way to it."""

    mode: int
    size: int
    time_ns: int
    st_nlink: int = 1


class CommandReader:
    """The standard output of the running command."""

    is_stream = True

    def __init__(self, stream: IO[bytes], about: _Facts) -> None:
        self._stream, self._about = stream, about
        self._size = 0
        self.is_at_end = False

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` with what comes next; returns the bytes read, 0 at the end."""
        del offset
        count = os.readv(self._stream.fileno(), [buffer])
        self._size += count
        self.is_at_end = count == 0
        return count

    def extents(self, size_bytes: int) -> list[tuple[int, int]] | None:
        """None: a stream has no holes."""
        del size_bytes
        return None

    def identity(self) -> Identity:
        """What has come so far."""
        return _identity(self.facts())

    def facts(self) -> _Facts:
        """The file as it is now."""
        return _Facts(self._about.mode, self._size, self._about.time_ns)

    def xattrs(self) -> bytes:
        """None."""
        return b""

    def close(self) -> None:
        """Read no further."""
        self._stream.close()


class CommandView:
    """A view of one file, named by an absolute path, that is the output of a command."""

    quality = "live"
    is_repeatable = False

    def __init__(self, command: str, path: bytes, now_ns: int) -> None:
        """`path`: absolute. The command is started when its output is asked for."""
        self._command, self._now_ns = command, now_ns
        *self._folders, self._name = [part for part in path.split(b"/") if part]
        self.skipped = Skipped()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: CommandReader | None = None
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)
        self._listener: threading.Thread | None = None

    def batches(self) -> Iterator[Batch]:
        """The folders on the way, then the file."""
        folder = b""
        for name in self._folders:
            about = _Facts(stat.S_IFDIR | 0o755, 0, self._now_ns)
            yield Batch(folder, [name], [_identity(about)], [about], ancestors=frozenset((name,)))
            folder = child_folder(folder, name)
        about = _Facts(stat.S_IFREG | 0o600, _UNKNOWN_SIZE, self._now_ns)
        yield Batch(folder, [self._name], [_identity(about)], [about])

    def describe(self, batch: Batch, place: int) -> Metadata:
        """What is recorded of an entry."""
        about: _Facts = batch.facts[place]
        kind = FOLDER if stat.S_ISDIR(about.mode) else FILE
        return Metadata(kind, about.mode, os.geteuid(), os.getegid(), about.size, about.time_ns, about.time_ns, 0, 0, 0)

    def is_sparse(self, batch: Batch, place: int) -> bool:
        """Never."""
        del batch, place
        return False

    def read_small(self, batch: Batch, places: list[int], buffer: memoryview) -> list[SmallFile]:
        """Nothing here is known to be small."""
        del batch, buffer
        return [SmallFile(place, 0, -1, b"") for place in places]

    def open(self, batch: Batch, place: int) -> CommandReader:
        """Start the command; its output is the file's content. Raises OSError."""
        if self._process is not None:
            raise OSError(errno.ESPIPE, "the output of a command can be read once only")
        self._process = process = subprocess.Popen(
            ["/bin/sh", "-c", self._command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            bufsize=0, start_new_session=True,
        )  # fmt: skip
        if process.stdout is None or process.stderr is None:
            raise OSError(errno.EPIPE, "the command has no output to read")
        self._listener = threading.Thread(target=self._listen, args=(process.stderr,), daemon=True)
        self._listener.start()
        self._reader = CommandReader(process.stdout, batch.facts[place])
        return self._reader

    def _listen(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(_LINE_BYTES):
                self._tail.append(line.rstrip(b"\r\n"))

    def target(self, batch: Batch, place: int) -> bytes:
        """There are no links."""
        del batch, place
        return b""

    def refresh(self, batch: Batch, place: int, reader: Reader) -> None:
        """Take over how long the stream was."""
        batch.facts[place], batch.identities[place] = reader.facts(), reader.identity()

    def xattrs(self, batch: Batch, place: int) -> bytes:
        """None."""
        del batch, place
        return b""

    def finish(self) -> None:
        """Wait for the command's end; raises RefusedError with its last words when it failed."""
        process, reader = self._process, self._reader
        if process is None or reader is None or not reader.is_at_end:
            raise RefusedError("the output of the command could not be read to its end, so nothing was recorded",
                               subject=self._command, next_step="check that /bin/sh starts, then run the backup again")
        status = process.wait()
        if self._listener is not None:
            self._listener.join(_END_WAIT_S)
        if status:
            words = b" | ".join(self._tail).decode("utf-8", "backslashreplace")
            how = f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with exit status {status}"
            raise RefusedError(f"the command {how}, so nothing was recorded{f'; it said: {words}' if words else ''}",
                               subject=self._command, next_step="make the command succeed, then run the backup again")

    def close(self) -> None:
        """End the command and all it started, if it still runs."""
        process = self._process
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_WAIT_S)
        if process.stdout is not None:
            process.stdout.close()


def _identity(about: _Facts) -> Identity:
    return about.mode, about.size, about.time_ns, about.time_ns, 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
