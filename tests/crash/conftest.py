"""What all crash tests share: a machine in memory, calls in the same order every time, and no real syncs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.places import remove_tree

_MEMORY = Path("/dev/shm")


@pytest.fixture(autouse=True)
def one_thread_and_no_real_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sealing thread; and what is restored here need not outlive this machine."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr("siteagent.jobs.restore.sync_target", lambda handle: None)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine in memory where there is such a place: durability is kept book of, not asked of this disk."""
    base = _MEMORY if os.access(_MEMORY, os.W_OK) else tmp_path
    folder = Path(tempfile.mkdtemp(prefix="farkeep-test-", dir=base))
    yield Machine(folder)
    remove_tree(folder)
