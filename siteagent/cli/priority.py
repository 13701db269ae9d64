"""Giving way to other programs: priority at the processor and at the disk, for this process and its children.

Disk priority is `ioprio_set(2)` of Linux, which has no wrapper in the C library: numbers of the call per machine from
the kernel's tables (arch/*/entry/syscalls, include/uapi/asm-generic/unistd.h), classes from linux/ioprio.h.
"""

from __future__ import annotations

import ctypes
import os
import sys

from shared.errors import RefusedError
from siteagent.cli.settings import DiskPriority

_CALLS = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "loongarch64": 30, "ppc64le": 273, "s390x": 282}
_BEST_EFFORT, _IDLE, _CLASS_SHIFT = 2, 3, 13
_WHO_PROCESS = 1


def take_priority(nice: int | None, disk: DiskPriority | None) -> None:
    """Set the priorities that are named; raises RefusedError where this user or system cannot."""
    if nice is not None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        except PermissionError:
            raise RefusedError("this user may not take a higher priority than it has", subject=f"--nice {nice}",
                               next_step="give a larger number, up to 19") from None
    if disk is not None:
        _set_disk_priority(disk, os.uname().machine)


def _set_disk_priority(disk: DiskPriority, machine: str) -> None:
    # A 32-bit program on a 64-bit system would need the other table.
    call = _CALLS.get(machine) if sys.platform == "linux" and sys.maxsize > 1 << 32 else None
    if call is None:
        raise RefusedError("priority at the disk cannot be set on this system", subject="--ionice",
                           next_step="leave --ionice out")
    value = _IDLE << _CLASS_SHIFT if disk.is_idle else _BEST_EFFORT << _CLASS_SHIFT | disk.level
    if ctypes.CDLL(None, use_errno=True).syscall(call, _WHO_PROCESS, 0, value):
        raise RefusedError(f"the system refuses this priority at the disk: {os.strerror(ctypes.get_errno())}",
                           subject="--ionice", next_step="leave --ionice out")
