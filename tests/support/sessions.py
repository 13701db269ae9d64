"""The processes of one session (a command and all it started): what the kernel counts of them, and their end."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from pathlib import Path


def members(leader: int) -> list[int]:
    """All processes of a session, the leader included, wherever they hang in the tree of processes."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                # What stands before the last bracket is the program's name, which may hold anything.
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] != "Z":
                    found.append(int(name))
    return sorted(found)


def await_end(processes: list[int], wait_s: float = 30.0) -> list[int]:
    """Wait until processes (of anybody) have ended; returns those that did not within that time."""
    left = []
    for process in processes:
        try:
            handle = os.pidfd_open(process)
        except ProcessLookupError:
            continue
        with contextlib.closing(os.fdopen(handle)):
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            if not ended.poll(int(wait_s * 1000)):
                left.append(process)
    return left


def named_shared_memory(processes: list[int], besides: Path) -> list[str]:
    """What these processes map of /dev/shm (but for files below `besides`): it has a name that a kill would leave."""
    found = []
    for process in processes:
        with contextlib.suppress(OSError):
            lines = Path("/proc", str(process), "maps").read_text().splitlines()
            found += [line for line in lines if "/dev/shm/" in line and str(besides) not in line]
    return found


def bytes_written(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for a process and return the bytes it handed to the kernel in writes, by the kernel's own count.

    None where only root is told: a command that makes no core files keeps its figures from its own user, too.
    """
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        counts = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
    except PermissionError:
        assert os.geteuid() != 0
        return None
    return int(counts["wchar"])


def allocated(folder: Path) -> dict[int, int]:
    """Bytes allocated on the disk by inode, for all files below a folder."""
    found = {}
    for above, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(above, name))
                found[status.st_ino] = status.st_blocks * 512
    return found


def growth(before: dict[int, int], after: dict[int, int]) -> int:
    """Bytes allocated since; what was removed meanwhile does not count against it."""
    return sum(max(0, size - before.get(inode, 0)) for inode, size in after.items())
