"""Sets of segment names as facts hold them, asked and listed without ever being unpacked as a whole."""

from __future__ import annotations

from collections.abc import Iterator

from siteagent.store.nameruns import unpack_names, unpack_stretches
from siteagent.store.names import SegmentName, number_of, run_of


class NameBits:
    """The union of some sets (siteagent.store.nameruns.pack_names)."""

    def __init__(self, *packed: bytes) -> None:
        self._rows: dict[bytes, list[tuple[int, bytes]]] = {}
        self._packed: list[bytes] = []
        for names in packed:
            self.add(names)

    def add(self, packed: bytes) -> None:
        """Take one more set in; raises DamagedError or HostileError."""
        for run, low, bits in unpack_stretches(packed):
            self._rows.setdefault(run, []).append((low, bits))
        self._packed.append(packed)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, bytes):
            return False
        number = number_of(name)
        for low, bits in self._rows.get(run_of(name), ()):
            at = number - low
            if 0 <= at < 8 * len(bits) and bits[at >> 3] & (1 << (at & 7)):
                return True
        return False

    def __iter__(self) -> Iterator[SegmentName]:
        for packed in self._packed:
            yield from unpack_names(packed)

    def runs(self) -> list[bytes]:
        """The runs that any of the names belongs to."""
        return list(self._rows)
