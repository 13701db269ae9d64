"""The real disk: what it promises, and how its failures look."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shared.errors import DamagedError, ExhaustedError
from siteagent.disk.local import LocalDisk, write_error


@pytest.fixture
def disk(tmp_path: Path) -> LocalDisk:
    return LocalDisk(str(tmp_path))


def test_what_is_appended_is_read_back(disk: LocalDisk, tmp_path: Path) -> None:
    writer = disk.create("file")
    assert writer.append([b"abc", b"", memoryview(b"defg")]) == 0
    assert writer.append([bytearray(b"h")]) == 7
    assert writer.append([]) == 8
    assert writer.read_at(2, 4) == b"cdef"
    assert writer.read_at(6, 100) == b"gh"
    writer.sync()
    writer.close()
    writer.close()
    reader = disk.open("file")
    assert (reader.size_bytes, reader.read_at(0, 8), reader.read_at(8, 1)) == (8, b"abcdefgh", b"")
    reader.close()
    reader.close()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_more_buffers_than_one_call_takes(disk: LocalDisk) -> None:
    writer = disk.create("file")
    writer.append([b"%04d" % n for n in range(2500)])
    assert writer.read_at(0, 10_000) == b"".join(b"%04d" % n for n in range(2500))
    writer.close()


def test_a_short_write_is_continued(disk: LocalDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda handle, buffers, offset: real(handle, [bytes(buffers[0][:3])], offset))
    writer = disk.create("file")
    writer.append([b"0123456789", b"abcde"])
    writer.append([b"!"])
    assert writer.read_at(0, 100) == b"0123456789abcde!"
    writer.close()


def test_a_write_without_progress_is_an_error(disk: LocalDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = disk.create("file")
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    with pytest.raises(DamagedError):
        writer.append([b"abc"])


def test_a_short_read_is_continued(disk: LocalDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = disk.create("file")
    writer.append([b"0123456789"])
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, length, offset: real(handle, min(length, 3), offset))
    assert writer.read_at(1, 8) == b"12345678"
    assert writer.read_at(5, 100) == b"56789"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_space_is_exhausted(disk: LocalDisk, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    writer = disk.create("file")
    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(ExhaustedError, match="no space left") as raised:
        writer.append([b"abc"])
    assert "free space" in raised.value.next_step


def test_a_failed_sync_or_read_is_damage(disk: LocalDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    writer = disk.create("file")
    writer.append([b"abc"])
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(DamagedError):
        writer.sync()
    with pytest.raises(DamagedError):
        disk.sync_folder("")
    monkeypatch.setattr(os, "pread", broken)
    with pytest.raises(DamagedError, match="cannot read"):
        writer.read_at(0, 3)


def test_a_file_is_never_opened_over_another_nor_through_a_link(disk: LocalDisk, tmp_path: Path) -> None:
    disk.create("file").close()
    with pytest.raises(FileExistsError):
        disk.create("file")
    (tmp_path / "outside").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(FileExistsError):
        disk.create("link")
    with pytest.raises(OSError, match="symbolic"):
        disk.open("link")
    with pytest.raises(FileNotFoundError):
        disk.open("nothing")


def test_names(disk: LocalDisk, tmp_path: Path) -> None:
    disk.make_folder("a/b")
    disk.make_folder("a/b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    for name in ("a/two", "a/one"):
        writer = disk.create(name)
        writer.append([name.encode()])
        writer.close()
    disk.sync_folder("a")
    disk.sync_folder("")
    assert disk.list("a") == ["b", "one", "two"]
    assert disk.list("nothing") == []
    disk.rename("a/one", "a/two")
    assert disk.list("a") == ["b", "two"]
    assert disk.size("a/two") == 5
    assert disk.size("a/one") is None
    disk.remove("a/two")
    with pytest.raises(FileNotFoundError):
        disk.remove("a/two")
    with pytest.raises(FileNotFoundError):
        disk.rename("a/two", "a/three")


def test_a_punched_range_reads_as_zeros_and_the_length_stays(disk: LocalDisk, tmp_path: Path) -> None:
    writer = disk.create("file")
    writer.append([b"x" * 20_000])
    writer.sync()
    writer.close()
    before = (tmp_path / "file").stat()
    disk.punch("file", 4096, 8192)
    after = (tmp_path / "file").stat()
    data = (tmp_path / "file").read_bytes()
    assert after.st_size == before.st_size
    assert data[:4096] == b"x" * 4096
    assert data[12_288:] == b"x" * (20_000 - 12_288)
    if data[4096:12_288] != b"x" * 8192:
        assert data[4096:12_288] == bytes(8192)
        assert after.st_blocks < before.st_blocks


def test_free_space_is_told(disk: LocalDisk) -> None:
    assert disk.free_bytes() > 0


def test_other_failures_of_a_write_say_what_to_check() -> None:
    error = write_error(OSError(errno.EROFS, "Read-only file system"), "packs/x")
    assert isinstance(error, DamagedError)
    assert "Read-only" in error.message
    assert (error.subject, bool(error.next_step)) == ("packs/x", True)
