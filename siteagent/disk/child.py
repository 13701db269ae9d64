"""Processes of our own that compute or write beside the main one: started lean, talked to over two pipes.

The parent hands over pipes (file descriptors 3 requests, 4 replies) and further descriptors from 5 on. A message is a
length (u32, little endian) and MessagePack of a declared struct. Secrets travel in messages, never on the command
line. A child ends when its requests end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from shared.codec import decode, encode
from shared.errors import UnavailableError

REQUESTS, REPLIES, FIRST_EXTRA = 3, 4, 5
MESSAGE_MAX = 64 << 20
_HIGH = 200
_WIDE_PIPE_BYTES = 1 << 20
_PIPE_BYTES = 16 << 10
"""Where a system does not tell: what POSIX systems have at least."""
_TUNABLES = ":".join((
    "glibc.malloc.hugetlb=1", "glibc.malloc.mmap_threshold=268435456", "glibc.malloc.trim_threshold=268435456",
    "glibc.malloc.top_pad=16777216",
))  # fmt: skip
T = TypeVar("T")


def send(handle: int, message: msgspec.Struct) -> None:
    """Write one message; raises OSError when nobody reads."""
    data = encode(message)
    view = memoryview(len(data).to_bytes(4, "little") + data)
    while view:
        view = view[os.write(handle, view) :]


def receive(handle: int, shape: Any) -> Any:
    """Read one message of `shape` (a struct, or a union of tagged ones); None at the end."""
    head = _read(handle, 4)
    if len(head) < 4:
        return None
    data = _read(handle, min(int.from_bytes(head, "little"), MESSAGE_MAX))
    return decode(data, shape, limit_bytes=MESSAGE_MAX, subject="a message between processes")


def _read(handle: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length and (piece := os.read(handle, length)):
        parts.append(piece)
        length -= len(piece)
    return b"".join(parts)


def serve(shape: Any, answer: Callable[[Any], Iterable[msgspec.Struct]]) -> None:
    """In a child: answer each request with one or more messages, until they end; interrupts are left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while (request := receive(REQUESTS, shape)) is not None:
        try:
            for reply in answer(request):
                send(REPLIES, reply)
        except BrokenPipeError:
            return


def _end_with_parent() -> None:
    """End at once when nobody asks any more: a parent that was killed may be running again, doing the same work."""
    requests = select.poll()
    requests.register(REQUESTS, 0)
    requests.poll()
    os._exit(0)


def _command(module: str) -> list[str]:
    """Isolated and without the site module, which costs a tenth of a second; the path is the one of this process."""
    paths = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), *sys.path]
    start = f"import gc, sys; gc.disable(); sys.path[:] = {paths!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-I", "-S", "-c", start]


def _environment() -> dict[str, str]:
    """Keep megabyte buffers in one heap of huge pages: compression gained 7 to 13 % (ARCHITECTURE.md)."""
    return {"GLIBC_TUNABLES": _TUNABLES, **os.environ}


class Child:
    """A child process, seen from its parent."""

    def __init__(self, module: str, extra: Sequence[int] = ()) -> None:
        """Run `module` with the same interpreter; raises OSError where processes cannot be started."""
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        sources = [requests, replies, *extra]
        # Through high numbers first, so that no descriptor is overwritten before it was copied.
        actions = [(os.POSIX_SPAWN_DUP2, source, _HIGH + number) for number, source in enumerate(sources)]
        actions += [(os.POSIX_SPAWN_DUP2, _HIGH + number, REQUESTS + number) for number in range(len(sources))]
        try:
            self.process = os.posix_spawn(sys.executable, _command(module), _environment(), file_actions=actions)
        except OSError:
            os.close(self._requests)
            os.close(self._replies)
            raise
        finally:
            os.close(requests)
            os.close(replies)

    def send(self, message: msgspec.Struct) -> None:
        """Send a message; raises UnavailableError when the child is gone."""
        try:
            send(self._requests, message)
        except OSError as error:
            raise self._gone() from error

    def receive(self, shape: type[T]) -> T:
        """Wait for the next message; raises UnavailableError when the child is gone."""
        try:
            message: T | None = receive(self._replies, shape)
        except OSError as error:
            raise self._gone() from error
        if message is None:
            raise self._gone()
        return message

    def has_answered(self) -> bool:
        """True when `receive` would not wait."""
        # Not select(2), which refuses handles from 1024 on.
        replies = select.poll()
        replies.register(self._replies, select.POLLIN)
        return bool(replies.poll(0))

    def widen(self) -> None:
        """Let more messages wait in both pipes, where the system allows it."""
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            for pipe in (self._requests, self._replies):
                with contextlib.suppress(OSError):
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _WIDE_PIPE_BYTES)

    @property
    def reply_room_bytes(self) -> int:
        """How much the child can answer while nobody receives it."""
        return fcntl.fcntl(self._replies, fcntl.F_GETPIPE_SZ) if hasattr(fcntl, "F_GETPIPE_SZ") else _PIPE_BYTES

    def _gone(self) -> UnavailableError:
        return UnavailableError("a worker process ended before its work was done", subject=f"process {self.process}",
                                next_step="see whether memory ran out (dmesg), then run the command again")

    def kill(self) -> None:
        """Do not wait for what the child is doing; `close` has to follow."""
        os.kill(self.process, signal.SIGKILL)

    def close(self) -> None:
        """End the child by ending its requests, and wait for it."""
        os.close(self._requests)
        os.close(self._replies)
        os.waitpid(self.process, 0)
