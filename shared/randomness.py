"""Random bits, handed in, so that a simulated federation runs from a seed."""

from __future__ import annotations

import os
from typing import Protocol


class Randomness(Protocol):
    """Where keys, runs and nonces come from."""

    def bits(self, size_bytes: int) -> bytes:
        """Return `size_bytes` bytes that nobody can foresee."""


class SystemRandomness:
    """The operating system's generator."""

    def bits(self, size_bytes: int) -> bytes:
        """Return `size_bytes` bytes of `os.urandom`."""
        return os.urandom(size_bytes)
