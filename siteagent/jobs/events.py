"""The log for people and programs: each fact with one line that says what happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from shared.chain import Position
from shared.decisions import (
    HoldPlaced,
    HoldPlacedSealed,
    HoldReleased,
    PacksReplaced,
    SegmentsSuperseded,
    SegmentsSwept,
    SnapshotLabelled,
    SnapshotLabelledSealed,
    SnapshotsForgotten,
    SnapshotsForgottenSealed,
    SnapshotsRecalled,
)
from shared.facts import (
    ClockJumped,
    JobEnded,
    JobEndedSealed,
    JobStarted,
    JobStartedSealed,
    KeyAdded,
    LogOpened,
    LogOpenedSealed,
    LogReadopted,
    PacksStored,
    RestoreDone,
    RestoreDoneSealed,
    RunAbandoned,
    SnapshotTaken,
    Subject,
    SubjectErased,
    SubjectOpened,
    VerificationDone,
    VerificationDoneSealed,
)
from shared.summary import SnapshotSummary
from siteagent.home import Home
from siteagent.ledger.reading import Mark, RecordedFact


class Event(Struct, frozen=True):
    """One fact as it is shown; `job` and `snapshot` are empty where the fact is about neither."""

    position: Position
    time_ns: int
    kind: str
    summary: str
    job: bytes
    snapshot: bytes


def events(home: Home, as_of: Position | int | None = None, limit: int | None = None) -> Iterator[Event]:
    """The facts of the log, oldest first: up to a position or a log time (ns), of these only the newest `limit`.

    Raises RefusedError for a position that this log does not contain, DamagedError at a fact that does not read.
    """
    found = _until(home, as_of)
    if limit is not None:
        found = iter(deque(found, maxlen=limit))
    return (_event(fact) for fact in found)


def _until(home: Home, as_of: Position | int | None) -> Iterator[RecordedFact]:
    for fact in home.ledger.facts(until=as_of if isinstance(as_of, Position) else None):
        if isinstance(as_of, int) and fact.time_ns > as_of:
            return
        yield fact


def _event(fact: RecordedFact) -> Event:
    clear = fact.clear
    if isinstance(clear, Mark):
        summary = clear.value
    else:
        describe = _DESCRIBERS.get(type(clear))
        summary = describe(clear, fact.sealed) if describe is not None else ""
        if isinstance(fact.sealed, Mark):
            summary = f"{summary} ({fact.sealed.value})".strip()
    return Event(fact.position, fact.time_ns, fact.kind, summary, getattr(clear, "job", b""),
                 getattr(clear, "snapshot", b""))


def _log_opened(clear: LogOpened, sealed: Any) -> str:
    if clear.reason == "created":
        name = sealed.site_name if isinstance(sealed, LogOpenedSealed) else "this site"
        return f"the log of {name} begins"
    note = sealed.note if isinstance(sealed, LogOpenedSealed) else ""
    return f"a new log epoch begins: {clear.reason}{f', {note}' if note else ''}"


def _key_added(clear: KeyAdded, _: Any) -> str:
    number = f" {clear.record.number}" if clear.record.number else ""
    return f"key recorded: {clear.record.kind}{number}"


def _clock_jumped(clear: ClockJumped, _: Any) -> str:
    return f"the clock went from {clear.from_ns // 10**9} to {clear.to_ns // 10**9} s since 1970 by itself"


def _readopted(clear: LogReadopted, _: Any) -> str:
    return f"{len(clear.snapshots)} snapshots and {len(clear.packs)} packs taken back"


def _subject_opened(clear: SubjectOpened, sealed: Any) -> str:
    about = f"{sealed.kind} {sealed.name}" if isinstance(sealed, Subject) else clear.pseudonym.hex()[:8]
    return f"key {clear.number} of {about}"


def _subject_erased(clear: SubjectErased, _: Any) -> str:
    return f"what was recorded about {clear.pseudonym.hex()[:8]} was erased"


def _job_started(clear: JobStarted, sealed: Any) -> str:
    if not isinstance(sealed, JobStartedSealed):
        return f"{clear.kind} started"
    return f"{clear.kind} started by {sealed.user} on {sealed.host}: {' '.join(sealed.what)}".rstrip(": ")


def _job_ended(clear: JobEnded, sealed: Any) -> str:
    if not isinstance(sealed, JobEndedSealed):
        return clear.outcome
    figures = ", ".join(f"{value} {name}" for name, value in sealed.counters.items())
    return ": ".join(part for part in (clear.outcome, sealed.message or figures) if part)


def _packs_stored(clear: PacksStored, _: Any) -> str:
    return f"{len(clear.packs)} packs of {sum(pack.size_bytes for pack in clear.packs)} bytes stored"


def _run_abandoned(clear: RunAbandoned, _: Any) -> str:
    return f"run {clear.run.hex()[:8]} was given up"


def _snapshot_taken(clear: SnapshotTaken, sealed: Any) -> str:
    text = f"snapshot {clear.snapshot.hex()[:8]}"
    if not isinstance(sealed, SnapshotSummary):
        return text
    counts = sealed.counts
    return (f"{text} of {sealed.name}: {sealed.files} files, {counts.new} new, {counts.changed} changed, "
            f"{counts.removed} removed, {sealed.quality}")


def _verification_done(clear: VerificationDone, sealed: Any) -> str:
    message = f", {sealed.message}" if isinstance(sealed, VerificationDoneSealed) and sealed.message else ""
    return f"{clear.segments_checked} segments checked, {len(clear.damaged)} damaged{message}"


def _restore_done(_: RestoreDone, sealed: Any) -> str:
    if not isinstance(sealed, RestoreDoneSealed):
        return "restored"
    paths = b" ".join(sealed.paths).decode("utf-8", "backslashreplace")
    target = sealed.target.decode("utf-8", "backslashreplace") or "standard output"
    return f"{sealed.user} on {sealed.host} restored {paths} of {sealed.snapshot.hex()[:8]} to {target}"


def _labelled(clear: SnapshotLabelled, sealed: Any) -> str:
    text = f"snapshot {clear.snapshot.hex()[:8]}"
    if not isinstance(sealed, SnapshotLabelledSealed):
        return f"{text} was labelled"
    words = [f"+{tag}" for tag in sealed.tags_added] + [f"-{tag}" for tag in sealed.tags_removed]
    if sealed.note is not None:
        words.append(f"note: {sealed.note}" if sealed.note else "note removed")
    return f"{text}: {', '.join(words)}"


def _forgotten(clear: SnapshotsForgotten, sealed: Any) -> str:
    rules = f" by {sealed.rules}" if isinstance(sealed, SnapshotsForgottenSealed) and sealed.rules else ""
    return f"{_some(clear.snapshots)} forgotten{rules}"


def _recalled(clear: SnapshotsRecalled, _: Any) -> str:
    return f"{_some(clear.snapshots)} wanted again"


def _some(snapshots: tuple[bytes, ...]) -> str:
    if len(snapshots) == 1:
        return f"snapshot {snapshots[0].hex()[:8]}"
    return f"{len(snapshots)} snapshots"


def _hold_placed(clear: HoldPlaced, sealed: Any) -> str:
    what = "everything" if clear.is_whole else _some(clear.snapshots)
    reason = ""
    if isinstance(sealed, HoldPlacedSealed):
        what = sealed.name or what
        reason = f": {sealed.reason}" if sealed.reason else ""
    return f"{'lock' if clear.is_lock else 'hold'} {clear.hold.hex()[:8]} on {what}{reason}"


def _hold_released(clear: HoldReleased, _: Any) -> str:
    return f"hold {clear.hold.hex()[:8]} released"


def _superseded(clear: SegmentsSuperseded, _: Any) -> str:
    return f"segments compacted into {len(clear.packs)} packs of {sum(pack.size_bytes for pack in clear.packs)} bytes"


def _packs_replaced(clear: PacksReplaced, _: Any) -> str:
    return f"{len(clear.removed)} packs repacked into {len(clear.packs)}"


def _swept(clear: SegmentsSwept, _: Any) -> str:
    return f"{len(clear.snapshots)} snapshots swept, {len(clear.packs)} packs removed"


_DESCRIBERS: dict[type, Callable[[Any, Any], str]] = {
    LogOpened: _log_opened,
    KeyAdded: _key_added,
    ClockJumped: _clock_jumped,
    LogReadopted: _readopted,
    SubjectOpened: _subject_opened,
    SubjectErased: _subject_erased,
    JobStarted: _job_started,
    JobEnded: _job_ended,
    PacksStored: _packs_stored,
    RunAbandoned: _run_abandoned,
    SnapshotTaken: _snapshot_taken,
    VerificationDone: _verification_done,
    RestoreDone: _restore_done,
    SnapshotLabelled: _labelled,
    SnapshotsForgotten: _forgotten,
    SnapshotsRecalled: _recalled,
    HoldPlaced: _hold_placed,
    HoldReleased: _hold_released,
    SegmentsSuperseded: _superseded,
    PacksReplaced: _packs_replaced,
    SegmentsSwept: _swept,
}
