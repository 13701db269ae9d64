"""Jobs as facts: who started what, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Literal

from msgspec import Struct, field

from shared.errors import FarkeepError, RefusedError
from shared.facts import (
    Fact,
    JobEnded,
    JobEndedSealed,
    JobStarted,
    JobStartedSealed,
    RestoreDone,
    RestoreDoneSealed,
    plain_text,
)
from siteagent.home import Home, is_read_only
from siteagent.ledger.high_water import Verdict
from siteagent.ledger.state import SnapshotEntry
from siteagent.salvage import prepare_writing

Outcome = Literal["done", "partial", "failed", "refused"]


class Who(Struct, frozen=True):
    """The user and machine that ask."""

    user: str
    host: str


class RunningJob(Struct):
    """A job that is being recorded: what goes into its last facts. `id` is empty when nothing is recorded."""

    id: bytes = b""
    outcome: Outcome = "done"
    counters: dict[str, int] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    """Recorded in one transaction with the end of the job."""


def recorded(home: Home, kind: str, who: Who, what: tuple[str, ...], *,
             is_reading: bool = False, run: bytes = b"") -> AbstractContextManager[RunningJob]:
    """Record a job around a block; a job that only reads runs unrecorded on a home that must not be written.

    `run`: of the segments that it writes.
    """
    if is_reading and is_read_only(home):
        return nullcontext(RunningJob())
    return _around(home, kind, who, what, _record, run)


@contextmanager
def recorded_writing(home: Home, kind: str, who: Who, what: tuple[str, ...]) -> Iterator[RunningJob]:
    """Prepare for writing, and record a job that writes packs around a block; raises what `prepare_writing` raises."""
    with ExitStack() as stack:
        with home.arranging:
            prepare_writing(home)
            job = stack.enter_context(_around(home, kind, who, what, _record, writes_segments=True))
        yield job


def recorded_reading(home: Home, who: Who, what: tuple[str, ...]) -> AbstractContextManager[RunningJob]:
    """Record a job that hands out content; a log that must not or cannot be written is no reason to withhold it."""
    if is_read_only(home):
        return nullcontext(RunningJob())
    return _around(home, "restore", who, what, _try_record)


def note_reading(job: RunningJob, who: Who, snapshot: SnapshotEntry, path: bytes, counters: dict[str, int],
                 target: bytes = b"") -> None:
    """Add to a recorded job that content was handed out: into the folder `target`, or to standard output."""
    job.counters = counters
    if job.id:
        sealed = RestoreDoneSealed(user=plain_text(who.user), host=plain_text(who.host), snapshot=snapshot.id,
                                   paths=(path,), target=target, counters=counters)
        job.facts.append(Fact(RestoreDone(job=job.id), sealed))


def facts_of_job(kind: str, who: Who, what: tuple[str, ...], job: RunningJob) -> list[Fact]:
    """All facts of a job that is recorded at once, when it is over: its start, its facts, its end."""
    return [_started(kind, who, what, b"", job), *job.facts, _ended(job)]


@contextmanager
def _around(home: Home, kind: str, who: Who, what: tuple[str, ...],
            record: Callable[..., None], run: bytes = b"", *, writes_segments: bool = False) -> Iterator[RunningJob]:
    job = RunningJob(home.world.randomness.bits(16))
    home.running[job.id] = writes_segments or bool(run)
    try:
        yield from _between(home, kind, who, what, record, run, job)
    finally:
        with home.arranging:
            home.running.pop(job.id, None)


def _between(home: Home, kind: str, who: Who, what: tuple[str, ...], record: Callable[..., None], run: bytes,
             job: RunningJob) -> Iterator[RunningJob]:
    record(home, _started(kind, who, what, run, job))
    try:
        yield job
    except BaseException as error:
        _record_failure(home, job, error)
        raise
    record(home, *job.facts, _ended(job))


def _started(kind: str, who: Who, what: tuple[str, ...], run: bytes, job: RunningJob) -> Fact:
    sealed = JobStartedSealed(user=plain_text(who.user), host=plain_text(who.host),
                              what=tuple(plain_text(word) for word in what))
    return Fact(JobStarted(job=job.id, kind=kind, run=run), sealed)


def _ended(job: RunningJob) -> Fact:
    return Fact(JobEnded(job=job.id, outcome=job.outcome), JobEndedSealed(counters=job.counters))


def _record(home: Home, *facts: Fact) -> None:
    if home.ledger.verdict is Verdict.UNPROVEN:
        with home.arranging:
            if home.ledger.verdict is Verdict.UNPROVEN:
                home.ledger.open_log_epoch("unproven")
    home.ledger.record(*facts)


def _try_record(home: Home, *facts: Fact) -> None:
    try:
        _record(home, *facts)
    except FarkeepError as error:
        note = f"this is not recorded: {error}"
        if note not in home.notes:
            home.notes.append(note)


def _record_failure(home: Home, job: RunningJob, error: BaseException) -> None:
    outcome: Outcome = "refused" if isinstance(error, RefusedError) else "failed"
    try:
        sealed = JobEndedSealed(message=plain_text(str(error)))
        home.ledger.record(Fact(JobEnded(job=job.id, outcome=outcome), sealed))
    except FarkeepError as second:
        home.notes.append(f"the end of the job could not be recorded: {second}")
