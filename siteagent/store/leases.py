"""Leases: how running jobs keep what they rely on from being swept.

Whoever writes a draft or reads (restore, verify, mount, fetch, delta encoding) registers a lease *first* and reads the
condemned set *afterwards*; whoever condemns publishes the condemned set *first* and reads the leases *afterwards*. So
either the job sees the condemnation, or the sweep sees the job. A lease lives in the owner process and ends with it;
a live one is reported, never timed out.

operation starting x operation running -> why it is safe
  backup x sweep      the draft re-uses nothing condemned; a sweep waits for every lease older than its condemnation
  restore x sweep     the same; what a reader may meet was in no condemned set when it registered
  sweep x backup      the union of reaches is computed again when the last older lease is gone
  backup x backup     runs never share a name; both may store one chunk, which costs space only
"""

from __future__ import annotations

import threading

from msgspec import Struct

from siteagent.store.names import SegmentName


class Lease(Struct, eq=False):
    """One job's claim; `unusable` is what it must not rely on."""

    job: str
    number: int
    unusable: frozenset[SegmentName]
    _leases: Leases

    def may_reuse(self, segment: SegmentName) -> bool:
        """True when a new snapshot may rely on this segment."""
        return segment not in self.unusable

    def end(self) -> None:
        """Give the claim up; harmless when called twice."""
        self._leases.end(self)


class Leases:
    """The leases of one owner process, and the segments that nobody may rely on anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, Lease] = {}
        self._next = 0
        self._unusable: frozenset[SegmentName] = frozenset()

    def register(self, job: str) -> Lease:
        """Claim first, then read the condemned set."""
        with self._lock:
            self._next += 1
            lease = Lease(job, self._next, frozenset(), self)
            self._held[lease.number] = lease
        lease.unusable = self._unusable
        return lease

    def condemn(self, segments: frozenset[SegmentName]) -> int:
        """Publish segments that nobody may rely on; returns the number of the newest lease that did not know it."""
        with self._lock:
            self._unusable |= segments
            return self._next

    def is_clear(self, newest: int) -> bool:
        """True when no lease numbered up to `newest` is held any more."""
        with self._lock:
            return all(number > newest for number in self._held)

    def held(self) -> list[str]:
        """The jobs that hold leases, oldest first."""
        with self._lock:
            return [lease.job for lease in self._held.values()]

    def end(self, lease: Lease) -> None:
        """Remove a lease."""
        with self._lock:
            self._held.pop(lease.number, None)
