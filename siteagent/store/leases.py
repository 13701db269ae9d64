"""Leases: how running jobs keep what they rely on from being swept.

Whoever writes a draft or reads (restore, verify, mount, fetch, delta encoding) registers a lease *first* and reads the
condemned set *afterwards*; whoever condemns publishes the condemned set *first* and reads the leases *afterwards*. So
either the job sees the condemnation, or the sweep sees the job. A lease lives in the owner process and ends with it;
a live one is reported, never timed out.

Segments are kept from new use in two strengths. *Condemned* (they are to be swept): nothing may rest on them, an entry
of the previous snapshot neither. *Closed* (they are to be compacted): what names them already stays good, for it will
be found in their successors; only a hit of the index must not add a new reference, since what nobody named when the
live chunks were counted is not taken along. So a backup beside a compaction reads no file again.

Each row has its dangerous order in tests/invariants/test_06_skip_only_what_is_there.py.

operation starting x operation running -> why it is safe
  backup x sweep        the draft re-uses nothing condemned; a sweep waits for every lease older than its condemnation
  restore x sweep       a snapshot is given up by a fact before its segments are condemned: whoever starts later does
                        not see it, or, looked up before, is told that it was pruned (siteagent.jobs.reading); whoever
                        started earlier is waited for. The same holds for cat, dump, ls, mount
  verify x sweep        the same; a snapshot that was given up meanwhile is no longer asked for, nor a pack
  sweep x backup        the union of reaches is computed again when the last older lease is gone
  sweep x restore       it waits for the lease before the first byte goes
  sweep x verify        the same
  backup x compaction   the draft adds no reference to what is closed; those it takes over are of snapshots that stay
  compaction x backup   live chunks are counted when every lease older than the closing is gone, of all snapshots then
  restore x compaction  old segments stay until a sweep; from the fact on their names lead to the successors
  compaction x restore  the same: a compaction adds packs and a fact, it takes nothing away
  verify x compaction   the same as restore; a successor that came after packs were listed is looked for once more
  compaction x verify   the same as restore
  restore x repack      packs that were copied go when every lease is gone that may know the old places; a job that
                        does not end leaves them to the next writer
  repack x restore      the same. What copies were made and taken back on a full disk stays while anybody reads
  prune x prune         one at a time: the second is told so
  backup x backup       runs never share a name; both may store one chunk, which costs space only. What the other has
                        stored counts for new references once its pack is whole and synced: such packs never go
                        without a fact, and are recorded also when their job fails or dies
  any start x any start Home.arranging is held from looking for what earlier runs left to the entry in Home.running: a
                        job of this process is never taken for one that was cut off, nor its files for litter
  start x prune         packs, manifests and index rows are removed under the same lock: whoever brings the index in
                        line sees them before or after, never between
  start x restore       manifests and packs that were given up stay while anybody holds a lease
  recall x prune        both ask and record under Home.deciding
  repair index x any    refused while anybody holds a lease; whoever starts meanwhile waits
  repair packs x prune  one at a time, as two prunes
  repair log, key restore x any: only as the one owner of the home, before anything else runs
"""

from __future__ import annotations

import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager

from msgspec import Struct

from shared.errors import UnavailableError
from siteagent.store.names import SegmentName


class Lease(Struct, eq=False):
    """One job's claim; `unusable` is what it must not rely on, `closed` what it must not newly refer to."""

    job: str
    number: int
    unusable: frozenset[SegmentName]
    _leases: Leases
    closed: frozenset[SegmentName] = frozenset()

    def may_reuse(self, segment: SegmentName) -> bool:
        """True when a new snapshot may begin to rely on this segment."""
        return not (segment in self.unusable or segment in self.closed or segment in self._leases.retired)

    def end(self) -> None:
        """Give the claim up; harmless when called twice."""
        self._leases.end(self)


class Leases:
    """The leases of one owner process, and the segments that nobody may rely on anew.

    `retired`: segments that were swept or superseded by facts (siteagent.store.retired).
    """

    def __init__(self, retired: Container[SegmentName] = frozenset()) -> None:
        self.retired = retired
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._is_pruning = False
        self._closed: frozenset[SegmentName] = frozenset()
        self._held: dict[int, Lease] = {}
        self._next = 0
        self._unusable: frozenset[SegmentName] = frozenset()

    def register(self, job: str) -> Lease:
        """Claim first, then read the condemned set."""
        with self._lock:
            self._next += 1
            lease = Lease(job, self._next, frozenset(), self)
            self._held[lease.number] = lease
        with self._lock:
            lease.unusable, lease.closed = self._unusable, self._closed
        return lease

    def condemn(self, segments: frozenset[SegmentName]) -> int:
        """Publish segments that nobody may rely on; returns the number of the newest lease that did not know it."""
        with self._lock:
            self._unusable |= segments
            return self._next

    def close(self, segments: frozenset[SegmentName]) -> int:
        """Publish segments that nobody may newly refer to; returns the number of the newest lease that did not know."""
        with self._lock:
            self._closed |= segments
            return self._next

    def release(self, segments: frozenset[SegmentName]) -> None:
        """Take back what was condemned or closed: it is needed after all, or retired by now."""
        with self._lock:
            self._unusable -= segments
            self._closed -= segments

    @contextmanager
    def pruning(self) -> Iterator[None]:
        """Be the one prune of this process; raises UnavailableError when there is one."""
        with self._lock:
            if self._is_pruning:
                raise UnavailableError("another prune is running in this home", next_step="wait until it has ended")
            self._is_pruning = True
        try:
            yield
        finally:
            with self._lock:
                self._is_pruning = False

    def wait_until_clear(self, newest: int, wait_s: float) -> None:
        """Wait until no lease numbered up to `newest` is held; raises UnavailableError when that takes longer."""
        with self._lock:
            if self._ended.wait_for(lambda: all(number > newest for number in self._held), wait_s):
                return
            jobs = ", ".join(lease.job for lease in self._held.values() if lease.number <= newest)
        raise UnavailableError(f"jobs are running that may need what would be removed: {jobs}",
                               next_step="wait until they have ended, or run the command with --wait")

    def held(self) -> list[str]:
        """The jobs that hold leases, oldest first."""
        with self._lock:
            return [lease.job for lease in self._held.values()]

    def end(self, lease: Lease) -> None:
        """Remove a lease."""
        with self._lock:
            self._held.pop(lease.number, None)
            self._ended.notify_all()
