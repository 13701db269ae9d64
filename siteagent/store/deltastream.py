"""Gathering delta frames into segments. A segment names few bases, so those of deltas are often small."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from siteagent.store.delta import Base, encode_base
from siteagent.store.frame import FRAME_BYTES_MAX, ZSTD_DELTA
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.pipeline import Filled, Pipeline, ReadyMade
from siteagent.store.stream import CHUNKS_MAX, SIDES_BYTES_MAX
from siteagent.store.table import BASES_MAX, CLOSURE_MAX, FRAMES_MAX, Frame


class DeltaStream:
    """The segment of delta frames of one kind that is being filled."""

    def __init__(self, kind: int, pipeline: Pipeline, next_number: Callable[[], int], run: bytes) -> None:
        self._kind, self._pipeline, self._next_number, self._run = kind, pipeline, next_number, run
        self._filled: Filled | None = None
        self._made = ReadyMade([], [], [], [])
        self._name: SegmentName = b""
        self._sides_bytes = 0
        self.closures: dict[SegmentName, set[SegmentName]] = {}
        """What each segment of this stream rests on, closed."""

    def put(self, ids: Sequence[bytes], lengths: Sequence[int], packed: bytes, base: Base,
            closure: set[SegmentName], side: bytes | None = None) -> SegmentName:
        """Take one delta frame (of a page: with its side record); returns its segment."""
        filled = self._filled
        if filled is None or not self._has_room(filled, ids, packed, base, closure):
            self.flush()
            filled = self._begin()
        made, start = self._made, filled.size_bytes
        made.digest.update(packed)
        filled.slot.plain[start : start + len(packed)] = packed
        filled.size_bytes = start + len(packed)
        filled.ids.extend(ids)
        filled.lengths.extend(lengths)
        if side is not None:
            filled.sides.append(side)
            self._sides_bytes += len(side)
        made.bases.extend(sorted(base.segments() - set(made.bases)))
        self.closures[self._name] |= closure
        made.chunk_frames.extend([len(made.frames)] * len(ids))
        made.frames.append(Frame(ZSTD_DELTA, sum(lengths), len(packed), base.depth + 1, encode_base(base, made.bases)))
        return self._name

    def _has_room(self, filled: Filled, ids: Sequence[bytes], packed: bytes, base: Base,
                  closure: set[SegmentName]) -> bool:
        return (filled.size_bytes + len(packed) <= FRAME_BYTES_MAX and len(self._made.frames) < FRAMES_MAX
                and len(filled.ids) + len(ids) <= CHUNKS_MAX and self._sides_bytes < SIDES_BYTES_MAX
                and len(base.segments() | set(self._made.bases)) <= BASES_MAX
                and len(closure | self.closures[self._name]) <= CLOSURE_MAX)  # fmt: skip

    def _begin(self) -> Filled:
        number = self._next_number()
        self._made = ReadyMade([], [], [], [])
        self._name, self._sides_bytes = segment_name(self._run, number), 0
        self.closures[self._name] = set()
        self._filled = Filled(self._kind, number, self._pipeline.slot(), 0, [], [], [], self._made)
        return self._filled

    def flush(self) -> None:
        """Hand the segment over, if there is anything in it."""
        filled, self._filled = self._filled, None
        if filled is not None:
            self._made.closure.extend(sorted(self.closures[self._name]))
            self._pipeline.submit(filled)
