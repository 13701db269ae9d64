"""Somebody who acts between two calls of the system, at the n-th of those that name something in the file tree."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from unittest import mock

_CALLS = ("open", "stat", "scandir", "listdir", "readlink", "listxattr", "getxattr", "setxattr", "removexattr", "mkdir",
          "unlink", "rmdir", "rename", "link", "symlink", "mknod", "chmod", "chown", "utime", "preadv", "pwrite",
          "write", "ftruncate", "lseek")  # fmt: skip


@contextlib.contextmanager
def interposed(act: Callable[[int], None], package: str = "siteagent") -> Iterator[list[int]]:
    """`act` is told the number of the call that comes next from a module of `package`, from 1 on.

    What it calls itself does not count, and threads take turns. The list's only item counts.
    """
    count, turn, inside = [0], threading.Lock(), threading.local()

    def watched(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **named: object) -> object:
            is_counted = sys._getframe(1).f_globals.get("__name__", "").startswith(package)
            if is_counted and not hasattr(inside, "turn"):
                with turn:
                    inside.turn = count[0] = count[0] + 1
                    try:
                        act(count[0])
                    finally:
                        del inside.turn
            return real(*args, **named)

        return call

    with contextlib.ExitStack() as stack:
        for name in _CALLS:
            stack.enter_context(mock.patch.object(os, name, watched(getattr(os, name))))
        yield count
