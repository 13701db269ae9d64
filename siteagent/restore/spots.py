"""Where the segments of a restore lie, in a form that several processes can share: no index, no log, no lock.

Rows of 52 bytes, sorted: segment name (20), pack id (16), offset u64, length u32, length of the sealed table u32.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from shared.errors import DamagedError
from siteagent.store.index import Spot
from siteagent.store.names import NAME_BYTES, SegmentName

_ROW = struct.Struct("<20s16sQII")


def encode_spots(rows: Iterable[tuple[SegmentName, Spot]]) -> bytes:
    """The sorted table of these segments."""
    return b"".join(
        sorted(_ROW.pack(name, spot.pack_id, spot.offset, spot.length, spot.table_length) for name, spot in rows)
    )


class Spots:
    """Look-ups in such a table; stands in for the index when segments are read."""

    def __init__(self, table: bytes | memoryview) -> None:
        if len(table) % _ROW.size:
            raise DamagedError("a table of segments has an odd length", next_step="report this")
        self._table = memoryview(table)
        self._count = len(table) // _ROW.size

    def spot(self, segment: SegmentName) -> Spot | None:
        """Where a segment lies, or None."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            at = middle * _ROW.size
            name = bytes(self._table[at : at + NAME_BYTES])
            if name == segment:
                _, pack_id, offset, length, table_length = _ROW.unpack_from(self._table, at)
                return Spot(pack_id, offset, length, table_length)
            if name < segment:
                low = middle + 1
            else:
                high = middle
        return None
