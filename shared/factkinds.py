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
| snapshot.labelled | 1       | SnapshotLabelled | SnapshotLabelledSealed   | snapshot   |
| snapshots.forgotten | 1     | SnapshotsForgotten | SnapshotsForgottenSealed | decision |
| snapshots.recalled | 1      | SnapshotsRecalled | SnapshotsRecalledSealed | decision   |
| hold.placed       | 1       | HoldPlaced       | HoldPlacedSealed         | hold       |
| hold.released     | 1       | HoldReleased     | HoldReleasedSealed       | hold       |
| segments.superseded | 1     | SegmentsSuperseded | -                      | run        |
| packs.replaced    | 1       | PacksReplaced    | -                        | job        |
| segments.swept    | 1       | SegmentsSwept    | -                        | job        |

Old facts stay readable for ever: when a kind gets version n + 1, the parts of version n are read through an `Upcaster`
that `migrations.facts` has for (topic, n); readers hand that table in. No kind has had a second version yet.
A topic or version this program does not know was made by a newer Farkeep and is refused as such, never guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from shared.chain import OPENING_KIND
from shared.codec import decode
from shared.decisions import (
    HoldPlaced,
    HoldPlacedSealed,
    HoldReleased,
    HoldReleasedSealed,
    PacksReplaced,
    SegmentsSuperseded,
    SegmentsSwept,
    SnapshotLabelled,
    SnapshotLabelledSealed,
    SnapshotsForgotten,
    SnapshotsForgottenSealed,
    SnapshotsRecalled,
    SnapshotsRecalledSealed,
)
from shared.errors import BugError, DamagedError, RefusedError
from shared.facts import (
    ClockJumped,
    Fact,
    JobEnded,
    JobEndedSealed,
    JobStarted,
    JobStartedSealed,
    KeyAdded,
    LogOpened,
    LogOpenedSealed,
    LogReadopted,
    LogReadoptedSealed,
    PacksStored,
    Part,
    RestoreDone,
    RestoreDoneSealed,
    RunAbandoned,
    RunAbandonedSealed,
    SnapshotTaken,
    Subject,
    SubjectErased,
    SubjectErasedSealed,
    SubjectOpened,
    VerificationDone,
    VerificationDoneSealed,
)
from shared.summary import SnapshotSummary

PART_LIMIT_BYTES = 4 * 1024 * 1024
"""Longest encoded part: a checkpoint of 4 GiB names 64 packs in 6 KB; this leaves room for 40 000."""


class Upcaster(msgspec.Struct, frozen=True):
    """From one version of a kind to the next: each function takes and gives one encoded part.

    The clear part stands alone, for it is read without keys. Both raise DamagedError for what is no such part.
    """

    clear: Callable[[bytes], bytes]
    sealed: Callable[[bytes], bytes]


Upcasters = Mapping[tuple[str, int], Upcaster]


class FactKind(msgspec.Struct, frozen=True):
    """One row of the register. `steps` lead from the version of a stored fact to this one."""

    topic: str
    version: int
    clear: type[Part]
    sealed: type[Part] | type[SnapshotSummary] | None
    steps: tuple[Upcaster, ...] = ()

    def decode_clear(self, data: bytes) -> Part:
        """Read the clear part; raises HostileError when too long, DamagedError when malformed."""
        for step in self.steps:
            data = step.clear(data)
        return decode(data, self.clear, limit_bytes=PART_LIMIT_BYTES, subject=f"fact {self.topic}")

    def decode_sealed(self, data: bytes) -> Part | SnapshotSummary | None:
        """Read the opened sealed part (empty for a kind without one); raises like `decode_clear`."""
        if self.sealed is None:
            return None
        for step in self.steps:
            data = step.sealed(data)
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
    FactKind("snapshot.labelled", 1, SnapshotLabelled, SnapshotLabelledSealed),
    FactKind("snapshots.forgotten", 1, SnapshotsForgotten, SnapshotsForgottenSealed),
    FactKind("snapshots.recalled", 1, SnapshotsRecalled, SnapshotsRecalledSealed),
    FactKind("hold.placed", 1, HoldPlaced, HoldPlacedSealed),
    FactKind("hold.released", 1, HoldReleased, HoldReleasedSealed),
    FactKind("segments.superseded", 1, SegmentsSuperseded, None),
    FactKind("packs.replaced", 1, PacksReplaced, None),
    FactKind("segments.swept", 1, SegmentsSwept, None),
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


def find_kind(topic: str, version: int, upcasters: Upcasters | None = None) -> FactKind:
    """The kind of a stored fact, which reads parts of that version.

    Raises RefusedError when it was made by a newer Farkeep, DamagedError for a version that there never was.
    """
    if is_newer(topic, version):
        raise RefusedError("a fact was made by a newer Farkeep", subject=f"{topic}, version {version}",
                           next_step="update Farkeep on this machine")
    kind, known = KINDS[topic], upcasters or {}
    if version == kind.version:
        return kind
    steps = [known.get((topic, number)) for number in range(version, kind.version)]
    if version < 1 or None in steps:
        raise DamagedError("a fact has a version that there never was", subject=f"{topic}, version {version}",
                           next_step="run `farkeep audit verify`; fetch the log again from another holder")
    return msgspec.structs.replace(kind, steps=tuple(filter(None, steps)))
