"""A kernel that writes dirty pages back when nobody asked for it, as one short of memory does.

Commands of tests end within a second, long before the kernel would write back by itself. What is not synced then never
reaches the disk, and no test would see it arrive in part or in an odd order. Here files are picked by chance and
written back without a flush, and now and then the whole file system is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import threading
from pathlib import Path

_WRITE_ONLY = 2
_PAUSE_S = 0.004
_LIBC = ctypes.CDLL(None, use_errno=True)


class EarlyWriteback:
    """Writes back what lies below a folder until it is closed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._chance, self._end = folder, random.Random(seed), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._chance.uniform(0, _PAUSE_S)):
            paths = [os.path.join(above, name) for above, _, files in os.walk(self._folder) for name in files]
            if paths:
                with contextlib.suppress(OSError):
                    self._write_back(self._chance.choice(paths))

    def _write_back(self, path: str) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._chance.randrange(16):
                _LIBC.sync_file_range(handle, ctypes.c_int64(0), ctypes.c_int64(0), _WRITE_ONLY)
            else:
                _LIBC.syncfs(handle)
        finally:
            os.close(handle)
