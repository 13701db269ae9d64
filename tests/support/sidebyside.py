"""A site with something to prune, jobs that run in it side by side, and what must hold when they have ended.

What a backup would find again lies where a prune is about to take it away: "only" in a segment that nothing else uses
(it is swept), "half" in one that is used in part (it is compacted). Snapshots: first, forgotten (two of them), last.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from shared.errors import FarkeepError, RefusedError, UnavailableError
from shared.facts import JobEnded
from shared.randomness import SystemRandomness
from siteagent.disk.local import LocalDisk
from siteagent.home import Home, open_home
from siteagent.jobs.backup import BackupResult
from siteagent.jobs.labels import LabelChange, change_labels
from siteagent.jobs.recall import recall
from siteagent.jobs.record import Who
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.jobs.verify import VerifyReport, verify
from siteagent.ledger.state import SnapshotEntry
from tests.support.days import Days, Truth, ids, pruned
from tests.support.determined import LabelledRandomness
from tests.support.exploration import Script
from tests.support.homes import LONG_AFTER_NS, Place, forget, incompressible
from tests.support.steps import Choose, Killed, ScheduledDisk, Steps, watch

Job = Callable[[Home], object]


class SideBySide:
    """The site as it was made, to go back to before every run."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._saved = folder, folder / "saved"
        self.place = Place(folder).create()
        self.days = Days(self.place)
        self._make()
        shutil.copytree(self.place.home, self._saved, symlinks=True)
        self._head = (folder / "home.head").read_bytes()
        self._truth: Truth = dict(self.days.truth)
        self._now_ns = self.place.clock.time_ns
        self._numbers = itertools.count()
        self.can_punch = True
        self._is_recalled = False

    def _make(self) -> None:
        place, source = self.place, self.place.source
        base = incompressible("base", 12_000)
        place.write("base", base)
        with place.open() as home:
            self.first = self.days.take(home)
            place.write("only", incompressible("only", 30_000))
            self.forgotten = self.days.take(home)
            (source / "only").unlink()
            place.write("half", incompressible("half", 20_000))
            place.write("other half", incompressible("other half", 9_000))
            # A delta: it stays, in a pack of which the rest goes, so that pack is copied where holes are not possible.
            place.write("base", base[:5_000] + b"edited" + base[5_000:])
            second = self.days.take(home)
            (source / "half").unlink()
            self.last = self.days.take(home)
            forget(home, [self.forgotten, second])
        assert place.clock.time_ns > LONG_AFTER_NS
        place.write("only", incompressible("only", 30_000))
        place.write("half", incompressible("half", 20_000))
        place.write("new", incompressible("new", 5_000))

    def _load(self) -> None:
        """Put everything back, in the same folder: a home knows its inode."""
        for item in self.place.home.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        shutil.copytree(self._saved, self.place.home, symlinks=True, dirs_exist_ok=True)
        (self._folder / "home.head").write_bytes(self._head)
        self.days.truth, self._is_recalled = dict(self._truth), False
        self.place.clock.time_ns = self._now_ns
        self.place.randomness = LabelledRandomness("side by side")

    @contextmanager
    def opened(self, steps: Steps) -> Iterator[Home]:
        """The home as it was made, open in a schedule."""
        self._load()
        self.place.world = replace(self.place.world, randomness=self.place.randomness,
                                   disk=lambda root: ScheduledDisk(steps, root, can_punch=self.can_punch))
        with self.place.open() as home:
            # As in a process that has been at work for a while: what facts say was read before.
            home.successors.refresh()
            home.retired.refresh()
            watch(home, steps)
            yield home

    def run(self, jobs: Mapping[str, Job], choose: Choose, steps: Steps) -> Steps:
        """Run jobs side by side, and require all that must hold then."""
        with self.opened(steps) as home:
            steps.run({name: partial(job, home) for name, job in jobs.items()}, choose)
            try:
                self._require(home, steps)
            except (AssertionError, FarkeepError) as error:
                raise AssertionError(f"after {steps.trace}") from error
        return steps

    def follow(self, jobs: Mapping[str, Job], *acts: tuple[str, str]) -> Steps:
        """Run jobs as a script says; all of it must be reached."""
        steps = Steps(lambda _: True)
        script = Script(steps, *acts)
        self.run(jobs, script, steps)
        script.require_reached()
        return steps

    def run_free(self, jobs: Mapping[str, Job], seed: int) -> Steps:
        """Run jobs in threads as the machine lets them, started in a seeded order; they wait for each other."""
        self._load()
        world = replace(self.place.world, randomness=SystemRandomness(), disk=LocalDisk, workers=2)
        steps, order = Steps(), list(jobs)
        random.Random(seed).shuffle(order)
        with open_home(replace(self.place.access, wait_s=3600.0), "test", world) as home:
            steps.run_free({name: partial(jobs[name], home) for name in order})
            self._require(home, steps)
        return steps

    def _require(self, home: Home, steps: Steps) -> None:
        for name, job in steps.jobs.items():
            if job.error is not None and not isinstance(job.error, UnavailableError | RefusedError | Killed):
                raise AssertionError(f"{name} failed") from job.error
            assert not isinstance(job.error, RefusedError) or "pruned meanwhile" in str(job.error), job.error
        self._require_index_leads(home)
        self.days.require_whole(home)
        assert {self.first, self.last} <= set(ids(home))
        assert home.leases.held() == []
        # What jobs that were cut off or gave up left is taken up by the next ones, and nothing goes with it.
        self.days.take(home)
        pruned(home, is_now=True)
        self.days.require_whole(home)
        assert (self.forgotten in ids(home)) == self._is_recalled
        assert (home.packs.unfinished(), home.ledger.history().open_jobs) == ([], [])
        ended = Counter(fact.clear.job for fact in home.ledger.facts() if isinstance(fact.clear, JobEnded))
        assert set(ended.values()) == {1}, "a job was taken for one that was cut off"
        assert set(home.snapshots.manifests()) == set(ids(home))

    def _require_index_leads(self, home: Home) -> None:
        """Whoever restores now is led to packs that are there (a verification would put it right)."""
        there = set(home.packs.finished())
        for entry in home.ledger.history().snapshots:
            for name in home.successors.closed(home.snapshots.segments(entry.id)):
                spot = home.index.spot(name)
                assert spot is not None
                assert spot.pack_id in there

    def backup(self, home: Home) -> BackupResult:
        """A backup of what the source is now."""
        found = self.place.backup(home)
        self.days.note(found.snapshot)
        return found

    def label(self, home: Home) -> object:
        """A decision, which writes facts and no segments."""
        entries = [entry for entry in home.ledger.history().snapshots if entry.id == self.last]
        return change_labels(home, Who("user", "host"), entries, LabelChange(note="a note"))

    def recall(self, home: Home) -> object:
        """Somebody wants the forgotten snapshot back."""
        entries = [entry for entry in home.ledger.history().forgotten if entry.id == self.forgotten]
        self._is_recalled = bool(recall(home, Who("user", "host"), entries))
        return self._is_recalled

    def prune(self, home: Home) -> object:
        """A prune that waits for whoever it must."""
        return pruned(home)

    def restore(self, home: Home) -> str:
        """Restore what is there, the oldest snapshot last; everything must come out right."""
        return self._restore(home, [self.last, self.first])

    def restore_forgotten(self, home: Home) -> str:
        """Restore a snapshot that was forgotten and not given up when it was looked up."""
        return self._restore(home, [self.forgotten])

    def _restore(self, home: Home, snapshots: list[bytes]) -> str:
        entries = [home.ledger.history().snapshot(snapshot) for snapshot in snapshots]
        for entry in entries:
            if entry is not None:
                self._restore_one(home, entry)
        return "restored" if None not in entries else "not there"

    def _restore_one(self, home: Home, entry: SnapshotEntry) -> None:
        target = self._folder / "restored" / str(next(self._numbers))
        found = restore(home, [RestoreRequest(entry, b"/", str(target), "user", "host")])
        assert found.errors == []
        files = {b"/" + bytes(file.relative_to(target)): file.read_bytes() for file in target.rglob("*")
                 if file.is_file()}  # fmt: skip
        assert files == self.days.truth[entry.id]
        shutil.rmtree(target)

    def verify(self, home: Home) -> VerifyReport:
        """Look at everything; nothing is damaged."""
        report = verify(home, "read-data")
        assert (report.problems, report.damaged) == ([], [])
        return report
