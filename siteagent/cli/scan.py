"""How much a first backup will see: counted by a process of its own, and only when a terminal shows progress.

As a script (with no import of ours, so that it starts fast): paths on standard input, each ended by NUL; the sum of the
sizes of files below them on standard output. Links are not followed, what cannot be listed is passed over, patterns
are not known here: the sum is an estimate.
"""

from __future__ import annotations

import os
import subprocess
import sys


class Scan:
    """A running count; close it."""

    def __init__(self, paths: tuple[bytes, ...]) -> None:
        self._total: int | None = None
        command = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        if self._process.stdin is not None:
            self._process.stdin.write(b"\0".join(paths))
            self._process.stdin.close()

    def total_bytes(self) -> int:
        """The sum, or 0 while it is not known."""
        process = self._process
        if self._total is None and process.poll() == 0 and process.stdout is not None:
            self._total = int(process.stdout.read() or 0)
        return self._total or 0

    def close(self) -> None:
        """End the count if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def count_bytes(paths: list[bytes]) -> int:
    """The sum of the sizes of files at and below these paths."""
    total, waiting = 0, list(paths)
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(path) as listing:
                for item in listing:
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(os.fsencode(item.path))
                    elif item.is_file(follow_symlinks=False):
                        total += item.stat(follow_symlinks=False).st_size
        except NotADirectoryError:
            total += os.stat(path).st_size
        except OSError:
            continue
    return total


if __name__ == "__main__":
    os.nice(10)
    print(count_bytes([path for path in sys.stdin.buffer.read().split(b"\0") if path]))
