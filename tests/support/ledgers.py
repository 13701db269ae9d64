"""Ledgers for tests: a site with seeded keys, a clock with two hands, and one sample of every kind of fact."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shared import decisions, facts
from shared.facts import Fact, Part, Subject
from shared.keyring import Keyring
from shared.summary import EntryCounts, Quality, SnapshotSummary
from siteagent.ledger.high_water import HighWater, read_high_water
from siteagent.ledger.ledger import Ledger
from tests.support.determined import LabelledRandomness

START_NS = 1_767_225_612_345_678_901
MINUTE_NS = 60 * 1_000_000_000
SOURCE = Subject(kind="source", name="canary-source-name")
USER = Subject(kind="user", name="canary-user-name")


class TwoHandClock:
    """Wall time and monotonic time, moved together by `pass_ns` or apart by setting them."""

    def __init__(self, wall_ns: int = START_NS) -> None:
        self.wall_ns = wall_ns
        self.elapsed_ns = 7_000_000_000

    def now_ns(self) -> int:
        """Wall time."""
        return self.wall_ns

    def monotonic_ns(self) -> int:
        """Monotonic time."""
        return self.elapsed_ns

    def sleep(self, wait_s: float) -> None:
        """Move both without waiting."""
        self.pass_ns(int(wait_s * 1e9))

    def pass_ns(self, duration_ns: int) -> None:
        """Let time pass for both hands."""
        self.wall_ns += duration_ns
        self.elapsed_ns += duration_ns


@dataclass
class Site:
    """A site whose log lives in `home`/log."""

    home: Path
    clock: TwoHandClock = field(default_factory=TwoHandClock)
    randomness: LabelledRandomness = field(default_factory=lambda: LabelledRandomness("a site for tests"))
    keyring: Keyring = field(init=False)
    mark: bytes | None = None

    def __post_init__(self) -> None:
        self.home.mkdir(exist_ok=True)
        self.keyring = Keyring.create(self.randomness.bits(32), None, self.randomness, self.clock)

    @property
    def folder(self) -> str:
        """Where the log lies."""
        return str(self.home / "log")

    @property
    def database(self) -> Path:
        """The file of the log."""
        return self.home / "log" / "log.db"

    def create(self) -> Ledger:
        """Begin the log and note its head after every append."""
        ledger = Ledger.create(self.folder, self.keyring, self.clock, self.randomness, site_name="canary-site-name")
        return self._noting(ledger)

    def open(self, *, is_trusted: bool = True) -> Ledger:
        """Open the log with the mark noted last (or without one)."""
        mark = read_high_water(self.mark, self.keyring) if is_trusted else None
        return self.open_with(mark)

    def open_with(self, mark: HighWater | None) -> Ledger:
        """Open the log with this mark."""
        return self._noting(Ledger.open(self.folder, self.keyring, self.clock, self.randomness, mark))

    def _noting(self, ledger: Ledger) -> Ledger:
        def note(_: object) -> None:
            self.mark = ledger.high_water()

        note(None)
        ledger.set_on_append(note)
        return ledger

    def id(self) -> bytes:
        """A random id."""
        return self.randomness.bits(16)

    def backup(self, name: str = "home", *, quality: Quality = "live", subject: Subject | None = SOURCE) -> list[Fact]:
        """The facts of one backup: job started, packs stored, snapshot taken, job ended."""
        job, run = self.id(), self.id()
        packs = (sample_pack(self.id()), sample_pack(self.id()))
        return [
            Fact(facts.JobStarted(job=job, kind="backup", run=run),
                 facts.JobStartedSealed(user="canary-user", host="canary-host", what=("/canary-path",)), subject),
            Fact(facts.PacksStored(run=run, packs=packs[:1])),
            Fact(self._taken(run, packs[1:]), sample_summary(name, quality), subject),
            Fact(facts.JobEnded(job=job, outcome="done"),
                 facts.JobEndedSealed(counters={"files": 3}, message="canary-message"), subject),
        ]  # fmt: skip

    def _taken(self, run: bytes, packs: tuple[facts.PackRef, ...]) -> facts.SnapshotTaken:
        return facts.SnapshotTaken(snapshot=self.id(), manifest=bytes(32), reach=bytes(32), key_epoch=1, run=run,
                                   packs=packs)  # fmt: skip


def sample_pack(pack_id: bytes) -> facts.PackRef:
    """A pack of this id."""
    return facts.PackRef(id=pack_id, kind="data", size_bytes=67_108_864, root=pack_id * 2, segments=64)


def sample_summary(name: str, quality: Quality = "live") -> SnapshotSummary:
    """A summary with every field set."""
    return SnapshotSummary(
        name=name, time_ns=START_NS, ended_ns=START_NS + 5, quality=quality, host="canary-host", user="canary-user",
        source_kind="files", paths=(b"/canary-path", b"/odd/\xff"), domain=bytes(16), tags=("canary-tag",),
        view="live", is_clock_changed=False, root_page=bytes(32), root_segment=bytes(20), levels=2,
        previous_snapshot=bytes(16), counts=EntryCounts(new=1, changed=2, removed=3, renamed=4, unchanged=5),
        files=6, folders=7, links=8, others=9, sockets_skipped=10, bytes_seen=11, bytes_read=12, bytes_new=13,
        bytes_stored=14, incompressible_bytes=15, errors=16, excluded=17, extra={"later": b"value"},
    )  # fmt: skip


def sample_parts(keyring: Keyring) -> dict[str, tuple[Part, Part | SnapshotSummary | None]]:
    """One clear and one sealed part of every kind, by topic."""
    one, two = bytes(range(16)), bytes(range(16, 32))
    wraps = keyring.wrap(bytes(32), "sample")
    pack = sample_pack(one)
    return {
        "log.opened": (
            facts.LogOpened(parent=None, opener=one * 2, random=two * 2, reason="created", organisation=None),
            facts.LogOpenedSealed(site_name="canary-site-name"),
        ),
        "key.added": (facts.KeyAdded(record=keyring.records[0]), None),
        "clock.jumped": (facts.ClockJumped(from_ns=START_NS, to_ns=0), None),
        "log.readopted": (
            facts.LogReadopted(snapshots=(one,), packs=(pack,)),
            facts.LogReadoptedSealed(reason="canary-reason"),
        ),
        "subject.opened": (facts.SubjectOpened(pseudonym=one, number=1, wraps=wraps), SOURCE),
        "subject.erased": (
            facts.SubjectErased(pseudonym=one),
            facts.SubjectErasedSealed(reason="canary-reason"),
        ),
        "job.started": (
            facts.JobStarted(job=one, kind="backup", run=two),
            facts.JobStartedSealed(user="canary-user", host="canary-host", what=("canary-path",)),
        ),
        "job.ended": (
            facts.JobEnded(job=one, outcome="done"),
            facts.JobEndedSealed(counters={"files": 1}, message="canary-message"),
        ),
        "verification.done": (
            facts.VerificationDone(job=one, mode="sample", segments_checked=2, bytes_read=3, damaged=(one + b"1234",)),
            facts.VerificationDoneSealed(percent=12.5, message="canary-message"),
        ),
        "restore.done": (
            facts.RestoreDone(job=one),
            facts.RestoreDoneSealed(user="canary-user", host="canary-host", snapshot=two, paths=(b"/canary-path",),
                                    target=b"/canary-target", counters={"files": 1}),
        ),
        "packs.stored": (facts.PacksStored(run=one, packs=(pack,)), None),
        "run.abandoned": (
            facts.RunAbandoned(run=one, packs=(one,)),
            facts.RunAbandonedSealed(reason="canary-reason"),
        ),
        "snapshot.taken": (
            facts.SnapshotTaken(snapshot=one, manifest=one * 2, reach=two * 2, key_epoch=1, run=two, packs=(pack,)),
            sample_summary("canary-name"),
        ),
        **_sample_decisions(),
    }  # fmt: skip


def _sample_decisions() -> dict[str, tuple[Part, Part | SnapshotSummary | None]]:
    one, two = bytes(range(16)), bytes(range(16, 32))
    pack = sample_pack(one)
    return {
        "snapshot.labelled": (
            decisions.SnapshotLabelled(snapshot=one),
            decisions.SnapshotLabelledSealed(user="canary-user", host="canary-host", tags_added=("canary-tag",),
                                             tags_removed=("canary-old",), note="canary-note"),
        ),
        "snapshots.forgotten": (
            decisions.SnapshotsForgotten(decision=one, snapshots=(two,), sweep_after_ns=START_NS),
            decisions.SnapshotsForgottenSealed(user="canary-user", host="canary-host", rules="canary-rules"),
        ),
        "snapshots.recalled": (
            decisions.SnapshotsRecalled(decision=two, snapshots=(two,)),
            decisions.SnapshotsRecalledSealed(user="canary-user", host="canary-host"),
        ),
        "hold.placed": (
            decisions.HoldPlaced(hold=one, snapshots=(two,), until_ns=START_NS),
            decisions.HoldPlacedSealed(user="canary-user", host="canary-host", reason="canary-reason",
                                       name="canary-name"),
        ),
        "hold.released": (
            decisions.HoldReleased(hold=one),
            decisions.HoldReleasedSealed(user="canary-user", host="canary-host", reason="canary-reason"),
        ),
        "segments.superseded": (
            decisions.SegmentsSuperseded(run=one, new=b"new", old=b"old", packs=(pack,)), None,
        ),
        "packs.replaced": (decisions.PacksReplaced(job=one, packs=(pack,), removed=(two,)), None),
        "segments.swept": (decisions.SegmentsSwept(job=one, snapshots=(two,), segments=b"set", packs=(one,)), None),
    }  # fmt: skip
