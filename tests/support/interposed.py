"""Somebody who acts between two calls of the system, at the n-th of those that name something in the file tree."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from unittest import mock

_CALLS = ("open", "stat", "scandir", "listdir", "readlink", "listxattr", "getxattr", "setxattr", "removexattr", "mkdir",
          "unlink", "rmdir", "rename", "link", "symlink", "mknod", "chmod", "chown", "utime", "preadv", "pwrite",
          "write", "ftruncate", "lseek")  # fmt: skip


@contextlib.contextmanager
def interposed(act: Callable[[int], None], package: str = "siteagent") -> Iterator[list[int]]:
    """`act` is told the number of the call that comes next from a module of `package`, from 1 on.

    What it calls itself does not count. The list's only item counts.
    """
    count, is_inside = [0], [False]

    def watched(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **named: object) -> object:
            if not is_inside[0] and sys._getframe(1).f_globals.get("__name__", "").startswith(package):
                count[0] += 1
                is_inside[0] = True
                try:
                    act(count[0])
                finally:
                    is_inside[0] = False
            return real(*args, **named)

        return call

    with contextlib.ExitStack() as stack:
        for name in _CALLS:
            stack.enter_context(mock.patch.object(os, name, watched(getattr(os, name))))
        yield count
