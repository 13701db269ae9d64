"""The demonstration's own comparison finds every kind of difference, and none where there is none."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.demo_compare import Comparison


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small tree with one of everything."""
    folder = tmp_path / "source"
    (folder / "below").mkdir(parents=True)
    (folder / "file").write_bytes(b"x" * 3_000_000)
    (folder / "below/other").write_bytes(b"content")
    (folder / "below/name").hardlink_to(folder / "below/other")
    (folder / "link").symlink_to("file")
    return folder


@pytest.fixture
def restored(source: Path, tmp_path: Path) -> Path:
    """A faithful copy of it."""
    folder = tmp_path / "restored"
    shutil.copytree(source, folder, symlinks=True)
    (folder / "below/name").unlink()
    (folder / "below/name").hardlink_to(folder / "below/other")
    shutil.copystat(source / "below", folder / "below")
    _keep_link_time(source, folder)
    return folder


def _keep_link_time(source: Path, restored: Path) -> None:
    time_ns = (source / "link").lstat().st_mtime_ns
    os.utime(restored / "link", ns=(time_ns, time_ns), follow_symlinks=False)
    shutil.copystat(source, restored)


def _differences(source: Path, restored: Path) -> list[str]:
    comparison = Comparison()
    comparison.compare(str(source), str(restored))
    return comparison.differences


def test_a_faithful_copy_has_no_difference(source: Path, restored: Path) -> None:
    comparison = Comparison()
    comparison.compare(str(source), str(restored))
    assert comparison.differences == []
    assert (comparison.files, comparison.folders, comparison.others) == (3, 2, 1)
    assert comparison.bytes == 3_000_000 + 2 * len(b"content")


def _change_last_byte(folder: Path) -> None:
    about = (folder / "file").stat()
    with (folder / "file").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"y")
    os.utime(folder / "file", ns=(about.st_atime_ns, about.st_mtime_ns))


def _shorten(folder: Path) -> None:
    about = (folder / "file").stat()
    os.truncate(folder / "file", 2_999_999)
    os.utime(folder / "file", ns=(about.st_atime_ns, about.st_mtime_ns))


def _lead_elsewhere(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("elsewhere")


def _cut_link(folder: Path) -> None:
    about = (folder / "below").stat()
    shutil.copy2(folder / "below/other", folder / "below/third")
    (folder / "below/third").replace(folder / "below/name")
    os.utime(folder / "below", ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_change_last_byte, "file' has another content"),
        (_shorten, "file' has another content"),
        (_lead_elsewhere, "link' leads elsewhere"),
        (_cut_link, "is no longer a hard link"),
        (lambda folder: (folder / "file").unlink(), "file' is missing"),
        (lambda folder: (folder / "more").touch(), "more' was not expected"),
        (lambda folder: (folder / "file").chmod(0o601), "file' has mode 0601"),
        (lambda folder: os.utime(folder / "below", ns=(1, 1)), "below' has time 1 ns"),
        (lambda folder: os.utime(folder / "below/name", ns=(1, 1)), "name' has time 1 ns"),
    ],
)
def test_a_difference_is_found(source: Path, restored: Path, change: Callable[[Path], None], line: str) -> None:
    change(restored)
    assert any(line in found for found in _differences(source, restored))


def test_another_type_is_found(source: Path, restored: Path) -> None:
    (restored / "link").unlink()
    (restored / "link").mkdir()
    assert any(found.endswith("link' is of another type") for found in _differences(source, restored))


def test_what_was_unreadable_may_be_missing(source: Path, restored: Path) -> None:
    about = restored.stat()
    (restored / "file").unlink()
    os.utime(restored, ns=(about.st_atime_ns, about.st_mtime_ns))
    comparison = Comparison({str(source / "file")})
    comparison.compare(str(source), str(restored))
    assert comparison.differences == []


@pytest.mark.needs_root
def test_another_owner_is_found(source: Path, restored: Path) -> None:
    os.chown(restored / "file", 12345, 12345)
    assert any(found.endswith("file' has another owner") for found in _differences(source, restored))
