"""Randomness and time that repeat: the same label gives the same bits, the clock stands where it was put."""

from __future__ import annotations

import threading

from blake3 import blake3


class LabelledRandomness:
    """A stream of bits that follows from a label; for tests and golden files only."""

    def __init__(self, label: str) -> None:
        self._stream = blake3(label.encode())
        self._at = 0
        self._turn = threading.Lock()

    def bits(self, size_bytes: int) -> bytes:
        """Return the next `size_bytes` bytes of the stream; no two threads get the same ones."""
        with self._turn:
            taken = self._stream.digest(length=size_bytes, seek=self._at)
            self._at += size_bytes
        return taken


class StandingClock:
    """A clock that moves only when told to."""

    def __init__(self, now_ns: int = 1_767_225_600_000_000_000) -> None:
        self.time_ns = now_ns

    def now_ns(self) -> int:
        """The wall time it was set to."""
        return self.time_ns

    def monotonic_ns(self) -> int:
        """The same number, as monotonic time."""
        return self.time_ns

    def sleep(self, wait_s: float) -> None:
        """Move on by `wait_s` seconds without waiting."""
        self.time_ns += int(wait_s * 1_000_000_000)
