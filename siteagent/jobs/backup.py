"""Backing up: view -> capture -> packs -> manifest and reach -> one fact.

What a crash between step n and n + 1 leaves:

| step | durable after it                       | a crash then leaves                                                  |
| ---- | -------------------------------------- | -------------------------------------------------------------------- |
| 1    | fact job.started (names the run)       | a job without an end: the next writer records that it was cut off    |
| 2    | packs, one after the other             | whole packs, taken over by the next writer; a part of one, removed   |
| 3    | facts packs.stored (4 GiB or 10 min)   | the same; nothing that was recorded is written again                 |
| 4    | reach, then manifest                   | two files that no fact names: removed once the abandonment is a fact |
| 5    | fact snapshot.taken: the commit        | a finished snapshot                                                  |
| 6    | H.head beside the home                 | an older mark that the log contains: nothing is lost                 |

The previous snapshots stay as they were at every point.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Literal

from msgspec import Struct, field

from shared.errors import DamagedError, FarkeepError, HostileError, RefusedError
from shared.facts import (
    Fact,
    JobEnded,
    JobEndedSealed,
    JobStarted,
    JobStartedSealed,
    PackRef,
    PacksStored,
    RunAbandoned,
    RunAbandonedSealed,
    Subject,
    plain_text,
)
from shared.manifest import Manifest, ManifestBody, ManifestHeader, encode_manifest, manifest_digest
from shared.summary import Quality, SnapshotSummary
from siteagent.capture.ancestry import Ancestor, Ancestry
from siteagent.capture.capture import Capture, CaptureOptions, Draft, Figures
from siteagent.capture.previous import Previous
from siteagent.home import Home
from siteagent.ledger.history import History
from siteagent.ledger.state import SnapshotEntry
from siteagent.salvage import prepare_writing, unreadable_segments, unusable_segments
from siteagent.sources.base import SourceError, View
from siteagent.store.catalog import Catalog
from siteagent.store.deltahelpers import DeltaHelpers
from siteagent.store.deltaprocess import DeltaSetup
from siteagent.store.names import SegmentName
from siteagent.store.reach import Reach, encode_reach, new_reach
from siteagent.store.writer import RunKeys, StoreWriter

Outcome = Literal["done", "partial", "failed", "refused"]
CHECKPOINT_BYTES = 4 << 30
CHECKPOINT_NS = 600 * 10**9
_ALARMS = "alarms"


class BackupRequest(Struct, frozen=True):
    """What to back up and how; `paths` are recorded, `view` is what is read."""

    name: str
    paths: tuple[bytes, ...]
    view: View
    user: str
    host: str
    tags: tuple[str, ...] = ()
    options: CaptureOptions = field(default_factory=CaptureOptions)
    source_kind: str = "files"
    finish: Callable[[], None] | None = None
    """Called when everything is captured and before anything is committed; raises to call the backup off."""


class BackupResult(Struct, frozen=True):
    """What a backup did. `snapshot` is empty after a dry run."""

    snapshot: bytes
    summary: SnapshotSummary
    bytes_stored: int
    seconds: float
    errors: list[SourceError]
    alarms: list[SourceError]
    notes: list[str]


class _Run:
    """One running backup."""

    def __init__(self, home: Home, request: BackupRequest) -> None:
        self._home, self._request = home, request
        self._clock = home.world.clock
        self._started_ns, self._began_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        self._lease = home.leases.register("backup")
        self._lease.unusable |= unusable_segments(home)
        keys = RunKeys(home.keyring.site_id, home.keyring.current, home.keyring.default_domain)
        self.store = StoreWriter(home.packs, home.index, home.reader, keys, self._lease, home.cited,
                                 home.world.randomness, home.world.workers, home.world.starts_processes,
                                 home.world.pack_bytes)  # fmt: skip
        if home.world.starts_processes:
            setup = DeltaSetup(home.path, home.keyring.epochs, self.store.chunk_key)
            self.store.lend_deltas(DeltaHelpers(setup, home.reader, home.world.workers or os.cpu_count() or 1))
        home.ledger.checkpoint()
        self._log_bytes = _log_bytes(home)
        self._job = home.world.randomness.bits(16)
        home.running[self._job] = True
        self._previous = newest_complete(home.ledger.history(), request.name)
        self._checkpoint_bytes, self._checkpoint_ns = 0, self._began_ns
        self._packs: list[PackRef] = []
        self.capture = self._new_capture()

    def _new_capture(self) -> Capture:
        home, request = self._home, self._request
        self._cursor = Previous(catalog_to_compare(home, self._previous), self._lease.unusable)
        return Capture(request.view, self.store, home.keyring.default_domain.boundary_key, self._cursor,
                       home.reader, self._clock, request.options, self._ancestry(), self._checkpoint)  # fmt: skip

    def _ancestry(self) -> Ancestry:
        history, name, newest = self._home.ledger.history(), self._request.name, self._previous

        def ancestors() -> list[Ancestor]:
            return [Ancestor(entry.generation, partial(self._home.catalog, entry))
                    for entry in history.snapshots_named(name)
                    if newest is not None and entry.id != newest.id and entry.summary is not None]  # fmt: skip

        return Ancestry(history.generation(name), ancestors)

    def start(self) -> None:
        """Step 1: the job is a fact."""
        request = self._request
        what = tuple(plain_text(path.decode("utf-8", "surrogateescape")) for path in request.paths)
        self._home.ledger.record(Fact(
            JobStarted(job=self._job, kind="backup", run=self.store.run),
            JobStartedSealed(user=plain_text(request.user), host=plain_text(request.host), what=what),
        ))  # fmt: skip

    def _checkpoint(self) -> None:
        """Step 3: what a long run has stored so far counts as present."""
        now_ns = self._clock.monotonic_ns()
        stored = self.store.stored_bytes
        is_due = now_ns - self._checkpoint_ns > CHECKPOINT_NS and stored > self._checkpoint_bytes
        if is_due or stored - self._checkpoint_bytes >= CHECKPOINT_BYTES:
            self._checkpoint_bytes, self._checkpoint_ns = stored, now_ns
            packs = tuple(self.store.finish())
            self._home.ledger.record(Fact(PacksStored(run=self.store.run, packs=packs)))

    def perform(self, watch: Callable[[Capture], None]) -> BackupResult:
        """Steps 2 to 6."""
        draft = self._captured(watch)
        if self._request.finish is not None:
            self._request.finish()
        self._packs = self.store.finish()
        snapshot = self._home.world.randomness.bits(16)
        summary = self._summary(draft)
        files_bytes = self._commit(snapshot, summary, draft)
        home = self._home
        growth = self.store.stored_bytes + files_bytes + _log_bytes(home) - self._log_bytes
        notes = [self._cursor.damage + ": the files concerned were read again"] if self._cursor.damage else []
        return BackupResult(snapshot, summary, growth, self._seconds(), draft.figures.errors, draft.figures.alarms,
                            notes + home.notes)  # fmt: skip

    def _captured(self, watch: Callable[[Capture], None]) -> Draft:
        """Step 2. Where what unchanged files rest on does not read, all begins anew, and those files are read again."""
        while True:
            watch(self.capture)
            try:
                return self.capture.run()
            except (DamagedError, HostileError) as error:
                if self._previous is None or not self._request.view.is_repeatable:
                    raise
                damaged = unreadable_segments(self._home, self._previous) - self._lease.unusable
                if not damaged:
                    raise
                self._home.notes.append(f"{error}: files that rest on it were read again; run `farkeep verify`")
            self._lease.unusable |= damaged
            self.store.look_again()
            self.capture = self._new_capture()

    def _seconds(self) -> float:
        return (self._clock.monotonic_ns() - self._began_ns) / 1e9

    def _summary(self, draft: Draft) -> SnapshotSummary:
        request, figures, skipped = self._request, draft.figures, self._request.view.skipped
        return SnapshotSummary(
            name=request.name, time_ns=self._started_ns, ended_ns=self._clock.now_ns(), quality=quality_of(figures),
            host=plain_text(request.host), user=plain_text(request.user), source_kind=request.source_kind,
            paths=request.paths, domain=self._home.keyring.default_domain.id, tags=request.tags,
            view=request.view.quality, root_page=draft.root.page_id, root_segment=draft.root.segment,
            levels=draft.root.level, previous_snapshot=self._previous.id if self._previous else b"",
            counts=draft.counts, files=figures.files, folders=figures.folders, links=figures.links,
            others=figures.others, sockets_skipped=skipped.sockets, bytes_seen=figures.bytes_seen,
            bytes_read=self.capture.content.bytes_read, bytes_new=self.store.bytes_new,
            bytes_stored=self.store.stored_bytes, incompressible_bytes=self.store.incompressible_bytes,
            errors=len(figures.errors) + len(figures.alarms), excluded=skipped.excluded,
        )  # fmt: skip

    def _commit(self, snapshot: bytes, summary: SnapshotSummary, draft: Draft) -> int:
        """Steps 4 to 6; returns the bytes of manifest and reach."""
        home = self._home
        reach = self._reach(snapshot, draft.needed)
        reach_bytes = encode_reach(reach)
        body = ManifestBody(run=self.store.run, reach=manifest_digest(reach_bytes), packs=tuple(self._packs),
                            summary=summary, subject=summary.name)
        header = ManifestHeader(site=home.keyring.site_id, snapshot=snapshot, key_epoch=home.keyring.current.number,
                                written_after=home.ledger.head.position)  # fmt: skip
        manifest = Manifest(header, body)
        data = encode_manifest(manifest, manifest_key=home.keyring.current.manifest_key,
                               nonce=home.world.randomness.bits(12))  # fmt: skip
        home.snapshots.write(snapshot, data, reach_bytes)
        home.snapshots.require_stored(manifest, reach)
        outcome: Outcome = "done" if summary.quality in ("app", "crash", "live") else "partial"
        home.ledger.record(
            Fact(manifest.to_fact(manifest_digest(data)), summary, Subject(kind="source", name=summary.name)),
            Fact(JobEnded(job=self._job, outcome=outcome), JobEndedSealed(counters=_counters(draft.figures))),
        )  # fmt: skip
        return len(data) + len(reach_bytes)

    def _reach(self, snapshot: bytes, segments: set[SegmentName]) -> Reach:
        home, before = self._home, self._previous
        base, base_segments = None, set[SegmentName]()
        try:
            if before is not None:
                base_segments = home.snapshots.segments(before.id, before.taken.reach)
                base = home.snapshots.reach(before.id, before.taken.reach)
        except (DamagedError, HostileError) as error:
            home.notes.append(f"the reach of the previous snapshot does not read: {error}")
        return new_reach(home.keyring.site_id, snapshot, segments, base, base_segments)

    def fail(self, error: BaseException) -> None:
        """Record why the job ended and what stays of it, if the log can still be written.

        Packs that are whole count as present, so that the next try goes on from there; the rest is given up.
        """
        outcome: Outcome = "refused" if isinstance(error, RefusedError) else "failed"
        run = self.store.run
        try:
            self.store.close()
            packs = (*self._packs, *self.store.take())
            self._home.ledger.record(
                *([Fact(PacksStored(run=run, packs=packs))] if packs else []),
                Fact(JobEnded(job=self._job, outcome=outcome), JobEndedSealed(message=plain_text(str(error)))),
                Fact(RunAbandoned(run=run), RunAbandonedSealed(reason="the job did not come to its end")),
            )
        except FarkeepError as second:
            self._home.notes.append(f"the end of the job could not be recorded: {second}")

    def close(self) -> None:
        """Release workers, view and lease."""
        self.store.close()
        self._request.view.close()
        self._lease.end()
        with self._home.arranging:
            self._home.running.pop(self._job, None)


def _unwatched(capture: Capture) -> None:
    del capture


def back_up(home: Home, request: BackupRequest, watch: Callable[[Capture], None] = _unwatched) -> BackupResult:
    """Take a snapshot of a view; `watch` receives the running capture for a progress display.

    Trouble of the source marks the snapshot; trouble of the store raises a typed error and nothing is acknowledged.
    Raises ExhaustedError at once where no room can be kept for the way out of a full disk.
    """
    with home.arranging:
        prepare_writing(home)
        home.reserve.require()
        run = _Run(home, request)
    try:
        run.start()
        return run.perform(watch)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        run.fail(error)
        raise
    finally:
        run.close()


def newest_complete(history: History, name: str) -> SnapshotEntry | None:
    """The newest snapshot of a name that lacks nothing: a good one, or one that only files read again made partial.

    Those hold what was found then; comparing with an older one would take their stale content over again.
    """
    good, newest = history.newest_snapshot(name, is_good=True), history.newest_snapshot(name)
    if good is None or newest is None or good.id == newest.id:
        return good
    for entry in reversed(history.snapshots_named(name)):
        if entry.id == good.id:
            return good
        if entry.summary is not None and entry.summary.errors == _alarms(history, entry):
            return entry
    return good


def catalog_to_compare(home: Home, previous: SnapshotEntry | None) -> Catalog | None:
    """The tree of the snapshot before, if there is one with anything in it."""
    if previous is None or previous.summary is None or not previous.summary.root_page:
        return None
    return home.catalog(previous)


def _alarms(history: History, entry: SnapshotEntry) -> int:
    """How many files a backup found changed that did not look it."""
    job = next((job for job in history.newest_jobs() if job.run == entry.taken.run), None)
    return job.ended.counters.get(_ALARMS, 0) if job is not None and job.ended is not None else 0


def _counters(figures: Figures) -> dict[str, int]:
    return {"files": figures.files} | ({_ALARMS: len(figures.alarms)} if figures.alarms else {})


def quality_of(figures: Figures) -> Quality:
    """The label of a live view's snapshot."""
    if figures.errors or figures.alarms:
        return "partial"
    return "changed" if figures.changed_while_read else "live"


def _log_bytes(home: Home) -> int:
    """Size of the log's database; what SQLite keeps beside it while it is open comes and goes."""
    home.ledger.checkpoint()
    return home.disk.size("log/log.db") or 0
