"""A site whose commands are killed: the shipped command in processes of its own, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.build import build
from tests.support.farkeep import Argument, Farkeep, Result
from tests.support.machine import small_tree
from tests.support.places import remove_tree
from tests.support.sessions import await_end, members, named_shared_memory
from tests.support.walker import Tree, compare, describe

COMMANDS = ("backup", "prune", "key rotate", "restore", "verify")
_LARGE_FILES, _LARGE_BYTES = 9, 1_200_000
"""So much that a backup starts sealing processes (siteagent.store.pipeline)."""
_POLL_S = 0.001


class KilledSite:
    """`told` are the snapshots whose success was told and that are wanted, by id, with what the source was then."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._chance, self._folder = random.Random(seed), folder
        self.source, self.home = folder / "source", folder / "home"
        self.farkeep = Farkeep(self.home)
        self._user_home = folder / "user"
        self._user_home.mkdir()
        build(small_tree(), self.source)
        self.told: dict[str, Tree] = {}
        self.forgotten = set[str]()
        self._took_s: dict[str, float] = {}
        self.helpers_seen = 0
        self.farkeep.init()
        for _ in range(3):
            self._change()
            self.back_up()

    def _change(self) -> None:
        for number in range(_LARGE_FILES):
            (self.source / f"large {number}").write_bytes(self._chance.randbytes(_LARGE_BYTES))
        (self.source / f"small {self._chance.randrange(50)}").write_bytes(self._chance.randbytes(2000))

    def back_up(self) -> None:
        """A backup that is told."""
        tree = describe(self.source)
        self.told[self.farkeep.backup(self.source, name="docs").json()["snapshot"]] = tree

    @contextlib.contextmanager
    def _prepared(self, command: str) -> Iterator[list[Argument]]:
        """The words of a command, after what it needs to have something to do."""
        target = self._folder / "target"
        if command == "backup":
            self._change()
            yield ["backup", self.source, "--name", "docs"]
        elif command == "prune":
            if len(self.told) == 1:
                self.back_up()
            oldest = next(iter(self.told))
            self.farkeep.run("forget", oldest, "--now")
            del self.told[oldest]
            self.forgotten.add(oldest)
            yield ["prune"]
        elif command == "key rotate":
            yield ["key", "rotate", *(["--new-secret"] if self._chance.randrange(2) else [])]
        elif command == "restore":
            spec, tree = self._any()
            yield ["restore", spec, "--to", target]
            # The same command again completes what the killed one began.
            self.farkeep.restore(spec, target)
            assert compare(tree, describe(target)) == []
            remove_tree(target)
        else:
            yield ["verify", "--read-data"]

    def _any(self) -> tuple[str, Tree]:
        snapshot = self._chance.choice(list(self.told))
        return f"{snapshot}:{self.source}", self.told[snapshot]

    def kill(self, command: str) -> bool:
        """Start a command and kill it at some moment; False when it had come to its end before."""
        with self._prepared(command) as words:
            if command not in self._took_s:
                self._took_s[command] = self._time(words)
                is_killed = False
            else:
                process = self.farkeep.start(*words, user_home=self._user_home)
                self._await(process, self._is_held, 10.0)
                self._await(process, lambda: False, self._chance.uniform(0, self._took_s[command]))
                is_killed = self._end(process)
        if command == "backup" and not is_killed:
            self._take_over()
        return is_killed

    def _take_over(self) -> list[str]:
        """Count a snapshot that was not told, or not to us: it must show the source as it is."""
        shown = [entry["snapshot"] for entry in self.farkeep.snapshots().json()]
        assert self.told.keys() <= set(shown), "a snapshot that was told is gone"
        new = [snapshot for snapshot in shown if snapshot not in self.told]
        self.told.update(dict.fromkeys(new, describe(self.source)))
        return new

    def _time(self, words: list[Argument]) -> float:
        """How long a command holds the home when nobody kills it, in seconds."""
        process = self.farkeep.start(*words, user_home=self._user_home)
        self._await(process, self._is_held, 10.0)
        began = time.monotonic()
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, (output, errors)
        return time.monotonic() - began

    def _is_held(self) -> bool:
        return (self.home / "owner").stat().st_size > 0

    def _await(self, process: subprocess.Popen[bytes], is_time: Callable[[], bool], wait_s: float) -> None:
        until = time.monotonic() + wait_s
        while process.poll() is None and time.monotonic() < until and not is_time():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)

    def _end(self, process: subprocess.Popen[bytes]) -> bool:
        """Kill the whole group, or the command alone: what it started has to end by itself then."""
        started = members(process.pid)
        assert named_shared_memory(started, besides=self._folder) == []
        self.helpers_seen += len(started) > 1
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if self._chance.randrange(2) else os.kill)(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert await_end(started) == [], "processes outlived the command that started them"
        return process.returncode == -signal.SIGKILL

    def require_survival(self) -> None:
        """The home opens at once, shows what was told and nothing half done, and the next backup works."""
        assert self._verified().exit_code == 0
        for snapshot in self._take_over():
            self._require_whole(snapshot)
        self.back_up()
        self._require_no_litter()
        self._require_whole(next(reversed(self.told)))
        self._require_whole(self._chance.choice(list(self.told)))

    def _require_no_litter(self) -> None:
        """What the killed command left half done is gone."""
        kept = {path.name.partition(".")[0] for path in (self.home / "snapshots").iterdir()}
        assert self.told.keys() <= kept <= self.told.keys() | self.forgotten
        assert list((self.home / "packs").glob("*.part")) == []

    def _verified(self) -> Result:
        return self.farkeep.verify("--read-data", check=False)

    def _require_whole(self, snapshot: str) -> None:
        target = self._folder / "restored"
        self.farkeep.restore(f"{snapshot}:{self.source}", target)
        assert compare(self.told[snapshot], describe(target)) == []
        remove_tree(target)
