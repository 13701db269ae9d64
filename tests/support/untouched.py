"""What lies outside a restore's root must be the same afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.walker import compare, describe


@contextlib.contextmanager
def untouched(path: Path) -> Iterator[None]:
    """Nothing below `path` changes meanwhile."""
    before = describe(path)
    yield
    assert compare(before, describe(path)) == []
