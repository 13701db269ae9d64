"""Files of changes: appended to, authenticated, and read back in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import DamagedError
from siteagent.disk.local import LocalDisk
from siteagent.store.changes import ChangeFiles, Changes
from tests.support.homes import flip
from tests.support.stores import keyring

KEYS = keyring()


@pytest.fixture
def files(tmp_path: Path) -> ChangeFiles:
    return ChangeFiles(LocalDisk(str(tmp_path)), KEYS, KEYS.site_id)


def rows(count: int) -> Changes:
    names = [bytes((number,)) * 16 for number in range(count)]
    return Changes([(name, name + b"old") for name in names], names, names[: count // 2], names)


def test_what_grew_is_written_once_and_read_in_order(files: ChangeFiles, tmp_path: Path) -> None:
    assert files.read() == Changes()
    assert files.written() == (0, 0, 0, 0)
    for count in (3, 3, 12):
        files.write(rows(count), 1)
        assert files.read() == rows(count)
        assert files.written() == rows(count).counts()
    assert len(list((tmp_path / "changes").iterdir())) == 1


def test_many_small_files_become_few(files: ChangeFiles, tmp_path: Path) -> None:
    for count in range(1, 200):
        files.write(rows(count), 1)
        assert len(list((tmp_path / "changes").iterdir())) <= 8
    assert files.read() == rows(199)


def test_a_file_that_was_taken_in_and_is_still_there_adds_nothing(files: ChangeFiles, tmp_path: Path) -> None:
    kept: dict[str, bytes] = {}
    for count in (8, 9, 10, 14):
        files.write(rows(count), 1)
        kept |= {path.name: path.read_bytes() for path in (tmp_path / "changes").iterdir()}
    for name, data in kept.items():
        (tmp_path / "changes" / name).write_bytes(data)
    assert len(kept) == 4
    assert files.read() == rows(14)


def test_a_file_that_is_missing_is_noticed(files: ChangeFiles, tmp_path: Path) -> None:
    files.write(rows(100), 1)
    (first,) = (tmp_path / "changes").iterdir()
    files.write(rows(101), 1)
    first.unlink()
    with pytest.raises(DamagedError, match="missing"):
        files.read()


def test_nothing_is_written_of_nothing(files: ChangeFiles, tmp_path: Path) -> None:
    files.write(Changes(), 1)
    assert not (tmp_path / "changes").exists()


def test_any_changed_byte_is_noticed(files: ChangeFiles, tmp_path: Path) -> None:
    files.write(rows(1), 1)
    (path,) = (tmp_path / "changes").iterdir()
    for offset in (0, 9, 40, path.stat().st_size - 1):
        flip(path, offset)
        with pytest.raises(DamagedError):
            files.read()
        flip(path, offset)
    assert files.read() == rows(1)


def test_another_sites_changes_are_not_taken(files: ChangeFiles, tmp_path: Path) -> None:
    files.write(rows(1), 1)
    with pytest.raises(DamagedError):
        ChangeFiles(LocalDisk(str(tmp_path)), KEYS, bytes(16)).read()
