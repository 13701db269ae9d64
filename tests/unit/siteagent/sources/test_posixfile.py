"""Files are opened by the name that was looked at, and never through a link that took its place."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from siteagent.sources.posixfile import identity_of, open_file, read_small_files


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """A folder with a link to a file outside."""
    (tmp_path / "outside").write_bytes(b"what lies outside")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "name").symlink_to(tmp_path / "outside")
    handle = os.open(tmp_path / "folder", os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


@pytest.mark.parametrize("may_hide_access", [False, True])
def test_a_link_in_the_place_of_a_file_is_not_followed(folder: int, may_hide_access: bool) -> None:
    with pytest.raises(OSError) as caught:
        open_file(b"name", folder, may_hide_access)
    assert caught.value.errno == errno.ELOOP


def test_a_root_may_be_a_link(folder: int) -> None:
    reader = open_file(b"name", folder, False, follows=True)
    buffer = memoryview(bytearray(100))
    assert bytes(buffer[: reader.read_into(buffer, 0)]) == b"what lies outside"
    reader.close()


def test_a_small_file_that_became_a_link_is_not_read(folder: int) -> None:
    """Though it leads to a file that looks just like the one that was looked at."""
    about = os.stat("name", dir_fd=folder)
    (found,) = read_small_files([b"name"], [identity_of(about)], [0], folder, memoryview(bytearray(100)), False)
    assert found.size < 0
    assert found.error is not None
    assert found.error.errno == errno.ELOOP
