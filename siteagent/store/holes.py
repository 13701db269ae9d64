"""Which stretches of a pack can be given back: those of retired segments, merged, as far as they are whole blocks."""

from __future__ import annotations

from collections.abc import Iterable

from siteagent.store.pack import Row

BLOCK_BYTES = 4096
"""What file systems give back at least; less is kept by all that are in use."""


def holes(rows: Iterable[Row]) -> list[tuple[int, int]]:
    """(offset, length) of the stretches that these segments leave, block aligned, in order."""
    stretches: list[list[int]] = []
    for row in sorted(rows, key=lambda row: row.offset):
        if stretches and stretches[-1][1] == row.offset:
            stretches[-1][1] += row.length
        else:
            stretches.append([row.offset, row.offset + row.length])
    aligned = [(-(-start // BLOCK_BYTES) * BLOCK_BYTES, end // BLOCK_BYTES * BLOCK_BYTES) for start, end in stretches]
    return [(start, end - start) for start, end in aligned if end > start]


def hole_bytes(rows: Iterable[Row]) -> int:
    """Bytes that punching would give back."""
    return sum(length for _, length in holes(rows))
