"""The place a restore writes into: every change it makes there is recorded, can be the last one, or can fail.

The modules that write restored trees call the system through `os`; a `Target` stands in its place and looks at the
calls that change something. Nothing is durable before the sync at the end, so whatever a restore has changed by then
may be there, be there in part, or not be there after a failure of the power.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from siteagent.disk import confined
from siteagent.jobs import restore as restoring
from siteagent.restore import filewriter, metadata, restorer, targetsync
from tests.support.places import remove_tree
from tests.support.recorded_disk import Call, Stopped
from tests.support.survival import Loss
from tests.support.system import SHORT

MODULES = (confined, filewriter, metadata, restorer, restoring, targetsync)
SYNCS = frozenset({"fsync", "syncfs"})
WRITING = frozenset({"write", "pwrite"})
CHANGES = frozenset({
    "chmod", "chown", "ftruncate", "link", "makedirs", "mkdir", "mknod", "open", "removexattr", "rename", "rmdir",
    "setxattr", "symlink", "unlink", "utime", *SYNCS, *WRITING,
})  # fmt: skip


class Target:
    """Stands for `os` in the modules that write restored trees."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.stop_at: Callable[[Call], bool] | None = None
        self.fail_at: Callable[[Call], int | None] | None = None
        self.is_torn = self.is_stopped = False
        self._repeats: Counter[tuple[str, str, str]] = Counter()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return partial(self._change, name, real) if name in CHANGES else real

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let these modules call the system through this."""
        for module in MODULES:
            monkeypatch.setattr(module, "os", self)
        # No part of `os`: the name of the call that it makes.
        monkeypatch.setattr(targetsync, "_sync_file_system", partial(self._change, "syncfs", lambda handle: None))

    def begin(self) -> None:
        """Forget what was recorded; nothing stops or fails from here on."""
        self.calls, self.stop_at, self.fail_at, self.is_torn, self.is_stopped = [], None, None, False, False
        self._repeats.clear()

    def _change(self, name: str, real: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "open" and not (len(args) > 1 and args[1] & os.O_CREAT):
            return real(*args, **named)
        if self.is_stopped:
            raise Stopped
        call = self._record(name, args)
        if self.stop_at is not None and self.stop_at(call):
            self._write_half(name, args) if self.is_torn else None
            self.is_stopped = True
            raise Stopped
        code = self.fail_at(call) if self.fail_at is not None else None
        if code == SHORT and name in WRITING:
            return self._write_half(name, args)
        if code is not None and code != SHORT:
            self._write_half(name, args)
            raise OSError(code, os.strerror(code))
        return None if name in SYNCS else real(*args, **named)

    def _write_half(self, name: str, args: tuple[Any, ...]) -> int:
        if name not in WRITING:
            return 0
        half = bytes(args[1])[: (len(args[1]) + 1) // 2]
        return (os.write if name == "write" else os.pwrite)(args[0], half, *args[2:])

    def _record(self, name: str, args: tuple[Any, ...]) -> Call:
        is_part = any(isinstance(word, bytes) and word.startswith(b".farkeep-") for word in args)
        kind = "a part" if is_part else "an entry"
        site = _calling_line()
        point = f"target {name}", site, kind
        self._repeats[point] += 1
        call = Call(len(self.calls) + 1, point[0], "", kind, site, self._repeats[point])
        self.calls.append(call)
        return call


def _calling_line() -> str:
    frame = sys._getframe(3)
    name = frame.f_code.co_filename.rpartition(f"{os.sep}siteagent{os.sep}")[2]
    return f"{name}:{frame.f_code.co_name}:{frame.f_lineno}"


def lose(target: Path, before: Path | None, loss: Loss, chance: Random) -> None:
    """Make of a target, stopped before its sync, what a failure of the power may leave. `before`: what it was."""
    if loss in (Loss.NOTHING, Loss.TORN) or not target.exists():
        return
    if loss is Loss.EVERYTHING and chance.random() < 0.2:
        _put_back(target, before)
        return
    for path in sorted(target.rglob("*"), reverse=True):
        about = path.lstat()
        earlier = before / path.relative_to(target) if before is not None else None
        draw = chance.random() if loss is Loss.REORDERED else 0.3
        if draw < 0.25 and path.parent.exists():
            _lose_name(path, earlier)
        elif draw < 0.75 and stat.S_ISREG(about.st_mode):
            with _times_kept(path):
                os.truncate(path, 0)
                os.truncate(path, about.st_size if chance.random() < 0.7 else about.st_size // 2)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree with everything in it."""
    subprocess.run(["cp", "-a", source, target], check=True)


def _put_back(target: Path, before: Path | None) -> None:
    remove_tree(target)
    if before is not None:
        copy_tree(before, target)


def _lose_name(path: Path, earlier: Path | None) -> None:
    """The name is not there, or leads to what it led to before."""
    with suppress(OSError):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        if earlier is not None and earlier.is_file() and not earlier.is_symlink():
            shutil.copy2(earlier, path)


@contextmanager
def _times_kept(path: Path) -> Iterator[None]:
    """Times that were set come to the disk before content does."""
    about = path.stat()
    yield
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
