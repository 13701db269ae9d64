"""Names of segments: `run` (16 random bytes drawn by a writing job) followed by `number` (u32, big endian)."""

from __future__ import annotations

RUN_BYTES = 16
NAME_BYTES = 20
SegmentName = bytes


def segment_name(run: bytes, number: int) -> SegmentName:
    """The name of segment `number` of a run."""
    return run + number.to_bytes(4, "big")


def run_of(name: SegmentName) -> bytes:
    """The run that wrote a segment."""
    return name[:RUN_BYTES]


def number_of(name: SegmentName) -> int:
    """The number of a segment within its run."""
    return int.from_bytes(name[RUN_BYTES:], "big")


def shown_segment(name: SegmentName) -> str:
    """A segment's name for people and JSON: 32 hex digits of the run, a dash, the number."""
    return f"{run_of(name).hex()}-{number_of(name)}"
