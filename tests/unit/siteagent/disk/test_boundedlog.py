"""A file of lines that stays bounded."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest

from siteagent.disk.boundedlog import BoundedLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines"


def texts(path: Path) -> list[list[str]]:
    """The lines of the file and of the older ones, newest file first."""
    found = [path, *(path.with_name(f"lines.{number}") for number in (1, 2, 3))]
    return [one.read_text().splitlines() for one in found if one.exists()]


def test_lines_are_added_and_closed_to_others(path: Path) -> None:
    for line in ("one", "two"):
        BoundedLog(str(path)).append(line)
    assert texts(path) == [["one", "two"]]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_file_is_put_aside_and_two_are_kept(path: Path) -> None:
    for number in range(10):
        BoundedLog(str(path), limit_bytes=12).append(f"line{number}")
    assert texts(path) == [["line8", "line9"], ["line6", "line7"], ["line4", "line5"]]


def test_no_file_passes_the_limit(path: Path) -> None:
    log = BoundedLog(str(path), limit_bytes=100)
    for number in range(200):
        log.append("x" * (number % 40))
    assert all(one.stat().st_size <= 100 for one in path.parent.iterdir())
    assert len(list(path.parent.iterdir())) == 3


def test_while_another_puts_it_aside_lines_go_where_they_can(path: Path) -> None:
    log = BoundedLog(str(path), limit_bytes=8)
    log.append("first")
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    log.append("second")
    os.close(handle)
    assert texts(path) == [["first", "second"]]


def test_a_link_is_not_followed(path: Path) -> None:
    (path.parent / "else").write_text("kept")
    path.symlink_to("else")
    with pytest.raises(OSError):
        BoundedLog(str(path)).append("line")
    assert (path.parent / "else").read_text() == "kept"
