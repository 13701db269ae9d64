"""What must stay: the union of the reaches of some snapshots, and whose segments may go at all."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from shared.errors import DamagedError, FarkeepError
from siteagent.home import Home
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.names import SegmentName, run_of
from siteagent.store.nameset import NameSet

GRACE_NS = 7 * 24 * 3600 * 10**9
"""How long what a backup stored that did not come to its end is kept for the next try (counted time)."""


def needed_segments(home: Home, staying: Iterable[SnapshotEntry]) -> NameSet:
    """The segments that these snapshots need, superseded ones replaced by their successors.

    Raises DamagedError when a reach does not read: then nothing is known to be superfluous.
    """
    needed = NameSet()
    for entry in staying:
        try:
            segments = home.snapshots.segments(entry.id, entry.taken.reach)
        except FarkeepError as error:
            raise DamagedError(
                f"what a snapshot needs does not read, so nothing can be given up: {error.message}",
                subject=error.subject or entry.id.hex(),
                next_step="run `farkeep verify`; restore this file from a copy or a partner, or forget this snapshot",
            ) from error
        for name in home.successors.closed(segments):
            needed.add(name)
    return needed


class Runs(Struct, frozen=True):
    """Runs by what may become of their segments: `kept` by a snapshot that stays, `open`, or `over`."""

    kept: frozenset[bytes]
    open: frozenset[bytes]
    over: frozenset[bytes]
    is_now: bool

    def is_over(self, name: SegmentName) -> bool:
        """True when nobody will come to need this segment who does not need it by now."""
        run = run_of(name)
        return run in self.over or (self.is_now and run not in self.open)


def runs_of(home: Home, staying: Iterable[SnapshotEntry], *, is_now: bool) -> Runs:
    """Sort the runs that the log knows; `is_now` gives an interrupted backup no time for another try."""
    history, counted_ns = home.ledger.history(), home.ledger.counted().now_ns
    jobs = [job for job in history.jobs if job.run]
    over = {entry.taken.run for entry in history.snapshots}
    for job in jobs:
        is_tried_again = job.kind == "backup" and job.outcome in ("failed", "refused")
        if job.outcome and (is_now or not is_tried_again or job.ended_counted_ns + GRACE_NS <= counted_ns):
            over.add(job.run)
    return Runs(frozenset(entry.taken.run for entry in staying), frozenset(job.run for job in jobs if not job.outcome),
                frozenset(over), is_now)  # fmt: skip
