"""Verifying: is everything that snapshots need there, does it read, and is it what was written.

| checked                                                             | structure | sample    | read-data |
| ------------------------------------------------------------------- | --------- | --------- | --------- |
| log: chain, signatures, bodies                                      | all       | all       | all       |
| manifests (digest, opens, repeats its fact), reaches (digest, sums) | all       | all       | all       |
| changes (digest, against the log)                                   | all       | all       | all       |
| pack trailers against the roots in the log                          | all       | all       | all       |
| segments: there, header, sealed table                               | all       | all       | all       |
| catalogs: pages decode, are in order, name chunks that are there    | all       | all       | all       |
| reaches against the pages' own sets                                 | all       | all       | all       |
| segments whole: digest, seals, t, frames, ids of chunks and pages   | suspects  | per cent  | all       |

Suspects are segments that were damaged when last checked. What is found damaged becomes a fact, and the next backup
reads the source again for it (siteagent.salvage.unusable_segments); what holds again becomes one too.

| step | done after it                               | a crash then leaves                                             |
| ---- | ------------------------------------------- | --------------------------------------------------------------- |
| 1    | fact job.started                            | a job without an end: the next writer records that              |
| 2    | the index corrected where packs contradict  | a better index than before                                      |
| 3    | facts verification.done (damaged, mended)   | what was found is on record; without them it is found again, and|
|      | and job.ended, in one transaction           | until then nothing new is known not to rest on                  |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from msgspec import Struct, field

from shared.errors import DamagedError, FarkeepError, RefusedError
from shared.facts import Fact, VerificationDone, VerificationDoneSealed
from siteagent.home import Home, changes_of
from siteagent.jobs.packcheck import PackCheck
from siteagent.jobs.record import RunningJob, Who, recorded
from siteagent.jobs.sampling import Sampling
from siteagent.jobs.snapshotcheck import KnownSnapshot, SnapshotCheck, known_snapshots
from siteagent.ledger.log_check import check_log
from siteagent.salvage import refresh_index, require_newest
from siteagent.store.changes import FOLDER as CHANGES_FOLDER
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.packs import FolderPacks
from siteagent.store.reader import SegmentReader
from siteagent.store.trace import Stretch, Trace

Mode = Literal["structure", "read-data", "sample"]
_NAMES_PER_FACT = 50_000
"""So that a fact stays below its limit however much of a disk is lost."""


class DamagedSegment(Struct, frozen=True):
    """A segment that does not read or does not hold, and what it takes with it.

    `paths` (absolute, raw bytes) has at most 1000 of them, `is_cut` says that there are more; `stretches` are parts of
    a catalog that cannot be listed; `snapshots` are the ids of those that need this segment (none: it is spare).
    """

    name: SegmentName
    what: str
    paths: list[bytes]
    stretches: list[Stretch]
    is_cut: bool
    snapshots: list[bytes]

    @property
    def segment(self) -> str:
        """The segment's name for people and JSON."""
        return shown_segment(self.name)


class VerifyReport(Struct):
    """What was checked and found. `problems`: (subject, message) of damaged manifests, reaches, packs, pages, the log;
    `not_proven`: what this check says nothing about; `notes`: what else is worth knowing."""

    mode: Mode
    snapshots: int = 0
    segments_checked: int = 0
    segments_read_whole: int = 0
    bytes_read: int = 0
    damaged: list[DamagedSegment] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """True when nothing is damaged."""
        return not self.damaged and not self.problems


class VerifyProgress(Struct):
    """How far a running verification is; `stage` is log, packs, snapshots or tracing."""

    stage: str = "log"
    packs: int = 0
    packs_done: int = 0
    snapshots: int = 0
    snapshots_done: int = 0
    bytes_read: int = 0


def verify(home: Home, mode: Mode = "structure", percent: float = 100.0,
           watch: Callable[[VerifyProgress], None] | None = None, who: Who | None = None) -> VerifyReport:
    """Check a home; `percent` is the share of segments that mode "sample" reads whole.

    Damage is in the report, never raised; what is raised is trouble of the check itself.
    """
    lease, progress = home.leases.register("verify"), VerifyProgress()
    if watch is not None:
        watch(progress)
    try:
        return _verify(home, _begin(home, mode, percent, progress), mode, who or Who("", ""))
    finally:
        lease.end()


def _begin(home: Home, mode: Mode, percent: float, progress: VerifyProgress) -> _Verification:
    refresh_index(home)
    return _Verification(home, mode, percent, progress)


def _verify(home: Home, run: _Verification, mode: Mode, who: Who) -> VerifyReport:
    try:
        with _recorded_if_possible(home, mode, who, run.report) as job:
            run.run()
            job.outcome = "done" if run.report.is_good else "partial"
            job.counters = _counters(run.report)
            job.facts += run.facts(job.id)
    except FarkeepError as error:
        if not run.is_done:
            raise
        run.report.problems.append(("log", f"what was found could not be recorded: {error.message}"))
    finally:
        run.close()
    return run.report


@contextmanager
def _recorded_if_possible(home: Home, mode: str, who: Who, report: VerifyReport) -> Iterator[RunningJob]:
    """Record the job; a log that must not or cannot be written is no reason not to look."""
    with ExitStack() as stack:
        job = RunningJob()
        try:
            require_newest(home)
            job = stack.enter_context(recorded(home, "verify", who, (mode,), is_reading=True))
        except (RefusedError, DamagedError) as error:
            report.problems.append(("log", error.message))
        except FarkeepError as error:
            report.notes.append(f"this verification is not recorded: {error.message}")
        yield job


class _Verification:
    """One running verification."""

    def __init__(self, home: Home, mode: Mode, percent: float, progress: VerifyProgress) -> None:
        self._home, self._mode, self._percent, self._progress = home, mode, percent, progress
        self._began_ns = home.world.clock.monotonic_ns()
        self.report = VerifyReport(mode)
        self.is_done = False
        self._suspects = self._recorded_damage()
        share = {"structure": 0.0, "read-data": 100.0}.get(mode, percent)
        self._sampling = Sampling(home.world.randomness, share)
        self._damaged: dict[SegmentName, str] = {}
        self._mended: list[SegmentName] = []
        self._open_store()

    def _open_store(self) -> None:
        """Its own files and caches: what lies on the disk is asked for, not what this process remembers of it."""
        home = self._home
        self._packs = FolderPacks(home.disk)
        self._reader = SegmentReader(self._packs, home.index, home.keyring, home.successors)
        self._pack_check = PackCheck(home, self._packs, self._reader, self._sampling, self._suspects,
                                     self._progress)

    def _recorded_damage(self) -> set[SegmentName]:
        try:
            return set(self._home.ledger.history().damaged)
        except FarkeepError:
            return set()

    def run(self) -> None:
        """Everything, in the order log, packs, snapshots, consequences."""
        report, progress = self.report, self._progress
        self._check_log()
        self._check_changes()
        snapshots = known_snapshots(self._home, report.problems)
        tree_check = self._check_store(snapshots)
        if self._home.index.is_broken:
            # It says "nothing known" then, which must not look like damage of the store.
            report.notes.append("the index was damaged and was made again")
            self._home.index.reset()
            self.close()
            self._open_store()
            tree_check = self._check_store(snapshots)
        found = self._pack_check.result
        self._damaged = {**tree_check.damaged, **found.damaged}
        self._mended = sorted(name for name in found.proven if name not in self._damaged)
        progress.stage = "tracing"
        report.damaged = self._consequences(tree_check)
        report.problems += self._pack_check.problems + tree_check.problems
        report.snapshots = len(snapshots)
        report.segments_checked, report.segments_read_whole = found.segments, found.whole
        report.bytes_read = found.bytes_read + self._pack_check.trailer_bytes + self._reader.bytes_read
        report.mended = [shown_segment(name) for name in self._mended]
        report.not_proven = self._not_proven(tree_check)
        report.notes += self._pack_check.notes + self._home.notes
        report.seconds = (self._home.world.clock.monotonic_ns() - self._began_ns) / 1e9
        self.is_done = True

    def _check_store(self, snapshots: list[KnownSnapshot]) -> SnapshotCheck:
        progress = self._progress
        progress.stage, progress.snapshots, progress.snapshots_done, progress.packs_done = "packs", len(snapshots), 0, 0
        self._pack_check.run()
        progress.stage = "snapshots"
        check = SnapshotCheck(self._home, self._reader, self._pack_check.is_present, progress)
        for snapshot in snapshots:
            check.check(snapshot)
        return check

    def _check_log(self) -> None:
        found = check_log(self._home.ledger)
        if not found.is_good and not any(subject == "log" for subject, _ in self.report.problems):
            self.report.problems.append(("log", found.problem))

    def _check_changes(self) -> None:
        """What is repeated beside the packs must read, and say what the log says, as far as it goes."""
        try:
            said, recorded = self._home.changes.read(), changes_of(self._home.ledger.history())
        except FarkeepError as error:
            if error.subject.startswith(CHANGES_FOLDER):
                self.report.problems.append((error.subject, error.message))
            return
        counts = said.counts()
        if any(more > less for more, less in zip(counts, recorded.counts(), strict=True)):
            return  # A log that was put back: it is named by what it lacks.
        if recorded.counts() != counts:
            self.report.notes.append("what was swept or superseded is not yet repeated beside the packs in full")
        if said != recorded.until(counts):
            self.report.problems.append((CHANGES_FOLDER, "what is repeated of the log is not what the log says"))

    def _consequences(self, tree_check: SnapshotCheck) -> list[DamagedSegment]:
        if not self._damaged:
            return []
        before = self._home.successors.before(self._damaged)
        trace = Trace(self._reader, self._damaged, before=before, holder=self._holder, base_of=self._reader.base_of)
        for root in tree_check.roots:
            trace.follow(root)
        for name in trace.found:
            self._damaged.setdefault(name, "it does not read")
        needed_by = tree_check.needed_by(set(self._damaged))
        return [
            DamagedSegment(name, self._damaged[name], sorted(found.paths), sorted(found.stretches), found.is_cut,
                           needed_by[name])
            for name, found in sorted(trace.found.items())
        ]  # fmt: skip

    def _holder(self, segment: SegmentName, chunk_id: bytes) -> SegmentName:
        try:
            return self._reader.locate(segment, chunk_id)[0].header.name
        except FarkeepError:
            # Whichever successor held it does not read: all of them are damage that this rests on.
            return next((name for name in self._home.successors.of(segment) or () if name in self._damaged), segment)

    def _not_proven(self, tree_check: SnapshotCheck) -> list[str]:
        found = self._pack_check.result
        texts = []
        if found.whole < found.segments:
            texts.append(f"the content of {found.segments - found.whole} of {found.segments} segments was not read: "
                         "run `farkeep verify --read-data`")
        texts += tree_check.not_proven + self._pack_check.not_proven
        texts.append("whether a snapshot holds what its source held: only a restore and a comparison show that")
        texts.append("whether this log is the newest one that there was: only another holder can witness that")
        return texts

    def facts(self, job: bytes) -> list[Fact]:
        """What is to be recorded: figures, damage and what holds again."""
        report, names = self.report, sorted(self._damaged)
        percent = 100.0 * report.segments_read_whole / report.segments_checked if report.segments_checked else 100.0
        facts = []
        for start in range(0, max(1, len(names)), _NAMES_PER_FACT):
            is_first = start == 0
            done = VerificationDone(
                job=job, mode=self._mode, segments_checked=report.segments_checked if is_first else 0,
                bytes_read=report.bytes_read if is_first else 0, damaged=tuple(names[start : start + _NAMES_PER_FACT]),
                mended=tuple(self._mended[:_NAMES_PER_FACT]) if is_first else (),
            )  # fmt: skip
            facts.append(Fact(done, VerificationDoneSealed(percent=percent, message=_summary(report))))
        return facts

    def close(self) -> None:
        """Close files and threads."""
        self._pack_check.close()
        self._packs.close()


def _counters(report: VerifyReport) -> dict[str, int]:
    return {"snapshots": report.snapshots, "segments": report.segments_checked, "bytes_read": report.bytes_read,
            "damaged": len(report.damaged), "problems": len(report.problems)}


def _summary(report: VerifyReport) -> str:
    if report.is_good:
        return "nothing is damaged"
    return f"{len(report.damaged)} segments damaged, {len(report.problems)} other problems"
