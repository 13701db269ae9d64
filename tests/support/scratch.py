"""Temporary folders of tests: removed whatever was built in them, and in memory where that does no harm."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.places import remove_tree

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 6 << 30


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


def usual_place() -> Path | None:
    """Where most tests have their files: in memory, where they wait for no disk; None: where the user's own lie.

    That is what TMPDIR says, or what serves where memory is short or keeps no extended attributes.
    """
    base = memory(_ROOM_BYTES)
    return base if base is not None and "TMPDIR" not in os.environ and _keeps_attributes(base) else None


def _keeps_attributes(base: Path) -> bool:
    with tempfile.NamedTemporaryFile(dir=base) as file, suppress(OSError):
        os.setxattr(file.name, "user.farkeep", b"kept")
        return True
    return False
