"""Fixtures of round trips and restores: a site, a small varied source, and a tree outside that must stay as it is.

These tests have their files where users have theirs: on a disk, not in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.build import build
from tests.support.descriptions import Content, Description, Fifo, File, Folder, HardLink, Metadata, Symlink
from tests.support.scratch import scratch_folder
from tests.support.trips import Site, open_site

TREE = Description((
    (b"a", Folder(Metadata(0o750, 7))),
    (b"a/b", Folder()),
    (b"a/b/deep", File(Content(3000, 1))),
    (b"a/file", File(Content(1000, 2))),
    (b"fifo", Fifo()),
    (b"large", File(Content(9 << 20, 3))),
    (b"link", Symlink(b"a/file")),
    (b"middle", File(Content(300_000, 4))),
    (b"one", File(Content(400, 5))),
    (b"two", HardLink(b"one")),
))  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch_folder() as made:
        yield made


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with scratch_folder() as made:
        yield made


@pytest.fixture(autouse=True)
def no_sync(no_sync_of_restores: None) -> None:
    """In no test of this folder."""


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    with open_site(folder) as opened:
        yield opened


@pytest.fixture
def source(folder: Path) -> Path:
    build(TREE, folder / "source")
    return folder / "source"


@pytest.fixture
def outside(folder: Path) -> Path:
    path = folder / "outside"
    build(Description(((b"deep", File(Content(50, 9))), (b"kept", File(Content(60, 8), Metadata(0o600))))), path)
    return path
