"""The closed register of fact kinds: what a site's log can say, and nothing else.

A kind has a fixed topic, a version, a clear part that a holder without keys may read and (mostly) a sealed part. A part
is a MessagePack map (`shared.codec`) of exactly the struct registered here; how both lie in a fact's body is in
`shared.bodies`. No topic is ever resolved to a module.

| topic             | version | clear part       | sealed part              | aggregate  |
| ----------------- | ------- | ---------------- | ------------------------ | ---------- |
| log.opened        | 1       | LogOpened        | LogOpenedSealed          | the site   |
| key.added         | 1       | KeyAdded         | -                        | the site   |
| clock.jumped      | 1       | ClockJumped      | -                        | the site   |
| log.readopted     | 1       | LogReadopted     | LogReadoptedSealed       | the site   |
| subject.opened    | 1       | SubjectOpened    | Subject                  | pseudonym  |
| subject.erased    | 1       | SubjectErased    | SubjectErasedSealed      | pseudonym  |
| job.started       | 1       | JobStarted       | JobStartedSealed         | job        |
| job.ended         | 1       | JobEnded         | JobEndedSealed           | job        |
| verification.done | 1       | VerificationDone | VerificationDoneSealed   | job        |
| restore.done      | 1       | RestoreDone      | RestoreDoneSealed        | job        |
| packs.stored      | 1       | PacksStored      | -                        | run        |
| run.abandoned     | 1       | RunAbandoned     | RunAbandonedSealed       | run        |
| snapshot.taken    | 1       | SnapshotTaken    | SnapshotSummary          | snapshot   |

Old facts stay readable for ever: when a kind gets version n + 1, `find_kind` of version n leads to an upcaster in
`migrations/` (a table (topic, version) -> function over the two encoded parts); no kind has had a second version yet.
A topic or version this program does not know was made by a newer Farkeep and is refused as such, never guessed at.

Text in parts must be valid Unicode: use `plain_text` on names that come from the system. Paths are bytes.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from shared.chain import OPENING_KIND, Position
from shared.codec import decode
from shared.errors import BugError, RefusedError
from shared.keyrecord import KeyRecord
from shared.summary import Digest, Id, SnapshotSummary
from shared.wrapping import Wrap

PART_LIMIT_BYTES = 4 * 1024 * 1024
"""Longest encoded part: a checkpoint of 4 GiB names 64 packs in 6 KB; this leaves room for 40 000."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clear or the sealed part of a fact."""


class PackRef(Part, frozen=True, kw_only=True):
    """One pack that is complete and synced. `kind`: "data" or "catalog"; `root`: Merkle root over its segments."""

    id: Id
    kind: str
    size_bytes: int
    root: Digest
    segments: int


class OrganisationKeys(Part, frozen=True, kw_only=True):
    """The public halves of an organisation's recovery key and root; its name is in the sealed part."""

    id: Id
    recovery_public: Digest
    root_public: Digest


class LogOpened(Part, frozen=True, kw_only=True):
    """A log epoch begins, after `parent` (None: the first of this site); its heads are signed by `opener`."""

    parent: Position | None
    opener: Digest
    random: Digest
    organisation: OrganisationKeys | None
    reason: Literal["created", "unproven", "rewound", "asked"]


class LogOpenedSealed(Part, frozen=True, kw_only=True):
    """Names for people; with `organisation_signature` the organisation's file can be written again."""

    site_name: str
    organisation_name: str = ""
    organisation_signature: bytes = b""
    note: str = ""


class KeyAdded(Part, frozen=True, kw_only=True):
    """A wrapped secret of the site: a copy of the log and the recovery shares are enough to open everything."""

    record: KeyRecord


class ClockJumped(Part, frozen=True, kw_only=True):
    """Wall time went from one moment to another by itself; both rounded down to whole minutes."""

    from_ns: int
    to_ns: int


class LogReadopted(Part, frozen=True, kw_only=True):
    """Snapshots and packs that a rewound log had lost and `repair log` took back."""

    snapshots: tuple[Id, ...]
    packs: tuple[PackRef, ...]


class LogReadoptedSealed(Part, frozen=True, kw_only=True):
    """Why they were taken back."""

    reason: str


class SubjectOpened(Part, frozen=True, kw_only=True):
    """A subject has a fact key of this number; destroying the stored body of this fact erases the subject."""

    pseudonym: Id
    number: int
    wraps: tuple[Wrap, ...]


class Subject(Part, frozen=True, kw_only=True):
    """Whom facts are about: a source, user or partner. The facts of one subject are sealed under its own key."""

    kind: Literal["source", "user", "partner"]
    name: str


class SubjectErased(Part, frozen=True, kw_only=True):
    """All keys of a subject were destroyed."""

    pseudonym: Id


class SubjectErasedSealed(Part, frozen=True, kw_only=True):
    """Why; readable for the site, so it must not name the subject."""

    reason: str


class JobStarted(Part, frozen=True, kw_only=True):
    """A job began. `kind`: backup, restore, verify, repair, key, init; `run` is empty when it writes no segments."""

    job: Id
    kind: str
    run: bytes = b""


class JobStartedSealed(Part, frozen=True, kw_only=True):
    """Who started what: arguments or paths as text."""

    user: str
    host: str
    what: tuple[str, ...] = ()


class JobEnded(Part, frozen=True, kw_only=True):
    """A job came to its end."""

    job: Id
    outcome: Literal["done", "partial", "failed", "refused"]


class JobEndedSealed(Part, frozen=True, kw_only=True):
    """Figures of the job and what was said about it."""

    counters: dict[str, int] = {}
    message: str = ""


class PacksStored(Part, frozen=True, kw_only=True):
    """These packs of a run are complete and synced: they count as present even if the job does not end."""

    run: Id
    packs: tuple[PackRef, ...]


class RunAbandoned(Part, frozen=True, kw_only=True):
    """Nobody will use what this run wrote outside its stored packs: only now it is garbage."""

    run: Id
    packs: tuple[Id, ...] = ()


class RunAbandonedSealed(Part, frozen=True, kw_only=True):
    """Why the run was given up."""

    reason: str


class SnapshotTaken(Part, frozen=True, kw_only=True):
    """The commit of a snapshot: its manifest and reach are synced. `packs`: those not yet in a `packs.stored`."""

    snapshot: Id
    manifest: Digest
    reach: Digest
    key_epoch: int
    run: Id
    packs: tuple[PackRef, ...]


class VerificationDone(Part, frozen=True, kw_only=True):
    """What was read back. `damaged`: names (20 bytes) that do not read; `mended`: damaged before and good now."""

    job: Id
    mode: str
    segments_checked: int
    bytes_read: int
    damaged: tuple[bytes, ...] = ()
    mended: tuple[bytes, ...] = ()


class VerificationDoneSealed(Part, frozen=True, kw_only=True):
    """How much of all was checked, and what was said about it."""

    percent: float
    message: str = ""


class RestoreDone(Part, frozen=True, kw_only=True):
    """A restore came to its end."""

    job: Id


class RestoreDoneSealed(Part, frozen=True, kw_only=True):
    """Who asked for what, and the figures."""

    user: str
    host: str
    snapshot: Id
    paths: tuple[bytes, ...]
    target: bytes
    counters: dict[str, int] = {}


class Fact(msgspec.Struct, frozen=True):
    """Something to be recorded: two parts of one kind, and whom it is about (None: the site itself)."""

    clear: Part
    sealed: Part | SnapshotSummary | None = None
    subject: Subject | None = None


class FactKind(msgspec.Struct, frozen=True):
    """One row of the register."""

    topic: str
    version: int
    clear: type[Part]
    sealed: type[Part] | type[SnapshotSummary] | None

    def decode_clear(self, data: bytes) -> Part:
        """Read the clear part; raises HostileError when too long, DamagedError when malformed."""
        return decode(data, self.clear, limit_bytes=PART_LIMIT_BYTES, subject=f"fact {self.topic}")

    def decode_sealed(self, data: bytes) -> Part | SnapshotSummary | None:
        """Read the opened sealed part (empty for a kind without one); raises like `decode_clear`."""
        if self.sealed is None:
            return None
        shape: Any = self.sealed
        part: Part | SnapshotSummary = decode(data, shape, limit_bytes=PART_LIMIT_BYTES, subject=f"fact {self.topic}")
        return part


_KINDS = (
    FactKind(OPENING_KIND, 1, LogOpened, LogOpenedSealed),
    FactKind("key.added", 1, KeyAdded, None),
    FactKind("clock.jumped", 1, ClockJumped, None),
    FactKind("log.readopted", 1, LogReadopted, LogReadoptedSealed),
    FactKind("subject.opened", 1, SubjectOpened, Subject),
    FactKind("subject.erased", 1, SubjectErased, SubjectErasedSealed),
    FactKind("job.started", 1, JobStarted, JobStartedSealed),
    FactKind("job.ended", 1, JobEnded, JobEndedSealed),
    FactKind("verification.done", 1, VerificationDone, VerificationDoneSealed),
    FactKind("restore.done", 1, RestoreDone, RestoreDoneSealed),
    FactKind("packs.stored", 1, PacksStored, None),
    FactKind("run.abandoned", 1, RunAbandoned, RunAbandonedSealed),
    FactKind("snapshot.taken", 1, SnapshotTaken, SnapshotSummary),
)
KINDS: dict[str, FactKind] = {kind.topic: kind for kind in _KINDS}
_BY_CLEAR_PART: dict[type, FactKind] = {kind.clear: kind for kind in _KINDS}


def kind_of(fact: Fact) -> FactKind:
    """The kind of a fact to be recorded; raises BugError when its parts do not belong together."""
    kind = _BY_CLEAR_PART.get(type(fact.clear))
    if kind is None or (type(fact.sealed) is not kind.sealed if kind.sealed else fact.sealed is not None):
        raise BugError("the parts of a fact do not belong to one kind",
                       subject=f"{type(fact.clear).__name__}, {type(fact.sealed).__name__}", next_step="report this")
    return kind


def is_newer(topic: str, version: int) -> bool:
    """Say whether a stored fact was made by a newer Farkeep."""
    kind = KINDS.get(topic)
    return kind is None or version > kind.version


def find_kind(topic: str, version: int) -> FactKind:
    """The kind of a stored fact; raises RefusedError when it was made by a newer Farkeep."""
    if is_newer(topic, version):
        raise RefusedError("a fact was made by a newer Farkeep", subject=f"{topic}, version {version}",
                           next_step="update Farkeep on this machine")
    return KINDS[topic]


def plain_text(value: str) -> str:
    """Text that can be stored: bytes that are no Unicode (lone surrogates of file names) become `\\udcXX`."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
