"""The state that the log adds up to, as it is folded by `history` and kept between runs by `history_cache`."""

from __future__ import annotations

import msgspec

from shared.chain import NO_DIGEST, NO_ID, Position
from shared.codec import decode, encode
from shared.facts import ClockJumped, JobEndedSealed, JobStartedSealed, SnapshotTaken
from shared.keyrecord import KeyRecord
from shared.summary import SnapshotSummary
from siteagent.ledger.counted_time import CountedTime
from siteagent.ledger.epochs import LogEpoch
from siteagent.ledger.fact_keys import OpenedSubject
from siteagent.ledger.reading import Mark

LIMIT_BYTES = 2**31


class SnapshotEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot. `time_ns` is log time; `summary` is None when `mark` says why it cannot be shown.

    `generation` counts the snapshots of its name that were taken before, swept ones included; `tags` and `note` are
    what they are now; `forgotten_ns` and `sweep_after_ns` are log times, 0 when it is wanted; `sweep_counted_ns` is the
    counted time (siteagent.ledger.counted_time) from which on it may be swept.
    """

    position: Position
    time_ns: int
    subject: bytes
    taken: SnapshotTaken
    summary: SnapshotSummary | None
    mark: Mark | None
    generation: int = 0
    tags: tuple[str, ...] = ()
    note: str = ""
    forgotten_ns: int = 0
    sweep_after_ns: int = 0
    sweep_counted_ns: int = 0

    @property
    def is_forgotten(self) -> bool:
        """True when nobody wants it any more; it can be recalled until it is swept."""
        return self.forgotten_ns != 0

    def is_due(self, counted_ns: int) -> bool:
        """True when its waiting time is over at this counted time."""
        return self.is_forgotten and self.sweep_counted_ns <= counted_ns

    @property
    def id(self) -> bytes:
        """16 bytes."""
        return self.taken.snapshot


class JobEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A job; `outcome` is empty while it has not ended, the sealed parts None when erased or unreadable.

    `ended_counted_ns` is the counted time of its end (siteagent.ledger.counted_time).
    """

    job: bytes
    kind: str
    run: bytes
    started_ns: int
    started: JobStartedSealed | None
    ended_ns: int = 0
    ended_counted_ns: int = 0
    outcome: str = ""
    ended: JobEndedSealed | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps snapshots from being forgotten or swept, while it lasts; times are log times.

    Its end is looked for in counted time (siteagent.ledger.counted_time): `until_counted_ns`.

    It holds `snapshots`, or every snapshot of `name`, or (`is_whole`, no name) everything. `subject` is the pseudonym
    of the source that a hold by name is about: it still tells which snapshots are meant when a name cannot be read.
    """

    id: bytes
    placed_ns: int
    until_ns: int
    until_counted_ns: int
    is_lock: bool
    is_whole: bool
    snapshots: tuple[bytes, ...]
    name: str
    user: str
    reason: str
    subject: bytes = NO_ID

    @property
    def is_everything(self) -> bool:
        """True when it holds every snapshot of the site."""
        return self.is_whole and not self.name and self.subject == NO_ID

    def is_over(self, counted_ns: int) -> bool:
        """True when at this counted time it came to its end."""
        return self.until_ns != 0 and self.until_counted_ns <= counted_ns

    def holds(self, snapshot: SnapshotEntry, counted_ns: int) -> bool:
        """True when it keeps this snapshot at this counted time; where a name cannot be read, what it might mean."""
        if self.is_over(counted_ns):
            return False
        if snapshot.id in self.snapshots:
            return True
        if not (self.is_whole or self.name):
            return False
        if self.subject != NO_ID and self.subject == snapshot.subject:
            return True
        if self.name and snapshot.summary is not None:
            return self.name == snapshot.summary.name
        return self.subject == NO_ID


class Row(msgspec.Struct, array_like=True, gc=False):
    """An entry that is kept encoded. `name`: of a readable snapshot; `is_settled`: a good snapshot, an ended job."""

    id: bytes
    name: str
    is_settled: bool
    entry: msgspec.Raw
    is_forgotten: bool = False


class State(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """All that a projection holds; see `History` for the meaning."""

    position: Position
    site_name: str = ""
    facts: int = 0
    newer: int = 0
    last_time_ns: int = 0
    last_wall_ns: int = 0
    counted: CountedTime = CountedTime()
    jumped_from_ns: int = 0
    jumped_at_ns: int = 0
    log_epochs: list[LogEpoch] = []
    keys: list[KeyRecord] = []
    subjects: list[OpenedSubject] = []
    erased: list[bytes] = []
    jumps: list[ClockJumped] = []
    jumps_confirmed: int = 0
    runs_abandoned: list[tuple[bytes, int]] = []
    damaged: list[tuple[bytes, Position]] = []
    packs: msgspec.Raw = msgspec.Raw(b"\x90")
    packs_gone: list[bytes] = []
    snapshots: list[Row] = []
    jobs: list[Row] = []
    generations: dict[str, int] = {}
    swept: list[bytes] = []
    swept_segments: list[bytes] = []
    superseded: list[tuple[bytes, bytes]] = []
    holds: list[Hold] = []


def empty_state(site: bytes) -> State:
    """The state before the first fact."""
    return State(position=Position(site, NO_DIGEST, 0, NO_DIGEST))


def raw(entry: SnapshotEntry | JobEntry) -> msgspec.Raw:
    """An entry as it is kept."""
    return msgspec.Raw(encode(entry))


def open_snapshot(row: Row) -> SnapshotEntry:
    """The snapshot of a row."""
    return decode(row.entry, SnapshotEntry, limit_bytes=LIMIT_BYTES, subject="history")


def open_job(row: Row) -> JobEntry:
    """The job of a row."""
    return decode(row.entry, JobEntry, limit_bytes=LIMIT_BYTES, subject="history")
