"""What the log adds up to: a projection that is folded fact by fact and can be thrown away at any time.

The state is one record that `history_cache` keeps between runs. Snapshots and jobs are kept encoded and opened when
asked for, so that a log of ten thousand facts costs little to open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from shared.chain import Position
from shared.codec import decode, encode
from shared.decisions import PacksReplaced, SegmentsSuperseded, SegmentsSwept
from shared.facts import (
    CLOCK_CONFIRMED,
    ClockJumped,
    JobEnded,
    JobEndedSealed,
    JobStarted,
    JobStartedSealed,
    KeyAdded,
    LogOpened,
    LogOpenedSealed,
    LogReadopted,
    PackRef,
    PacksStored,
    Part,
    RunAbandoned,
    SnapshotTaken,
    VerificationDone,
)
from shared.keyrecord import KeyRecord
from shared.summary import SnapshotSummary
from siteagent.ledger.counted_time import CountedTime
from siteagent.ledger.decided import DECIDED
from siteagent.ledger.epochs import LogEpoch, LogEpochs
from siteagent.ledger.fact_keys import OpenedSubject
from siteagent.ledger.log_clock import FORWARD_LIMIT_NS, Stamp
from siteagent.ledger.reading import Mark, RecordedFact
from siteagent.ledger.state import LIMIT_BYTES, Hold, JobEntry, Row, SnapshotEntry, State, open_job, open_snapshot, raw


class History:
    """The sum of the log up to `position`.

    `facts` counts them, `newer` those made by a newer Farkeep (nothing is decided over them, so nothing may be recorded
    either).
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._packs: dict[bytes, PackRef] | None = None
        self._gone = set(state.packs_gone)
        self._runs_abandoned = dict(state.runs_abandoned)
        self._damaged = dict(state.damaged)
        self._snapshot_rows = {row.id: row for row in state.snapshots}
        self._job_rows = {row.id: row for row in state.jobs}

    @property
    def position(self) -> Position:
        """The last fact that is counted in."""
        return self._state.position

    @property
    def site_name(self) -> str:
        """The name the site was created with; empty when unreadable."""
        return self._state.site_name

    @property
    def facts(self) -> int:
        """How many facts are counted in."""
        return self._state.facts

    @property
    def newer(self) -> int:
        """How many of them this program does not know."""
        return self._state.newer

    @property
    def last_stamp(self) -> Stamp | None:
        """Time of the newest fact; None before the first."""
        return Stamp(self._state.last_time_ns, self._state.last_wall_ns) if self._state.facts else None

    @property
    def counted(self) -> CountedTime:
        """Counted time up to the newest fact."""
        return self._state.counted

    @property
    def log_epochs(self) -> LogEpochs:
        """The tree of log epochs."""
        return LogEpochs(self._state.log_epochs)

    @property
    def keys(self) -> tuple[KeyRecord, ...]:
        """The newest record of each key."""
        return tuple({(record.kind, record.id): record for record in self._state.keys}.values())

    @property
    def jumps(self) -> tuple[ClockJumped, ...]:
        """Jumps of the clock, oldest first."""
        return tuple(self._state.jumps)

    @property
    def unconfirmed_jumps(self) -> list[ClockJumped]:
        """Jumps of over an hour that nobody has looked at yet: expiry by rule waits for it."""
        newer = self._state.jumps[self._state.jumps_confirmed :]
        return [jump for jump in newer if abs(jump.to_ns - jump.from_ns) >= FORWARD_LIMIT_NS]

    @property
    def runs_abandoned(self) -> dict[bytes, int]:
        """Runs whose abandonment is a fact, and its sequence."""
        return self._runs_abandoned

    @property
    def damaged(self) -> dict[bytes, Position]:
        """Segments that did not read when last checked."""
        return self._damaged

    @property
    def packs(self) -> dict[bytes, PackRef]:
        """Packs that count as present, by id."""
        return self._opened_packs()

    @property
    def packs_gone(self) -> list[bytes]:
        """Packs that were replaced or swept: nothing rests on them, whether they are still there or not."""
        return self._state.packs_gone

    @property
    def snapshots(self) -> list[SnapshotEntry]:
        """All snapshots that were not swept, forgotten ones too, oldest first."""
        return [open_snapshot(row) for row in self._state.snapshots]

    @property
    def snapshot_ids(self) -> list[bytes]:
        """The ids of all snapshots that were not swept, oldest first."""
        return [row.id for row in self._state.snapshots]

    @property
    def snapshot_names(self) -> list[str]:
        """The names of all wanted snapshots (empty where unreadable), oldest first."""
        return [row.name for row in self._state.snapshots if not row.is_forgotten]

    @property
    def wanted(self) -> list[SnapshotEntry]:
        """The snapshots that are not forgotten, oldest first."""
        return [open_snapshot(row) for row in self._state.snapshots if not row.is_forgotten]

    @property
    def forgotten(self) -> list[SnapshotEntry]:
        """The snapshots that are forgotten and not swept yet, oldest first."""
        return [open_snapshot(row) for row in self._state.snapshots if row.is_forgotten]

    @property
    def swept(self) -> list[bytes]:
        """The ids of the snapshots that were swept, in that order."""
        return self._state.swept

    @property
    def swept_segments(self) -> list[bytes]:
        """Sets of segments that were swept (siteagent.store.nameruns), oldest first."""
        return self._state.swept_segments

    @property
    def superseded(self) -> list[tuple[bytes, bytes]]:
        """(new, old) sets of segments (siteagent.store.nameruns): what is needed of the old is in the new."""
        return self._state.superseded

    @property
    def holds(self) -> list[Hold]:
        """Holds that were not released, oldest first; some may have come to their end by time."""
        return self._state.holds

    def snapshot(self, snapshot_id: bytes) -> SnapshotEntry | None:
        """The snapshot of this id."""
        row = self._snapshot_rows.get(snapshot_id)
        return open_snapshot(row) if row else None

    def snapshots_named(self, name: str) -> list[SnapshotEntry]:
        """The wanted snapshots of one name, oldest first."""
        return [open_snapshot(row) for row in self._state.snapshots if row.name == name and not row.is_forgotten]

    def generation(self, name: str) -> int:
        """How many snapshots of a name were ever taken."""
        return self._state.generations.get(name, 0)

    def newest_snapshot(self, name: str = "", *, is_good: bool = False) -> SnapshotEntry | None:
        """The newest wanted snapshot (of one name; only a good one: every entry was readable)."""
        for row in reversed(self._state.snapshots):
            if not row.is_forgotten and (not name or row.name == name) and (
                row.is_settled or not is_good
            ):
                return open_snapshot(row)
        return None

    @property
    def jobs(self) -> list[JobEntry]:
        """All jobs in the order they started."""
        return [open_job(row) for row in self._state.jobs]

    def newest_jobs(self) -> Iterator[JobEntry]:
        """All jobs, the one that started last first; each is opened when it is asked for."""
        return map(open_job, reversed(self._state.jobs))

    @property
    def open_jobs(self) -> list[JobEntry]:
        """Jobs whose end is not recorded: still running, or cut off."""
        return [open_job(row) for row in self._state.jobs if not row.is_settled]

    def fold(self, fact: RecordedFact) -> None:
        """Count one more fact in; it must be the next of the log."""
        state = self._state
        state.position = fact.position
        state.facts += 1
        if isinstance(fact.clear, ClockJumped):
            state.jumped_from_ns, state.jumped_at_ns = max(state.last_time_ns, fact.clear.from_ns), fact.time_ns
        state.last_time_ns = max(state.last_time_ns, fact.time_ns)
        state.last_wall_ns = fact.wall_ns
        if not isinstance(fact.sealed, Mark):
            state.counted = _counted(state.counted, fact)
        if isinstance(fact.clear, Mark):
            state.newer += fact.clear is Mark.NEWER
            return
        handler, decided = _HANDLERS.get(type(fact.clear)), DECIDED.get(type(fact.clear))
        if handler is not None:
            handler(self, fact, fact.clear)
        if decided is not None:
            decided(state, self._snapshot_rows, fact, fact.clear)

    def to_state(self, subjects: list[OpenedSubject], erased: list[bytes]) -> State:
        """The state to be kept, with what is known of subjects."""
        if self._packs is not None:
            self._state.packs = msgspec.Raw(encode(list(self._packs.values())))
        return msgspec.structs.replace(
            self._state,
            subjects=subjects,
            erased=erased,
            runs_abandoned=list(self._runs_abandoned.items()),
            damaged=list(self._damaged.items()),
        )

    def _opened_packs(self) -> dict[bytes, PackRef]:
        if self._packs is None:
            packs = decode(self._state.packs, list[PackRef], limit_bytes=LIMIT_BYTES, subject="history")
            self._packs = {pack.id: pack for pack in packs}
        return self._packs

    def _log_opened(self, fact: RecordedFact, clear: LogOpened) -> None:
        if isinstance(fact.sealed, LogOpenedSealed) and fact.sealed.site_name:
            self._state.site_name = fact.sealed.site_name
        self._state.log_epochs.append(
            LogEpoch(opened=fact.position, parent=clear.parent, reason=clear.reason, opener=clear.opener,
                     time_ns=fact.time_ns)
        )  # fmt: skip

    def _key_added(self, _: RecordedFact, clear: KeyAdded) -> None:
        self._state.keys.append(clear.record)

    def _clock_jumped(self, _: RecordedFact, clear: ClockJumped) -> None:
        self._state.jumps.append(clear)

    def _packs_stored(self, _: RecordedFact, clear: PacksStored | LogReadopted | SegmentsSuperseded) -> None:
        self._add_packs(clear.packs)

    def _run_abandoned(self, fact: RecordedFact, clear: RunAbandoned) -> None:
        self._runs_abandoned[clear.run] = fact.position.sequence
        for pack in clear.packs:
            self._opened_packs().pop(pack, None)

    def _packs_gone(self, _: RecordedFact, clear: PacksReplaced | SegmentsSwept) -> None:
        if isinstance(clear, PacksReplaced):
            self._add_packs(clear.packs)
        for pack_id in clear.removed if isinstance(clear, PacksReplaced) else clear.packs:
            self._opened_packs().pop(pack_id, None)
            self._state.packs_gone.append(pack_id)
            self._gone.add(pack_id)

    def _add_packs(self, packs: tuple[PackRef, ...]) -> None:
        """A pack that was replaced or swept stays so, whatever is taken back of older facts that name it."""
        if packs:
            self._opened_packs().update((pack.id, pack) for pack in packs if pack.id not in self._gone)

    def _snapshot_taken(self, fact: RecordedFact, clear: SnapshotTaken) -> None:
        summary = fact.sealed if isinstance(fact.sealed, SnapshotSummary) else None
        mark = fact.sealed if isinstance(fact.sealed, Mark) else None
        entry = SnapshotEntry(position=fact.position, time_ns=fact.time_ns, subject=fact.subject, taken=clear,
                              summary=summary, mark=mark)  # fmt: skip
        name = summary.name if summary else ""
        generation = self._state.generations.get(name, 0)
        self._state.generations[name] = generation + 1
        entry = msgspec.structs.replace(entry, generation=generation, tags=summary.tags if summary else ())
        row = Row(clear.snapshot, name, bool(summary and summary.is_good), raw(entry))
        self._state.snapshots.append(row)
        self._snapshot_rows[row.id] = row
        self._add_packs(clear.packs)

    def _job_started(self, fact: RecordedFact, clear: JobStarted) -> None:
        started = fact.sealed if isinstance(fact.sealed, JobStartedSealed) else None
        entry = JobEntry(job=clear.job, kind=clear.kind, run=clear.run, started_ns=fact.time_ns, started=started)
        row = Row(clear.job, "", False, raw(entry))
        if clear.kind == CLOCK_CONFIRMED:
            self._state.jumps_confirmed = len(self._state.jumps)
        self._state.jobs.append(row)
        self._job_rows[row.id] = row

    def _job_ended(self, fact: RecordedFact, clear: JobEnded) -> None:
        row = self._job_rows.get(clear.job)
        if row is not None:
            ended = fact.sealed if isinstance(fact.sealed, JobEndedSealed) else None
            entry = msgspec.structs.replace(open_job(row), ended_ns=fact.time_ns, outcome=clear.outcome, ended=ended,
                                            ended_counted_ns=self._state.counted.now_ns)  # fmt: skip
            row.entry = raw(entry)
            row.is_settled = True

    def _verification_done(self, fact: RecordedFact, clear: VerificationDone) -> None:
        for name in clear.mended:
            self._damaged.pop(name, None)
        for name in clear.damaged:
            self._damaged[name] = fact.position


def _counted(counted: CountedTime, fact: RecordedFact) -> CountedTime:
    """Counted time after one more fact."""
    clear = fact.clear
    if counted.newest_wall_ns is None:
        return CountedTime(fact.time_ns, fact.wall_ns)
    if isinstance(clear, ClockJumped):
        return counted.jumped(clear.from_ns, clear.to_ns)
    if isinstance(clear, JobStarted) and clear.kind == CLOCK_CONFIRMED:
        return counted.confirmed(fact.wall_ns)
    return counted.at(fact.wall_ns)


_HANDLERS: dict[type[Part], Callable[..., None]] = {
    LogOpened: History._log_opened,
    KeyAdded: History._key_added,
    ClockJumped: History._clock_jumped,
    PacksStored: History._packs_stored,
    LogReadopted: History._packs_stored,
    RunAbandoned: History._run_abandoned,
    SnapshotTaken: History._snapshot_taken,
    JobStarted: History._job_started,
    JobEnded: History._job_ended,
    VerificationDone: History._verification_done,
    SegmentsSuperseded: History._packs_stored,
    PacksReplaced: History._packs_gone,
    SegmentsSwept: History._packs_gone,
}
