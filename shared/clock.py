"""Time, handed in: wall time for people and files, monotonic time for durations."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the code may ask of time."""

    def now_ns(self) -> int:
        """Wall time in nanoseconds since 1970-01-01 UTC; may jump."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since some fixed moment; never goes back."""

    def sleep(self, wait_s: float) -> None:
        """Wait for `wait_s` seconds."""


class SystemClock:
    """The clock of the machine."""

    def now_ns(self) -> int:
        """Wall time in nanoseconds since 1970-01-01 UTC."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds of the system's monotonic clock."""
        return time.monotonic_ns()

    def sleep(self, wait_s: float) -> None:
        """Block this thread for `wait_s` seconds."""
        time.sleep(wait_s)
