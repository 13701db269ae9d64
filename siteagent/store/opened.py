"""Segments as they are when opened: the table by itself, or with the frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from shared.errors import DamagedError
from siteagent.store.frame import expand_frame
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.segment import Header
from siteagent.store.table import Table


@dataclass(frozen=True)
class OpenTable:
    """A segment's header and opened table."""

    header: Header
    table: Table

    @cached_property
    def places(self) -> dict[bytes, int]:
        """Place of each chunk by its id."""
        ids = self.table.ids
        return {ids[at * 32 : at * 32 + 32]: at for at in range(len(self.table))}

    @cached_property
    def starts(self) -> list[int]:
        """Offset of each frame within the body."""
        return self.table.frame_starts()

    @cached_property
    def offsets(self) -> list[int]:
        """Offset of each chunk within its frame."""
        return self.table.offsets()


@dataclass(frozen=True)
class OpenSegment:
    """A whole segment, opened and checked: its table and the padded, still compressed frames."""

    head: OpenTable
    body: memoryview

    def frame(self, number: int) -> bytes | memoryview:
        """The plaintext of one frame that rests on no base; raises DamagedError or HostileError."""
        row = self.head.table.frames[number]
        return expand_frame(row.codec, self.stored(number), row.plain_bytes, shown_segment(self.head.header.name))

    def stored(self, number: int) -> memoryview:
        """The bytes of one frame as they are stored; raises DamagedError."""
        start, row = self.head.starts[number], self.head.table.frames[number]
        if start + row.stored_bytes > len(self.body):
            raise missing(self.head.header.name, "a frame lies beyond the end of its segment")
        return self.body[start : start + row.stored_bytes]


def missing(name: SegmentName, what: str = "a segment is missing") -> DamagedError:
    """The error for a segment that cannot be had."""
    return DamagedError(what, subject=shown_segment(name),
                        next_step="run `farkeep repair index`, then `farkeep verify` to see what it concerns")
