"""Which earlier version a delta may rest on, so that no chain grows deep and no night pays for many others.

The snapshots of one NAME are numbered (*generation*, siteagent.ledger.state). Resting each on the one before it would
be cheapest, but each step of a chain makes restoring slower. So generation n rests at depth popcount(n) - 1 at most:
on n - 1 when n is odd, else on n with its lowest bits cleared (skip-deltas: half of all nights pay for one night's
changes, a quarter for two, ...), and no chain is made deeper than `DEPTH`, though the format allows four. Generation
numbers count modulo 64: every 64th rests on plain chunks only.

What did not change for long is plain or shallow in the newest version already and rests on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from msgspec import Struct

from shared.errors import DamagedError, HostileError
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry

DEPTH = 3
"""Deepest delta that is made (ARCHITECTURE.md has what four would save and cost)."""
_CYCLE = 64


def base_depth(generation: int) -> int:
    """How deep what a new version rests on may be."""
    return min(DEPTH, max(1, (generation % _CYCLE).bit_count())) - 1


def preferred(generation: int) -> Iterator[int]:
    """The older generations at which something shallow enough should be, nearest first."""
    start, rest = generation - generation % _CYCLE, generation % _CYCLE
    while rest:
        rest &= rest - 1
        yield start + rest
    if start and generation == start:
        yield start - _CYCLE


class Ancestor(Struct, frozen=True):
    """A snapshot of the same NAME that is kept."""

    generation: int
    open: Callable[[], Catalog]


class Ancestry:
    """The kept snapshots of one NAME, without the newest good one."""

    def __init__(self, generation: int, ancestors: Callable[[], Sequence[Ancestor]]) -> None:
        """`generation` is that of the snapshot to be taken; the ancestors are asked for when one is needed."""
        self.depth = base_depth(generation)
        self._wanted = list(preferred(generation))
        self._ancestors = ancestors
        self._catalogs: list[Catalog] | None = None

    def versions(self, folder: bytes, name: bytes) -> Iterator[tuple[Catalog, Entry]]:
        """Where something shallow enough of a file should be found, best first; what does not read is no ancestor."""
        if self._catalogs is None:
            ancestors = self._ancestors()
            nearest = [min(ancestors, key=lambda one: abs(one.generation - wanted))
                       for wanted in self._wanted if ancestors]  # fmt: skip
            self._catalogs = [one.open() for one in {one.generation: one for one in nearest}.values()]
        for catalog in self._catalogs:
            with suppress(DamagedError, HostileError):
                if (entry := catalog.find(folder, name)) is not None:
                    yield catalog, entry


NONE = Ancestry(0, tuple)
