"""Which segments a sample reads whole: a random share of all, and at least one."""

from __future__ import annotations

from blake3 import blake3

from shared.randomness import Randomness
from siteagent.store.names import SegmentName


class Sampling:
    """Chooses by a keyed hash of the name, so nothing has to be listed or kept; another choice every time."""

    def __init__(self, randomness: Randomness, percent: float) -> None:
        """`percent` from 0 (none) to 100 (all)."""
        self._key = randomness.bits(32)
        self._limit = int(max(0.0, min(percent, 100.0)) / 100.0 * 2**64)
        self.is_everything = self._limit >= 2**64
        self.is_nothing = self._limit == 0

    def has(self, name: SegmentName) -> bool:
        """True when this segment belongs to the sample."""
        return self.is_everything or self.rank(name) < self._limit

    def rank(self, name: SegmentName) -> int:
        """A number below 2**64; the smallest belong to the sample."""
        return int.from_bytes(blake3(name, key=self._key).digest(8), "big")
