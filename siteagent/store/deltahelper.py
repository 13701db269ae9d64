"""One process that makes deltas (siteagent.store.deltaprocess), seen from the process that reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from siteagent.disk.child import Child
from siteagent.store.deltaprocess import DeltaReply, DeltaRequest, DeltaSetup
from siteagent.store.deltawork import Encoding
from siteagent.store.names import SegmentName


class DeltaHelper:
    """The process, asked by one thread; it answers in the order in which it was asked."""

    def __init__(self, setup: DeltaSetup, damaged: set[SegmentName]) -> None:
        """Start it; `damaged` is told which bases do not read. Raises OSError, UnavailableError."""
        self._damaged = damaged
        self._is_ready = False
        self._waiting: deque[Encoding] = deque()
        self.waiting_bytes = self.room_bytes = 0
        self._child: Child | None = Child("siteagent.store.deltaprocess")
        self._child.widen()
        self._child.send(setup)

    def is_ready(self) -> bool:
        """True once the process has said that it is; raises UnavailableError when it ended before."""
        if not self._is_ready and self._child is not None and self._child.has_answered():
            self._child.receive(DeltaReply)
            # Answers that nobody takes must fit the pipe: else each side would wait for the other to read. A delta
            # that wins is much shorter than what it was made of.
            self._is_ready, self.room_bytes = True, self._child.reply_room_bytes * 3 // 4
        return self._is_ready

    def ask(self, encoding: Encoding, request: DeltaRequest) -> None:
        """Have a delta made of at most `room_bytes`. Raises UnavailableError when the process has ended."""
        size_bytes = len(encoding.load.plain)
        while self.waiting_bytes + size_bytes > self.room_bytes:
            self._collect()
        if self._child is not None:
            self._child.send(request)
        encoding.collect = self._collect
        self._waiting.append(encoding)
        self.waiting_bytes += size_bytes

    def _collect(self) -> None:
        """Wait for the oldest delta that was asked for."""
        if self._child is not None and self._waiting:
            reply = self._child.receive(DeltaReply)
            self._damaged.update(reply.damaged)
            self._settle(reply.packed)

    def _settle(self, packed: bytes | None) -> None:
        encoding = self._waiting.popleft()
        self.waiting_bytes -= len(encoding.load.plain)
        encoding.settle(packed)

    def close(self) -> None:
        """End the process; what was asked for and not collected is not made. Harmless when called twice."""
        if self._child is not None:
            if not self._is_ready:
                self._child.kill()
            self._child.close()
            self._child, self._is_ready = None, False
        while self._waiting:
            self._settle(None)


def least_busy(helpers: Iterable[DeltaHelper], size_bytes: int) -> DeltaHelper | None:
    """The one with the least to do among those that take so many bytes."""
    fitting = [helper for helper in helpers if helper.is_ready() and size_bytes <= helper.room_bytes]
    return min(fitting, key=lambda helper: helper.waiting_bytes, default=None)
