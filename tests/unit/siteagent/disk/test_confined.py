"""Writing below one folder and nowhere else, whatever lies in the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import HostileError
from siteagent.disk.confined import Confined, are_safe, new_file, remove_entry, remove_tree, safe_component

UNSAFE = [b"", b".", b"..", b"/", b"a/b", b"../x", b"/etc", b"a\0b", b"\0", b"x" * 256]
SAFE = [b"a", b"...", b"..a", b" ", b"\n", b"\xff", b"x" * 255, b"-rf", b"C:", b"a\\b"]


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[tuple[Path, Confined]]:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_bytes(b"precious")
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    confined = Confined(handle)
    yield root, confined
    confined.close()
    os.close(handle)
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["precious"]


@pytest.mark.parametrize("name", UNSAFE)
def test_names_that_lead_out_are_refused(name: bytes) -> None:
    with pytest.raises(HostileError):
        safe_component(name)
    assert not are_safe([b"good", name])


def test_odd_names_that_stay_are_allowed() -> None:
    assert [safe_component(name) for name in SAFE] == SAFE
    assert are_safe(SAFE)
    assert are_safe([])


def test_folders_are_made_on_the_way(inside: tuple[Path, Confined]) -> None:
    root, confined = inside
    handle = confined.folder((b"a", b"b", b"c"))
    os.close(new_file(handle, b"file", 0o600))
    assert (root / "a" / "b" / "c" / "file").is_file()
    assert (root / "a").stat().st_mode & 0o777 == 0o700
    assert confined.folder((b"a", b"b", b"c")) == handle
    with pytest.raises(FileExistsError):
        new_file(handle, b"file", 0o600)


@pytest.mark.parametrize("kind", ["link to a folder", "dangling link", "file", "fifo"])
def test_what_stands_in_the_way_of_a_folder_is_replaced_not_entered(inside: tuple[Path, Confined], kind: str) -> None:
    root, confined = inside
    if kind == "link to a folder":
        (root / "a").symlink_to(root.parent / "outside")
    elif kind == "dangling link":
        (root / "a").symlink_to(root.parent / "outside" / "new")
    elif kind == "file":
        (root / "a").write_bytes(b"x")
    else:
        os.mkfifo(root / "a")
    os.close(new_file(confined.folder((b"a", b"b")), b"file", 0o600))
    assert not (root / "a").is_symlink()
    assert (root / "a" / "b" / "file").is_file()


def test_a_folder_swapped_for_a_link_afterwards_leads_nowhere(inside: tuple[Path, Confined]) -> None:
    root, confined = inside
    handle = confined.folder((b"a", b"b"))
    (root / "a" / "b").rename(root / "moved")
    (root / "a" / "b").symlink_to(root.parent / "outside")
    os.close(new_file(handle, b"file", 0o600))
    assert (root / "moved" / "file").is_file()


def test_many_folders_need_few_handles(inside: tuple[Path, Confined]) -> None:
    _, confined = inside
    before = len(os.listdir("/proc/self/fd"))
    for number in range(1500):
        confined.folder((b"d%d" % (number % 40), b"e%d" % number))
    assert len(os.listdir("/proc/self/fd")) - before < 600


def test_unsafe_names_are_refused_in_folders_too(inside: tuple[Path, Confined]) -> None:
    _, confined = inside
    for name in UNSAFE:
        with pytest.raises(HostileError):
            confined.folder((name,))
        with pytest.raises(HostileError):
            confined.existing((name,))


def test_existing_folders_are_found_and_nothing_is_made(inside: tuple[Path, Confined]) -> None:
    root, confined = inside
    (root / "a").mkdir()
    (root / "link").symlink_to(root.parent / "outside")
    handle = confined.existing((b"a",))
    assert handle is not None
    os.close(handle)
    for path in ((b"b",), (b"a", b"c"), (b"link",)):
        assert confined.existing(path) is None
    assert sorted(os.listdir(root)) == ["a", "link"]


def test_entries_are_removed_without_following(inside: tuple[Path, Confined]) -> None:
    root, confined = inside
    (root / "full" / "below").mkdir(parents=True)
    (root / "link").symlink_to(root.parent / "outside")
    handle = confined.folder(())
    remove_entry(handle, b"link")
    with pytest.raises(OSError, match="not empty"):
        remove_entry(handle, b"full")
    remove_entry(confined.folder((b"full",)), b"below")
    remove_entry(handle, b"full")
    assert os.listdir(root) == []


def test_a_tree_on_another_device_is_not_emptied(inside: tuple[Path, Confined]) -> None:
    root, confined = inside
    (root / "full" / "below").mkdir(parents=True)
    (root / "full" / "below" / "file").write_bytes(b"kept")
    handle = confined.folder(())
    device = os.fstat(handle).st_dev
    with pytest.raises(OSError, match="another file system") as caught:
        remove_tree(handle, b"full", device + 1)
    assert caught.value.errno == errno.EXDEV
    assert (root / "full" / "below" / "file").read_bytes() == b"kept"
    assert remove_tree(handle, b"full", device) == 3
    assert os.listdir(root) == []
