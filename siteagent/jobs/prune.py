"""Pruning: forgotten snapshots are given up for ever, and the space that nothing needs any more is freed.

What a crash between step n and n + 1 leaves. Nothing that a snapshot of the log needs is missing at any point:

| step | durable after it                                    | a crash then leaves                                    |
| ---- | --------------------------------------------------- | ------------------------------------------------------ |
| 1    | fact job.started                                    | a job without an end: the next writer records that     |
| 2    | fact segments.swept: the snapshots                  | manifests and reaches that no fact names: removed by   |
|      |                                                     | the next writer                                        |
| 3    | compaction (siteagent.jobs.compaction)              | old segments beside their successors: swept next time  |
| 4    | new packs with copies of what stays of old ones     | the same segments twice: taken over by the next writer,|
|      |                                                     | one of the two goes at the next prune                  |
| 5    | facts packs.replaced, segments.swept: the segments, | garbage that reads as pruned: the next writer does     |
|      | and the packs that go whole                         | steps 6 to 8                                           |
| 6    | manifests and reaches removed                       | the same                                               |
| 7    | packs deleted, each once all that it holds is       | the same                                               |
|      | retired or found in another pack                    |                                                        |
| 8    | stretches punched                                   | what was not punched is noticed by its size and punched|
|      |                                                     | by the next prune                                      |
| 9    | fact job.ended                                      |                                                        |

The reaches of all snapshots that stay are read before step 2: when one does not read, nothing is given up.
"""

from __future__ import annotations

from msgspec import Struct, field
from msgspec.structs import replace

from shared.errors import DamagedError, ExhaustedError, FarkeepError, HostileError
from siteagent.home import Home
from siteagent.jobs.compaction import Compacted, Used, candidates, chosen, compact, followed, held_by_deltas
from siteagent.jobs.heavy import Heavy, heavy_frames
from siteagent.jobs.leaving import Leaving, leaving
from siteagent.jobs.needed import Runs, needed_segments, runs_of
from siteagent.jobs.packplan import dead_segments, views
from siteagent.jobs.record import RunningJob, Who, recorded_writing
from siteagent.jobs.sweep import Swept, give_up_snapshots, require_present, sweep
from siteagent.ledger.log_check import require_consistent
from siteagent.ledger.state import SnapshotEntry
from siteagent.salvage import refresh_index
from siteagent.store.catalog import Catalog
from siteagent.store.names import SegmentName
from siteagent.store.nameset import NameSet

BUDGET_BYTES = 4 << 30
_PASSES_MAX = 3
_FOLDERS = ("packs", "snapshots", "reaches")


class PruneRequest(Struct, frozen=True):
    """`is_now`: without waiting times; `budget_bytes`: what may be written again at most."""

    who: Who
    is_now: bool = False
    is_dry_run: bool = False
    budget_bytes: int = BUDGET_BYTES


class PruneReport(Struct):
    """What was done; sizes in bytes. `bytes_freed`: by how much the space that the store takes on the disk went down.
    After a dry run: what could be freed, about. `waiting`: forgotten snapshots whose waiting time is not over;
    `next_due_ns`: when the first of them is due (0: none)."""

    snapshots: list[bytes] = field(default_factory=list)
    waiting: list[bytes] = field(default_factory=list)
    next_due_ns: int = 0
    segments_swept: int = 0
    segments_superseded: int = 0
    bytes_freed: int = 0
    bytes_rewritten: int = 0
    bytes_held_by_deltas: int = 0
    packs_deleted: int = 0
    packs_punched: int = 0
    packs_repacked: int = 0
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def prune(home: Home, request: PruneRequest) -> PruneReport:
    """Give up and free; raises DamagedError when it cannot be known what is needed, UnavailableError when jobs run
    that may need it."""
    report, began_ns = PruneReport(), home.world.clock.monotonic_ns()
    if request.is_dry_run:
        _foresee(home, request, report)
    else:
        # Nothing goes for ever on the word of a log that contradicts itself.
        require_consistent(home.ledger)
        with home.leases.pruning():
            with recorded_writing(home, "prune", request.who, ("now",) if request.is_now else ()) as job:
                _prune(home, request, job, report)
                job.counters = _counters(report)
    report.seconds = (home.world.clock.monotonic_ns() - began_ns) / 1e9
    report.notes += home.notes
    return report


def _prune(home: Home, request: PruneRequest, job: RunningJob, report: PruneReport) -> None:
    before = allocated_bytes(home)
    found = leaving(home, is_now=request.is_now)
    needed = needed_segments(home, found.staying)
    require_present(home, needed)
    _fill_leaving(report, found)
    give_up_snapshots(home, job.id, found)
    request = _within_room(home, request, report)
    compacted = _compact(home, request, found, needed)
    swept = sweep(home, job.id, is_now=request.is_now, budget_bytes=request.budget_bytes - compacted.bytes_rewritten)
    _fill(report, compacted, swept)
    report.notes += compacted.notes
    report.bytes_freed = before - allocated_bytes(home)
    home.reserve.make()


def _within_room(home: Home, request: PruneRequest, report: PruneReport) -> PruneRequest:
    """Nothing is written again where the reserve is in use: its room is for the facts of this prune."""
    if home.reserve.make():
        return request
    report.notes.append("the disk is full: what can be freed without writing is freed; prune again when there is room")
    return replace(request, budget_bytes=0)


def _compact(home: Home, request: PruneRequest, found: Leaving, needed: NameSet) -> Compacted:
    """Step 3, when snapshots have gone: only then did anything become less used.

    What lighter deltas do not rest on any more is found by going over it again.
    """
    done, budget_bytes = Compacted(), request.budget_bytes
    for _ in range(_PASSES_MAX if found.going else 0):
        again = _compact_once(home, request, candidates(home, needed, _runs(home, request, found)), budget_bytes)
        done.add(again)
        budget_bytes -= again.bytes_rewritten
        if not again.lighter:
            break
        needed = needed_segments(home, found.staying)
    return done


def _runs(home: Home, request: PruneRequest, found: Leaving) -> Runs:
    return runs_of(home, found.staying, is_now=request.is_now)


def _compact_once(home: Home, request: PruneRequest, names: dict[SegmentName, tuple[int, int]],
                  budget_bytes: int) -> Compacted:
    if not names:
        return Compacted()
    closed = frozenset(names)
    newest = home.leases.close(closed)
    try:
        home.leases.wait_until_clear(newest, home.access.wait_s)
        try:
            staying = home.ledger.history().snapshots
            live = followed(home, staying, names)
            heavy = heavy_frames(home.reader, live, _series(home, staying))
        except (DamagedError, HostileError) as error:
            return Compacted(notes=[f"nothing is compacted, for a catalog does not read: {error.message}"])
        used = chosen(home, live, heavy, names, budget_bytes)
        done = _compact_if_there_is_room(home, request, used, heavy)
        done.bytes_held_by_deltas = held_by_deltas(live, names)
        return done
    finally:
        home.leases.release(closed)


def _series(home: Home, snapshots: list[SnapshotEntry]) -> list[list[Catalog]]:
    """The catalogs of each NAME, oldest first."""
    found: dict[str, list[Catalog]] = {}
    for entry in snapshots:
        if entry.summary is not None:
            found.setdefault(entry.summary.name, []).append(home.catalog(entry))
    return list(found.values())


def _compact_if_there_is_room(home: Home, request: PruneRequest, used: list[Used], heavy: Heavy) -> Compacted:
    """A full disk is why people prune: what can be freed without writing is freed all the same."""
    try:
        return compact(home, request.who, used, heavy) if used else Compacted()
    except ExhaustedError as error:
        return Compacted(notes=[f"compaction stopped: {error.message}; prune again when there is room"])


def _fill_leaving(report: PruneReport, found: Leaving) -> None:
    report.snapshots, report.notes = [entry.id for entry in found.going], list(found.notes)
    report.waiting, report.next_due_ns = [entry.id for entry in found.waiting], found.next_due_ns


def _fill(report: PruneReport, compacted: Compacted, swept: Swept) -> None:
    report.segments_superseded, report.bytes_held_by_deltas = compacted.superseded, compacted.bytes_held_by_deltas
    report.bytes_rewritten = compacted.bytes_rewritten + swept.bytes_rewritten
    report.segments_swept = swept.segments
    report.packs_deleted, report.packs_punched, report.packs_repacked = swept.deleted, swept.punched, swept.repacked


def _counters(report: PruneReport) -> dict[str, int]:
    return {"snapshots": len(report.snapshots), "segments": report.segments_swept,
            "bytes_rewritten": report.bytes_rewritten, "packs_deleted": report.packs_deleted,
            "packs_punched": report.packs_punched, "packs_repacked": report.packs_repacked,
            "bytes_freed": max(0, report.bytes_freed)}  # fmt: skip


def _foresee(home: Home, request: PruneRequest, report: PruneReport) -> None:
    """What a prune would do, without changing anything."""
    refresh_index(home)
    found = leaving(home, is_now=request.is_now)
    _fill_leaving(report, found)
    needed, runs = needed_segments(home, found.staying), runs_of(home, found.staying, is_now=request.is_now)
    require_present(home, needed)
    dead = dead_segments(home, needed, runs)
    report.segments_swept = len(dead)
    report.bytes_freed = sum(row.length for view in views(home) for row in view.rows if row.name in dead)
    names = candidates(home, needed, runs) if found.going else {}
    try:
        live = followed(home, found.staying, names)
        used = chosen(home, live, Heavy({}, {}), names, request.budget_bytes)
    except FarkeepError as error:
        report.notes.append(f"what compaction would free is not known: {error.message}")
        return
    report.segments_superseded = len(used)
    report.bytes_rewritten = sum(part.copied_bytes for part in used)
    report.bytes_freed += sum(part.stored_bytes for part in used) - report.bytes_rewritten
    report.bytes_held_by_deltas = held_by_deltas(live, names)


def allocated_bytes(home: Home) -> int:
    """What packs, manifests and reaches take on the disk."""
    return sum(home.disk.allocated(f"{folder}/{name}") for folder in _FOLDERS for name in home.disk.list(folder))
