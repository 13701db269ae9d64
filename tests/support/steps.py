"""Jobs in threads of which one goes on at a time, from one of its steps to the next, as a chooser says.

A step is a place where a job shows itself to others or looks at them: a lock of the home or of its leases, a fact, a
change of the index, a pack or manifest that gets or loses its name. The jobs run the shipped code; what is theirs alone
(the sealing threads of a backup) runs at once. So the same choices give the same run.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.decisions import SegmentsSwept
from shared.facts import Fact
from siteagent.disk.local import LocalDisk
from siteagent.home import Home
from siteagent.store import leases as leases_module
from siteagent.store.deltawork import Encoding
from siteagent.store.pipeline import Filled, Pipeline

Choose = Callable[[Sequence[str], str], str]
"""From the names of the jobs that could go on and the one that went last: who goes on."""
OFTEN = frozenset({"index.spot", "list packs", "listed packs", "snapshotfiles.segments"})
"""Steps of which there are so many that they are watched only where they matter."""
_TURN_S = 90.0
_FOLDERS = ("packs", "snapshots", "reaches")


def _always() -> bool:
    return True


class Killed(BaseException):
    """The job is cut off where it stands. No handler of ordinary errors catches it."""


@dataclass
class _Job:
    """One job: `label` is what it is about to do."""

    name: str
    work: Callable[[], object]
    label: str = ""
    is_ready: Callable[[], bool] = _always
    may_give_up: bool = False
    is_done: bool = False
    is_to_die: bool = False
    is_killed: bool = False
    result: object = None
    error: BaseException | None = None
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class Steps:
    """The scheduler. `trace` is what was done, `stuck` says how often nobody could go on but by giving up a wait."""

    def __init__(self, watched: Callable[[str], bool] = lambda label: label not in OFTEN) -> None:
        self._watched = watched
        self._by_thread: dict[int, _Job] = {}
        self._turn = threading.Semaphore(0)
        self.jobs: dict[str, _Job] = {}
        self.trace: list[tuple[str, str]] = []
        self.stuck = 0

    def step(self, label: str, is_ready: Callable[[], bool] = _always, *, may_give_up: bool = False) -> None:
        """Called by a job that is about to do something; returns when it may. Nothing to any other thread."""
        job = self._by_thread.get(threading.get_ident())
        if job is None or (is_ready() and (job.is_killed or not self._watched(label))):
            return
        job.label, job.is_ready, job.may_give_up = label, is_ready, may_give_up
        self._turn.release()
        job.go.acquire()
        if job.is_to_die and not job.is_killed:
            job.is_killed = True
            raise Killed

    def run(self, jobs: Mapping[str, Callable[[], object]], choose: Choose) -> None:
        """Run all jobs to their ends; results and errors are in `jobs` afterwards."""
        self.jobs = {name: _Job(name, work) for name, work in jobs.items()}
        threads = [threading.Thread(target=self._perform, args=(job,), daemon=True) for job in self.jobs.values()]
        for thread in threads:
            thread.start()
            self._await_turn()
        last = ""
        while waiting := [job for job in self.jobs.values() if not job.is_done]:
            ready = [job for job in waiting if job.is_ready()]
            if not ready:
                self.stuck += 1
                ready = [job for job in waiting if job.may_give_up][:1]
                assert ready, f"a deadlock: {[(job.name, job.label) for job in waiting]}"
            last = choose([job.name for job in ready], last)
            self.trace.append((last, self.jobs[last].label))
            self.jobs[last].go.release()
            self._await_turn()
        for thread in threads:
            thread.join()

    def succeeded(self) -> set[str]:
        """The jobs that ended without an error."""
        return {name for name, job in self.jobs.items() if job.error is None}

    def run_free(self, jobs: Mapping[str, Callable[[], object]]) -> None:
        """Run all jobs without choosing; what they do is no step."""
        self.jobs = {name: _Job(name, work) for name, work in jobs.items()}
        threads = [threading.Thread(target=self._work, args=(job,), daemon=True) for job in self.jobs.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_TURN_S)
            assert not thread.is_alive(), "jobs wait for each other for ever"

    def _await_turn(self) -> None:
        assert self._turn.acquire(timeout=_TURN_S), f"nobody came to a step: {self.trace[-5:]}"

    def _perform(self, job: _Job) -> None:
        self._by_thread[threading.get_ident()] = job
        self.step("start")
        self._work(job)
        del self._by_thread[threading.get_ident()]
        self._turn.release()

    def _work(self, job: _Job) -> None:
        try:
            job.result = job.work()
        except BaseException as error:
            job.error = error
        job.is_done = True


class ScheduledLock:
    """A lock that its holder may take again, whose takers wait for their turn."""

    def __init__(self, steps: Steps, label: Callable[[], str]) -> None:
        self._steps, self._label = steps, label
        self._owner, self._depth = 0, 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it."""
        del timeout
        me = threading.get_ident()
        if self._owner != me:
            if blocking:
                self._steps.step(self._label(), lambda: self._owner == 0)
            if self._owner:
                assert not blocking, "a thread outside the schedule meets a lock that is held"
                return False
        self._owner, self._depth = me, self._depth + 1
        return True

    def release(self) -> None:
        """Give it back."""
        assert self._is_owned()
        self._depth -= 1
        if not self._depth:
            self._owner = 0

    def _is_owned(self) -> bool:
        return self._owner == threading.get_ident()

    def __enter__(self) -> object:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class ScheduledDisk(LocalDisk):
    """The real disk, with a step before a pack, manifest or reach gets or loses its name or a part."""

    def __init__(self, steps: Steps, root: str, *, can_punch: bool) -> None:
        super().__init__(root)
        self._steps, self._can_punch = steps, can_punch

    def _before(self, what: str, path: str) -> None:
        folder = path.partition("/")[0]
        if folder in _FOLDERS and not path.endswith(".part"):
            self._steps.step(f"{what} {folder}")

    def rename(self, source: str, target: str) -> None:
        """A file gets its name."""
        self._before("name", target)
        super().rename(source, target)

    def remove(self, path: str) -> None:
        """A file goes."""
        self._before("remove", path)
        super().remove(path)

    def list(self, path: str) -> list[str]:
        """Who is there."""
        if path != "packs":
            return super().list(path)
        self._steps.step("list packs")
        found = super().list(path)
        self._steps.step("listed packs")
        return found

    def punch(self, path: str, offset: int, length: int) -> bool:
        """A stretch of a file goes."""
        self._before("punch", path)
        return self._can_punch and super().punch(path, offset, length)


def watch(home: Home, steps: Steps) -> None:
    """Make the shared places of an open home steps of this schedule."""
    home.arranging = ScheduledLock(steps, lambda: "home.arranging")
    home.deciding = ScheduledLock(steps, lambda: "home.deciding")
    _watch_leases(home, steps)
    calls = [(home.ledger, "record"), (home.snapshots, "manifest"), (home.snapshots, "segments"),
             *((home.index, name) for name in _INDEX_CALLS)]
    for owner, name in calls:
        _watch_call(owner, name, f"{type(owner).__name__.lower()}.{name}", steps)


_INDEX_CALLS = ("add_pack", "move", "drop_segments", "drop_pack", "spot")


def _watch_call(owner: object, name: str, label: str, steps: Steps) -> None:
    real = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        facts = [_shown(fact) for fact in arguments if isinstance(fact, Fact)]
        steps.step(" ".join([label, *facts[:1]]))
        return real(*arguments, **named)

    setattr(owner, name, call)


def _shown(fact: Fact) -> str:
    """A fact's kind; the two of a prune, by which snapshots and segments are given up, are told apart."""
    clear = fact.clear
    return "SnapshotsSwept" if isinstance(clear, SegmentsSwept) and clear.snapshots else type(clear).__name__


def _watch_leases(home: Home, steps: Steps) -> None:
    leases, real = home.leases, home.leases.wait_until_clear
    leases._lock = ScheduledLock(steps, _lease_call)  # type: ignore[assignment]
    leases._ended = threading.Condition(leases._lock)

    def wait(newest: int, wait_s: float) -> None:
        del wait_s
        steps.step("leases wait", lambda: all(number > newest for number in leases._held), may_give_up=True)
        real(newest, 0.0)

    leases.wait_until_clear = wait  # type: ignore[method-assign]


def _lease_call() -> str:
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename != leases_module.__file__:
        frame = frame.f_back
    return f"leases.{frame.f_code.co_name}"


def seal_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sealing thread, for which its job waits: one of the orders that they may run in, and always the same."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    submit, encode = Pipeline.submit, Pipeline.encode

    def submitted(pipeline: Pipeline, filled: Filled) -> None:
        submit(pipeline, filled)
        pipeline._jobs.join()

    def encoded(pipeline: Pipeline, *arguments: object) -> Encoding:
        found = encode(pipeline, *arguments)  # type: ignore[arg-type]
        pipeline._jobs.join()
        return found

    monkeypatch.setattr(Pipeline, "submit", submitted)
    monkeypatch.setattr(Pipeline, "encode", encoded)
