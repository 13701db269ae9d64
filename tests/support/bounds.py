"""What one message may cost: memory and processor time, enforced while it is decoded.

Memory is the growth of the address space (RLIMIT_AS: every allocation counts, touched or not), time is that of this
process on a processor (ITIMER_VIRTUAL), so that a slow or busy machine changes nothing.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

MEMORY_BYTES = 256 << 20
TIME_S = 1.0
_AGAIN_S = 0.05
"""What is raised where Python ignores exceptions (a collector's callback) is raised once more, soon."""


class TooMuch(BaseException):
    """A message cost more than it may; no `except Exception` of the product can hide it."""


@contextmanager
def bounded(time_s: float = TIME_S, memory_bytes: int = MEMORY_BYTES) -> Iterator[None]:
    """Raise TooMuch in what is done inside when it takes more; to be used in the main thread, and not nested."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    # What thousands of tests left in memory is not looked through at this message's cost.
    gc.freeze()
    previous = signal.signal(signal.SIGVTALRM, _too_long)
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes() + memory_bytes, limits[1]))
    signal.setitimer(signal.ITIMER_VIRTUAL, time_s, _AGAIN_S)
    try:
        yield
    except MemoryError as error:
        raise TooMuch(f"more than {memory_bytes >> 20} MiB of memory") from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGVTALRM, previous)
        gc.unfreeze()


def address_space_bytes() -> int:
    """How much address space this process has."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def within_time(time_s: float) -> Iterator[None]:
    """Raise TooMuch in what is done inside when it takes more time on a processor: it hangs."""
    previous = signal.signal(signal.SIGVTALRM, _too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, time_s, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TooMuch("more than its time on a processor")
