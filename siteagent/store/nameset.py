"""A set of segment names in little memory: a bit per number and run, so that a million names take some hundred KiB."""

from __future__ import annotations

from siteagent.store.names import SegmentName, number_of, run_of

_BITS = 1 << 13


class NameSet:
    """Names that were added. Numbers of a run should lie near each other, as writers count them."""

    def __init__(self) -> None:
        self._parts: dict[tuple[bytes, int], bytearray] = {}
        self._count = 0

    def add(self, name: SegmentName) -> None:
        """Take a name in."""
        part, place = divmod(number_of(name), _BITS)
        bits = self._parts.setdefault((run_of(name), part), bytearray(_BITS // 8))
        mask = 1 << (place & 7)
        self._count += not bits[place >> 3] & mask
        bits[place >> 3] |= mask

    def __contains__(self, name: SegmentName) -> bool:
        part, place = divmod(number_of(name), _BITS)
        bits = self._parts.get((run_of(name), part))
        return bits is not None and bool(bits[place >> 3] & (1 << (place & 7)))

    def __len__(self) -> int:
        return self._count
