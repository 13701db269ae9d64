"""The processes that make a run's deltas: started when a run turns out to have many, asked where their bases are."""

from __future__ import annotations

from shared.errors import FarkeepError, UnavailableError
from siteagent.store.delta import Base, BaseChunk
from siteagent.store.deltahelper import DeltaHelper, least_busy
from siteagent.store.deltaprocess import DeltaRequest, DeltaSetup
from siteagent.store.deltawork import DeltaLoad, Encoding
from siteagent.store.names import SegmentName
from siteagent.store.reader import SegmentReader

_WORTH_A_PROCESS = 8
"""Deltas after which a run is taken for one with many: what starting a process costs, another processor pays."""
_WORTH_ANOTHER_BYTES = 4 << 20
_HELPERS_MAX = 4


class DeltaHelpers:
    """Up to one process per processor, asked by one thread."""

    def __init__(self, setup: DeltaSetup, reader: SegmentReader, count: int) -> None:
        """Nothing is started yet; `reader` tells where bases lie and is told which are damaged."""
        self._setup, self._reader, self._count = setup, reader, min(count, _HELPERS_MAX)
        self._helpers: list[DeltaHelper] = []
        self._newest: tuple[SegmentName, DeltaHelper] | None = None
        self._asked = self._asked_bytes = 0

    def take(self, encoding: Encoding) -> bool:
        """True when a process will make this delta. Raises UnavailableError when it has ended."""
        try:
            request = self._request(encoding.load)
        except FarkeepError:
            return False
        if request is None:
            return False
        size_bytes = len(encoding.load.plain)
        self._asked += 1
        self._asked_bytes += size_bytes
        helper = self._choose(request.load.base.chunks[0].segment, size_bytes)
        if helper is not None:
            helper.ask(encoding, request)
        return helper is not None

    def _choose(self, segment: SegmentName, size_bytes: int) -> DeltaHelper | None:
        """Who opened the segment for the delta before has it at hand; until one is ready the others make them."""
        try:
            self._start()
            if self._newest is None or self._newest[0] != segment or size_bytes > self._newest[1].room_bytes:
                helper = least_busy(self._helpers, size_bytes)
                self._newest = (segment, helper) if helper is not None else None
        except (OSError, UnavailableError):
            self.close()
        return self._newest[1] if self._newest is not None else None

    def _start(self) -> None:
        """Start a process when there is so much to do for those there are."""
        is_worth_it = self._asked_bytes >= _WORTH_ANOTHER_BYTES * len(self._helpers)
        if is_worth_it and self._asked > _WORTH_A_PROCESS and len(self._helpers) < self._count:
            self._helpers.append(DeltaHelper(self._setup, self._reader.damaged))

    def _request(self, load: DeltaLoad) -> DeltaRequest | None:
        """With the names of the segments that hold the base now, which this process has looked into before.

        None where what lies below the base was copied elsewhere: only this process knows its successors.
        """
        reader, base = self._reader, load.base
        chunks = tuple(BaseChunk(reader.locate(chunk.segment, chunk.chunk_id)[0].header.name, chunk.chunk_id)
                       for chunk in base.chunks)  # fmt: skip
        segments = {chunk.segment for chunk in chunks}
        if base.depth:
            below = {name for chunk in chunks for name in reader.frame_closure(chunk.segment, chunk.chunk_id)}
            if any(reader.successors.of(name) is not None for name in below):
                return None
            segments |= below
        moved = Base(chunks, base.head_trim, base.tail_trim, base.depth)
        return DeltaRequest(DeltaLoad(load.plain, load.ids, load.lengths, moved),
                            [(name, reader.spot(name)) for name in segments])  # fmt: skip

    def close(self) -> None:
        """End the processes and start no more. Harmless when called twice."""
        self._count, self._newest = 0, None
        for helper in self._helpers:
            helper.close()
        self._helpers = []
