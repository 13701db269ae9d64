"""Temporary folders of tests: removed whatever was built in them, and in memory where that does no harm."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.places import remove_tree

_MEMORY = Path("/dev/shm")


@contextmanager
def scratch_folder(base: Path | None = None) -> Iterator[Path]:
    """A temporary folder that disappears afterwards whatever modes and path lengths were built in it."""
    folder = Path(tempfile.mkdtemp(prefix="farkeep-test-", dir=base))
    try:
        yield folder
    finally:
        remove_tree(folder)


def memory(least_bytes: int = 1 << 28) -> Path | None:
    """Where files lie in memory, when there is so much room (containers often have 64 MiB); else None."""
    if not os.access(_MEMORY, os.W_OK):
        return None
    figures = os.statvfs(_MEMORY)
    return _MEMORY if figures.f_bavail * figures.f_frsize >= least_bytes else None
