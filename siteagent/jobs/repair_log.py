"""Taking back what the log does not know: after it was put back from an old copy, was lost, or was damaged.

1. A log that is missing or does not read is replaced by what can be saved of it (siteagent.ledger.rescue).
2. Is there proof that facts are missing (the high-water mark, packs or manifests that cite later heads, a rescue), it
   is looked for packs with a sound trailer, key records, and snapshots whose manifest opens and whose reach is there.
3. They become facts together with the opening of a new log epoch, in one transaction: the new high-water mark takes the
   proof away, so there must be no moment at which it is gone and they are not there.

| step | durable after it                              | a crash then leaves                                         |
| ---- | --------------------------------------------- | ----------------------------------------------------------- |
| 1    | the old log under another name, what holds of | what the next `repair log` goes on from (the old file in    |
|      | it as the new one (only where it does not     | part or whole under the other name)                         |
|      | read)                                         |                                                             |
| 2    | the opening of a new log epoch                | the proof that facts are missing is still there (packs and  |
|      |                                               | manifests cite them): nothing may be written, repair again  |
| 3    | manifests that cannot be used have other names| the same                                                    |
| 4    | all that is taken back, and the end of the    | a repaired log; `changes/` may lack what was never in it,   |
|      | job, in one transaction                       | the next prune writes it                                    |
| 5    | `changes/` says what the log says             | an index that leads to retired segments: refused by name    |
| 6    | the index in line                             |                                                             |

Nothing is swept and nothing is removed; a manifest that cannot be taken back gets another name, so that it does not
stand for a snapshot, and is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct, field

from shared.decisions import SegmentsSuperseded, SegmentsSwept
from shared.errors import DamagedError, FarkeepError, HostileError, RefusedError
from shared.facts import Fact, KeyAdded, LogReadopted, LogReadoptedSealed, PackRef, Subject
from shared.manifest import Manifest, manifest_digest
from shared.names import default_name
from siteagent.home import Access, Home, World, changes_of, open_for_repair
from siteagent.jobs.record import RunningJob, Who, facts_of_job
from siteagent.ledger.rescue import Rescue
from siteagent.salvage import refresh_index, require_newest
from siteagent.store.changes import Changes
from siteagent.store.pack import pack_root, read_trailer
from siteagent.store.segment import KIND_NAMES
from siteagent.store.snapshots import SnapshotFiles

_PACKS_PER_FACT = 10_000


class LogRepair(Struct):
    """What was done. `reason`: why facts are thought to be missing (empty: nothing had to be done); `not_taken`:
    what could not be taken back, and why; `known_until_ns`: log time of the newest fact that was there (0: none).
    Snapshots and packs come back; what was decided later (holds, tags, what was forgotten) does not."""

    reason: str = ""
    known_until_ns: int = 0
    rescue: Rescue | None = None
    snapshots: list[bytes] = field(default_factory=list)
    packs: list[bytes] = field(default_factory=list)
    not_taken: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Lost(Struct, frozen=True):
    """A snapshot that the log does not know."""

    manifest: Manifest
    digest: bytes


def open_broken(access: Access, command: str, world: World) -> Home:
    """Open a home whose log may be missing or damaged; raises like `open_home` for anything else."""
    return open_for_repair(access, command, world, _site_name)


def repair_log(home: Home, who: Who | None = None) -> LogRepair:
    """Take back what the log does not know; the home comes from `open_broken`."""
    report = LogRepair(rescue=home.rescue, reason=_reason(home))
    if not report.reason:
        return report
    last = home.ledger.history().last_stamp
    if last is not None and (home.rescue is None or home.rescue.facts):
        report.known_until_ns = last.time_ns
    job = RunningJob(home.world.randomness.bits(16))
    _take_back(home, report, job)
    job.outcome = "partial" if report.not_taken else "done"
    job.counters = {"snapshots": len(report.snapshots), "packs": len(report.packs)}
    facts = facts_of_job("repair", who or Who("", ""), ("log",), job)
    home.ledger.open_log_epoch("rewound", report.reason, facts)
    home.changes.replace(changes_of(home.ledger.history()), home.keyring.current.number)
    refresh_index(home)
    report.notes += home.notes
    return report


def _reason(home: Home) -> str:
    if home.rescue is not None:
        return "the log was damaged" if home.rescue.aside else "the log was missing"
    try:
        require_newest(home)
    except (RefusedError, DamagedError) as error:
        return error.message
    return ""


def _take_back(home: Home, report: LogRepair, job: RunningJob) -> None:
    history = home.ledger.history()
    known_keys = {(record.kind, record.id) for record in history.keys}
    job.facts += [Fact(KeyAdded(record=record)) for record in home.keyring.records
                  if (record.kind, record.id) not in known_keys]
    changes = _changes(home, report)
    job.facts += _lost_changes(home, changes, job)
    packs = [pack for pack in _lost_packs(home, report) if pack.id not in changes.packs]
    # Of packs and manifests that came back from an older copy the log still knows what was swept.
    lost = _lost_snapshots(home, report, {*changes.snapshots, *history.swept})
    report.packs = [pack.id for pack in packs]
    report.snapshots = [found.manifest.header.snapshot for found in lost]
    sealed = LogReadoptedSealed(reason=report.reason)
    for start in range(0, max(len(packs), 1), _PACKS_PER_FACT):
        snapshots = tuple(report.snapshots) if start == 0 else ()
        part = tuple(packs[start : start + _PACKS_PER_FACT])
        job.facts.append(Fact(LogReadopted(snapshots=snapshots, packs=part), sealed))
    for found in lost:
        body = found.manifest.body
        subject = Subject(kind="source", name=body.subject or body.summary.name)
        job.facts.append(Fact(found.manifest.to_fact(found.digest), body.summary, subject))


def _changes(home: Home, report: LogRepair) -> Changes:
    try:
        return home.changes.read()
    except (DamagedError, HostileError) as error:
        report.not_taken.append((error.subject, error.message))
        return Changes()


def _lost_changes(home: Home, changes: Changes, job: RunningJob) -> Iterator[Fact]:
    """What was superseded and swept before the log was put back. Nothing is swept anew: these facts were there."""
    history = home.ledger.history()
    for new, old in changes.superseded:
        if (new, old) not in history.superseded:
            yield Fact(SegmentsSuperseded(run=home.world.randomness.bits(16), new=new, old=old, packs=()))
    lacking = [names for names in changes.segments if names not in history.swept_segments]
    snapshots = tuple(snapshot for snapshot in changes.snapshots if snapshot not in history.swept)
    packs = tuple(pack for pack in changes.packs if pack not in history.packs_gone)
    if lacking or snapshots or packs:
        yield Fact(SegmentsSwept(job=job.id, snapshots=snapshots, segments=b"", packs=packs))
    for names in lacking:
        yield Fact(SegmentsSwept(job=job.id, snapshots=(), segments=names))


def _lost_packs(home: Home, report: LogRepair) -> Iterator[PackRef]:
    known = home.ledger.history().packs
    for pack_id in home.packs.finished():
        if pack_id in known:
            continue
        subject = f"packs/{pack_id.hex()}.pack"
        try:
            header, rows = read_trailer(home.packs.open(pack_id), subject)
            if header.pack_id != pack_id or header.site != home.keyring.site_id:
                raise DamagedError("a pack is another one than its name says, or another site's", subject=subject)
        except FarkeepError as error:
            report.not_taken.append((subject, error.message))
            continue
        yield PackRef(id=pack_id, kind=KIND_NAMES.get(header.kind, "data"), size_bytes=home.packs.size(pack_id) or 0,
                      root=pack_root(rows), segments=len(rows))  # fmt: skip


def _lost_snapshots(home: Home, report: LogRepair, swept: set[bytes]) -> list[_Lost]:
    """Snapshots to take back, oldest first; not those that were swept."""
    known, lost = set(home.ledger.history().snapshot_ids), []
    for snapshot in home.snapshots.manifests():
        if snapshot in known or snapshot in swept:
            continue
        try:
            lost.append(_lost(home, snapshot))
        except (DamagedError, HostileError) as error:
            report.not_taken.append((home.snapshots.set_aside(snapshot), error.message))
        except FarkeepError as error:
            report.not_taken.append((f"snapshots/{snapshot.hex()}.manifest", error.message))
    return sorted(lost, key=lambda found: found.manifest.body.summary.time_ns)


def _lost(home: Home, snapshot: bytes) -> _Lost:
    """Open a manifest and try its reach; raises what makes it impossible to take this snapshot back."""
    manifest = home.snapshots.manifest(snapshot, None)
    if manifest.header.snapshot != snapshot or manifest.header.site != home.keyring.site_id:
        raise DamagedError("a manifest is another site's or another snapshot's", subject=snapshot.hex())
    home.snapshots.segments(snapshot, manifest.body.reach)
    return _Lost(manifest, manifest_digest(home.snapshots.manifest_bytes(snapshot)))


def _site_name(files: SnapshotFiles) -> str:
    """The site's name, guessed from names of snapshots that begin with it; empty when none does."""
    names: Counter[str] = Counter()
    for snapshot in files.manifests():
        try:
            summary = files.manifest(snapshot, None).body.summary
        except FarkeepError:
            continue
        starts = (summary.name[:length] for length in range(1, len(summary.name)))
        names.update(site for site in starts if default_name(site, summary.paths) == summary.name)
    return names.most_common(1)[0][0] if names else ""
