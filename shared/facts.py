"""What a site's log can say: the clear and sealed parts of facts. `shared.factkinds` has the closed register of kinds.

Decisions about what is kept, and what was done about it, have their parts in `shared.decisions`.

Text in parts must be valid Unicode: use `plain_text` on names that come from the system. Paths are bytes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.chain import Position
from shared.keyrecord import KeyRecord
from shared.summary import Digest, Id, SnapshotSummary
from shared.wrapping import Wrap


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


CLOCK_CONFIRMED = "confirm-clock"
"""Kind of the job by which a person says that the clock is right: jumps before it no longer suspend expiry."""


class JobStarted(Part, frozen=True, kw_only=True):
    """A job began. `kind`: backup, restore, verify, repair, key, init, forget, unforget, hold, release, label,
    confirm-clock, prune, compact, migrate; `run` is empty when it writes no segments."""

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


def plain_text(value: str) -> str:
    """Text that can be stored: bytes that are no Unicode (lone surrogates of file names) become `\\udcXX`."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
