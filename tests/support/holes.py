"""Where a sparse file has data, and whether a copy kept its holes.

File systems round holes to their block size, so two maps are not compared for equality: every stretch of a source
hole that covers whole 64 KiB blocks, aligned to 64 KiB, must be a hole in the copy, and the copy may not occupy
noticeably more. More holes than the source has are welcome: they change no byte.
"""

import errno
import os
from bisect import bisect_right
from dataclasses import dataclass

BLOCK_BYTES = 64 * 1024
SLACK_BYTES = 64 * 1024
STAT_BLOCK_BYTES = 512  # the unit of st_blocks, stat(2)


@dataclass(frozen=True)
class HoleMap:
    """Data extents ``(start, end)`` in bytes, ascending; all else up to ``size_bytes`` is hole."""

    size_bytes: int
    data: tuple[tuple[int, int], ...]
    allocated_bytes: int

    def holes(self) -> tuple[tuple[int, int], ...]:
        """The stretches ``(start, end)`` without data."""
        edges = [0, *(edge for extent in self.data for edge in extent), self.size_bytes]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return tuple((start, end) for start, end in pairs if start < end)

    def lasting_holes(self) -> tuple[tuple[int, int], ...]:
        """The parts of the holes that cover whole aligned 64 KiB blocks: a copy must keep them."""
        aligned = ((-(-start // BLOCK_BYTES), end // BLOCK_BYTES) for start, end in self.holes())
        return tuple((first * BLOCK_BYTES, last * BLOCK_BYTES) for first, last in aligned if first < last)


def read_hole_map(file_fd: int) -> HoleMap:
    """The map of an open regular file by SEEK_DATA and SEEK_HOLE (lseek(2)); all data where they are not known."""
    status = os.fstat(file_fd)
    extents = []
    position = 0
    while position < status.st_size:
        try:
            start = os.lseek(file_fd, position, os.SEEK_DATA)
            position = os.lseek(file_fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            if error.errno != errno.EINVAL:
                raise
            extents = [(0, status.st_size)]
            break
        extents.append((start, min(position, status.st_size)))
    return HoleMap(status.st_size, tuple(extents), status.st_blocks * STAT_BLOCK_BYTES)


def hole_difference(before: HoleMap, after: HoleMap) -> str | None:
    """What the copy ``after`` lost of the holes of ``before``, in words, or None. Sizes are taken to be equal."""
    starts = [start for start, _ in after.data]
    for start, end in before.lasting_holes():
        last = bisect_right(starts, end - 1) - 1
        if last >= 0 and after.data[last][1] > start:
            filled = after.data[last]
            return f"hole {start}..{end} holds data at {filled[0]}..{filled[1]}"
    lasting_bytes = sum(end - start for start, end in before.lasting_holes())
    allowed_bytes = max(before.allocated_bytes, before.size_bytes - lasting_bytes) + SLACK_BYTES
    if after.allocated_bytes > allowed_bytes:
        return f"occupies {after.allocated_bytes} bytes, {before.allocated_bytes} before"
    return None
