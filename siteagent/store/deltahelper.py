"""Having the deltas of small files made by another process (siteagent.store.deltaprocess)."""

from __future__ import annotations

from collections import deque

from shared.errors import FarkeepError, UnavailableError
from siteagent.disk.child import Child
from siteagent.store.delta import Base, BaseChunk
from siteagent.store.deltaprocess import DeltaReply, DeltaRequest, DeltaSetup
from siteagent.store.deltawork import DeltaLoad, Encoding
from siteagent.store.reader import SegmentReader

_WORTH_A_PROCESS = 8
"""Deltas after which a run is taken for one with many: what starting a process costs, another processor pays."""


class DeltaHelper:
    """The process, asked by one thread; it answers in the order in which it was asked."""

    def __init__(self, setup: DeltaSetup, reader: SegmentReader) -> None:
        """Nothing is started yet; `reader` tells where bases lie and is told which are damaged."""
        self._setup, self._reader = setup, reader
        self._child: Child | None = None
        self._is_ready, self._can_start = False, True
        self._asked = 0
        self._waiting: deque[Encoding] = deque()
        self._waiting_bytes = self._room_bytes = 0

    def take(self, encoding: Encoding) -> bool:
        """True when the process will make this delta. Raises UnavailableError when it has ended."""
        if encoding.load.base.depth:
            return False
        child, size_bytes = self._ready_child(), len(encoding.load.plain)
        if child is None or size_bytes > self._room_bytes:
            return False
        try:
            request = self._request(encoding.load)
        except FarkeepError:
            return False
        # Answers that nobody takes must fit the pipe: else each side would wait for the other to read.
        while self._waiting_bytes + size_bytes > self._room_bytes:
            self._collect()
        child.send(request)
        encoding.collect = self._collect
        self._waiting.append(encoding)
        self._waiting_bytes += size_bytes
        return True

    def _ready_child(self) -> Child | None:
        """The process once it has said that it is ready: until then the one that reads makes its deltas itself."""
        self._asked += 1
        try:
            if self._child is None and self._can_start and self._asked > _WORTH_A_PROCESS:
                self._can_start = False
                self._child = Child("siteagent.store.deltaprocess")
                self._child.widen()
                self._child.send(self._setup)
            if self._child is not None and not self._is_ready and self._child.has_answered():
                self._child.receive(DeltaReply)
                self._is_ready, self._room_bytes = True, self._child.reply_room_bytes // 2
        except (OSError, UnavailableError):
            self.close()
        return self._child if self._is_ready else None

    def _request(self, load: DeltaLoad) -> DeltaRequest:
        """With the names of the segments that hold the base now, which this process has looked into before."""
        chunks = [BaseChunk(self._reader.locate(chunk.segment, chunk.chunk_id)[0].header.name, chunk.chunk_id)
                  for chunk in load.base.chunks]  # fmt: skip
        base = Base(tuple(chunks), load.base.head_trim, load.base.tail_trim)
        return DeltaRequest(DeltaLoad(load.plain, load.ids, load.lengths, base),
                            [(name, self._reader.spot(name)) for name in base.segments()])  # fmt: skip

    def _collect(self) -> None:
        """Wait for the oldest delta that was asked for."""
        if self._child is not None and self._waiting:
            reply = self._child.receive(DeltaReply)
            self._reader.damaged.update(reply.damaged)
            self._settle(reply.packed)

    def _settle(self, packed: bytes | None) -> None:
        encoding = self._waiting.popleft()
        self._waiting_bytes -= len(encoding.load.plain)
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
