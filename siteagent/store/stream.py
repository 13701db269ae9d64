"""Gathering chunks (or pages with their side records) into a segment; what is full goes to the pipeline."""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import ExhaustedError
from siteagent.store.frame import FRAME_BYTES_MAX
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.pipeline import Filled, Pipeline

CHUNKS_MAX = 8192
SIDES_BYTES_MAX = 1 << 20
"""So that tables stay small: a segment of tiny files, or of pages that need many segments, is handed over early."""


class Stream:
    """The slot of one kind of segment that is being filled."""

    def __init__(self, kind: int, pipeline: Pipeline, next_number: Callable[[], int], run: bytes) -> None:
        self._kind, self._pipeline, self._next_number, self._run = kind, pipeline, next_number, run
        self._filled: Filled | None = None
        self._name: SegmentName = b""
        self._side_bytes = 0

    def put(self, chunk_id: bytes, data: memoryview | bytes, side: bytes | None = None) -> SegmentName:
        """Take a chunk (or page, with its side record); returns its segment."""
        size, filled = len(data), self._filled
        if filled is not None and (filled.size_bytes + size > FRAME_BYTES_MAX or len(filled.ids) >= CHUNKS_MAX
                                   or self._side_bytes >= SIDES_BYTES_MAX):
            self.flush()
            filled = None
        if filled is None:
            if size > FRAME_BYTES_MAX:
                raise ExhaustedError(f"a piece of {size} bytes does not fit a segment", next_step="report this")
            number = self._next_number()
            filled = self._filled = Filled(self._kind, number, self._pipeline.slot(), 0, [], [])
            self._name, self._side_bytes = segment_name(self._run, number), 0
        start = filled.size_bytes
        filled.slot.plain[start : start + size] = data
        filled.size_bytes = start + size
        filled.ids.append(chunk_id)
        filled.lengths.append(size)
        if side is not None:
            filled.sides.append(side)
            self._side_bytes += len(side)
        return self._name

    def flush(self) -> None:
        """Hand the slot over, if there is anything in it."""
        filled, self._filled = self._filled, None
        if filled is not None:
            self._pipeline.submit(filled)
