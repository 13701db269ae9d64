"""A disk that records every call, pictures the machine before each, stops everything at one, or fails some: handed in
as `World(disk=...)`.

One `Tape` stands for one machine: every Disk it hands out (the home's, the one beside it, the log's) writes to the same
tape. A tape that films keeps with every call what the files were just before it, so one run of a job shows what a stop
at any of its calls leaves: a process that is gone runs no handlers, and none run here. (`stop_at` is for what is not
behind the seam: from then on every call is refused, from whatever thread.)

Not behind the seam: SQLite writes H/log/log.db with `synchronous=FULL`, so what it had committed at that moment is
there afterwards. RocksDB writes H/index, a cache. Both are copied when they changed. H/owner is a lock that ends with
its process.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from shared.errors import DamagedError
from siteagent.disk.disk import Buffer, Disk, FileReader, FileWriter
from siteagent.disk.local import LocalDisk, LocalReader, LocalWriter, write_error
from tests.support.durability import Durability
from tests.support.outside import Outside
from tests.support.survival import Loss, Picture, outcome
from tests.support.system import SHORT, SYSTEM, install
from tests.support.walker import Tree

WRITES = frozenset({"create", "append", "sync", "close", "rename", "remove", "make_folder", "sync_folder", "punch",
                    "allocate"})  # fmt: skip
_PRODUCT = f"{os.sep}siteagent{os.sep}"
_SEAM = f"{_PRODUCT}disk{os.sep}local.py"
_LONG_HEX = re.compile(r"[0-9a-f]{32,}|[0-9a-f]{8}(-[0-9a-f]{8}){3}")
_WAIT_S = 60.0


class Stopped(BaseException):
    """The process is gone. No handler of ordinary errors catches it."""


@dataclass(frozen=True)
class Call:
    """One call: `kind` is the path with every id written #, `site` the line of siteagent that made it.

    `repeat` counts the calls of the same operation, kind and site, from 1: the n-th such call is the same in every run,
    while numbers shift when threads take turns otherwise.
    """

    number: int
    operation: str
    path: str
    kind: str
    site: str
    repeat: int

    @property
    def point(self) -> tuple[str, str, str]:
        """What makes a call another one than the rest."""
        return self.operation, self.site, self.kind


@dataclass(frozen=True)
class Frame:
    """What a stop at a call leaves: the files just before it, log and index by the names of their copies, and what the
    user had been told by then."""

    call: Call
    picture: Picture
    outside: dict[str, str]
    told: dict[bytes, Tree]


class Tape:
    """All disk calls of one machine whose home lies in `folder`/home."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        """`scratch`: a folder beside `folder` (on the same file system) for what has to be dug up again."""
        install()
        self.calls: list[Call] = []
        self.frames: list[Frame] = []
        self.is_filming = False
        self.told: dict[bytes, Tree] = {}
        """What was acknowledged so far; replaced by whoever hears of more."""
        self.stop_at: Callable[[Call], bool] | None = None
        self.fail_at: Callable[[Call], int | None] | None = None
        self.is_stopped = False
        self.failures = 0
        self._folder = os.path.realpath(folder)
        self.outside = Outside(os.path.join(self._folder, "home"), os.fspath(scratch / "outside"))
        self._survival = Durability(self._folder, os.fspath(scratch / "graveyard"), self.outside.is_inside)
        self._stopped: dict[str, str] = {}
        self._repeats: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._has_failed = False

    def disk(self, root: str) -> Disk:
        """A disk for `World`."""
        return RecordedDisk(self, os.path.realpath(root))

    def stop_when(self, point: tuple[str, str, str], repeat: int) -> None:
        """Stop before the `repeat`-th call of this kind."""
        self.stop_at = lambda call: call.point == point and call.repeat == repeat

    def fail_once(self, point: tuple[str, str, str], repeat: int, code: int) -> None:
        """Let the `repeat`-th call of this kind fail with this errno (SHORT: write less than it was given)."""
        self.fail_at = lambda call: code if call.point == point and call.repeat == repeat else None

    def wait_for(self, operation: str, kind: str) -> None:
        """Wait until there was such a call, or until nothing more can be expected because something failed."""
        with self._changed:
            came = self._changed.wait_for(lambda: self.is_stopped or self._has_failed or any(
                call.operation == operation and call.kind == kind for call in self.calls), _WAIT_S)  # fmt: skip
            assert came, f"no {operation} of {kind}"

    @contextmanager
    def call(self, operation: str, path: str) -> Iterator[int | None]:
        """Record a call and hold all others back while it runs; gives the errno it shall fail with.

        Raises Stopped instead when this is where everything ends, or ended before.
        """
        with self._lock:
            if self.is_stopped:
                raise Stopped
            call = self._record(operation, path)
            self._changed.notify_all()
            if self.stop_at is not None and self.stop_at(call):
                self._stop()
            code = self.fail_at(call) if self.fail_at is not None else None
            self._has_failed = self._has_failed or (code is not None and code != SHORT)
            self.failures += code is not None
            SYSTEM.watch(operation, code, self._synced)
            try:
                if self.is_filming and operation != "append":
                    self.film(call)
                yield code
            finally:
                SYSTEM.watch("", None, None)

    def film(self, call: Call) -> None:
        """Keep what the files are now."""
        self.frames.append(Frame(call, self._survival.picture(), self.outside.keep(), self.told))

    def note(self, what: str) -> None:
        """Put something on the tape that is no disk call, such as an append to the log. It can be stopped at, too."""
        with self.call(what, self._folder):
            pass

    def _synced(self, path: str) -> None:
        if os.path.isdir(path):
            self._survival.synced_folder(path)
        elif self.outside.is_inside(path):
            self._survival.synced(path)

    def _record(self, operation: str, path: str) -> Call:
        start = self._folder + os.sep
        short = path[len(start) :] if path.startswith(start) else os.path.relpath(path, self._folder)
        kind, site = _LONG_HEX.sub("#", short), _calling_line()
        self._repeats[operation, site, kind] += 1
        call = Call(len(self.calls) + 1, operation, short, kind, site, self._repeats[operation, site, kind])
        self.calls.append(call)
        return call

    def _stop(self) -> None:
        self.is_stopped = True
        # The stopped process still runs through its handlers, which a dead one would not.
        self._stopped = {name: kept for name, kept in self.outside.keep().items() if name.startswith("log")}
        raise Stopped

    @property
    def survival(self) -> Durability:
        """What would be left after a failure of the power."""
        return self._survival

    def crash(self, loss: Loss, older_index: Path | None = None, chance: Random | None = None) -> None:
        """After a stop (or the end of a run), when nothing holds the home any more: lose what is not durable.

        After a failure of the power the index is `older_index`, or gone. The tape runs on, without stop or failure.
        """
        if self.is_stopped:
            self.outside.put_back(self._stopped)
        if loss is not Loss.NOTHING:
            self._survival.become(outcome(self._survival.picture(), loss, chance or Random(len(self.calls))))
            self.outside.lose_index(older_index)
        self.is_stopped, self.stop_at, self.fail_at, self._has_failed = False, None, None, False


class RecordedDisk:
    """A Disk below one root, on a tape."""

    def __init__(self, tape: Tape, root: str) -> None:
        self._tape, self._root, self._disk = tape, root, LocalDisk(root)

    def _absolute(self, path: str) -> str:
        return os.path.join(self._root, path) if path else self._root

    def _follows(self, absolute: str) -> bool:
        return self._tape.outside.is_inside(absolute)

    def create(self, path: str) -> FileWriter:
        absolute = self._absolute(path)
        with self._tape.call("create", absolute):
            writer = self._disk.create(path)
            self._tape.survival.made(absolute)
        return RecordedWriter(self._tape, absolute, writer)

    def open(self, path: str) -> FileReader:
        with self._tape.call("open", self._absolute(path)) as code:
            if code is not None:
                raise OSError(code, os.strerror(code))
            return RecordedReader(self._tape, self._absolute(path), self._disk.open(path))

    def rename(self, source: str, target: str) -> None:
        before, after = self._absolute(source), self._absolute(target)
        with self._tape.call("rename", after):
            self._disk.rename(source, target)
            if self._follows(before):
                self._tape.survival.renamed(before, after)

    def remove(self, path: str) -> None:
        absolute = self._absolute(path)
        with self._tape.call("remove", absolute):
            self._disk.remove(path)
            if self._follows(absolute):
                self._tape.survival.removed(absolute)

    def make_folder(self, path: str) -> None:
        absolute = self._absolute(path)
        with self._tape.call("make_folder", absolute):
            self._disk.make_folder(path)
            self._tape.survival.made_folder(absolute)

    def sync_folder(self, path: str) -> None:
        with self._tape.call("sync_folder", self._absolute(path)):
            self._disk.sync_folder(path)

    def list(self, path: str) -> list[str]:
        with self._tape.call("list", self._absolute(path)):
            return self._disk.list(path)

    def size(self, path: str) -> int | None:
        with self._tape.call("size", self._absolute(path)):
            return self._disk.size(path)

    def allocated(self, path: str) -> int:
        with self._tape.call("allocated", self._absolute(path)):
            return self._disk.allocated(path)

    def punch(self, path: str, offset: int, length: int) -> bool:
        absolute = self._absolute(path)
        with self._tape.call("punch", absolute) as code:
            if code is not None and code != SHORT:
                raise write_error(OSError(code, os.strerror(code)), absolute)
            self._tape.survival.punching(absolute)
            return self._disk.punch(path, offset, length)

    def allocate(self, path: str, size_bytes: int) -> None:
        with self._tape.call("allocate", self._absolute(path)):
            self._disk.allocate(path, size_bytes)
            self._tape.survival.allocated(self._absolute(path))

    def free_bytes(self) -> int:
        with self._tape.call("free_bytes", self._root):
            return self._disk.free_bytes()


class RecordedWriter:
    """A FileWriter on a tape. What is durable is kept book of, by the syncs that reach the system."""

    def __init__(self, tape: Tape, absolute: str, writer: LocalWriter) -> None:
        self._tape, self._absolute, self._writer = tape, absolute, writer

    def append(self, buffers: Sequence[Buffer]) -> int:
        with self._tape.call("append", self._absolute):
            self._tape.survival.appending(self._absolute, sum(memoryview(piece).nbytes for piece in buffers))
            if self._tape.is_filming:
                self._tape.film(self._tape.calls[-1])
            try:
                return self._writer.append(buffers)
            finally:
                self._tape.survival.appended(self._absolute)

    def read_at(self, offset: int, length: int) -> bytes:
        with self._tape.call("read_back", self._absolute) as code:
            _fail_reading(code, self._absolute)
            return self._writer.read_at(offset, length)

    def sync(self) -> None:
        with self._tape.call("sync", self._absolute):
            self._writer.sync()

    def close(self) -> None:
        if self._tape.is_stopped:
            # Whoever is gone keeps no handle open.
            self._writer.close()
        with self._tape.call("close", self._absolute):
            self._writer.close()


class RecordedReader:
    """A FileReader on a tape."""

    def __init__(self, tape: Tape, absolute: str, reader: LocalReader) -> None:
        self._tape, self._absolute, self._reader = tape, absolute, reader
        self.size_bytes = reader.size_bytes

    def read_at(self, offset: int, length: int) -> bytes:
        with self._tape.call("read_at", self._absolute) as code:
            _fail_reading(code, self._absolute)
            return self._reader.read_at(offset, length)

    def close(self) -> None:
        self._reader.close()
        with self._tape.call("close reader", self._absolute):
            pass


def _fail_reading(code: int | None, path: str) -> None:
    if code is not None:
        raise DamagedError(f"the disk cannot read: {os.strerror(code)}", subject=path, next_step="check the disk")


def _calling_line() -> str:
    """The nearest line of siteagent that made this call, the primitive disk itself left out."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if _PRODUCT in name and not name.endswith(_SEAM):
            return f"{name.rpartition(_PRODUCT)[2]}:{frame.f_code.co_name}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "outside"
