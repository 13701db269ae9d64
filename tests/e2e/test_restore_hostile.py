"""A restore into a place that is not what it seems: links planted in the target, half-written files, mounts, the home.

Invariant 21: a restore never leaves its root. The tree outside is described before and after.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import RefusedError
from siteagent.restore.filewriter import temporary_name
from siteagent.sources.base import Batch, Metadata
from siteagent.sources.posix import PosixView
from tests.support.build import build
from tests.support.descriptions import Content, Description, File, Folder
from tests.support.ordinary import DONE, excluded_by_the_system, run_as_nobody
from tests.support.scratch import scratch_folder
from tests.support.trips import Site
from tests.support.untouched import untouched
from tests.support.walker import compare, describe

PLANTS: list[Callable[[Path, Path], object]] = [
    lambda target, outside: (shutil.rmtree(target / "a"), (target / "a").symlink_to(outside)),
    lambda target, outside: (shutil.rmtree(target / "a" / "b"), (target / "a" / "b").symlink_to(outside)),
    lambda target, outside: ((target / "a" / "file").unlink(), (target / "a" / "file").symlink_to(outside / "kept")),
    lambda target, outside: ((target / "middle").unlink(), (target / "middle").symlink_to(outside / "kept")),
    lambda target, outside: ((target / "large").unlink(), (target / "large").symlink_to(outside / "new")),
    lambda target, outside: ((target / "fifo").unlink(), (target / "fifo").symlink_to(outside / "kept")),
    lambda target, outside: ((target / "one").unlink(), (target / "one").symlink_to(outside / "kept")),
    lambda target, outside: ((target / "link").unlink(), os.link(outside / "kept", target / "link")),
    lambda target, outside: ((target / "middle").unlink(), os.link(outside / "kept", target / "middle")),
    lambda target, outside: (os.unlink(target / "one"), os.link(outside / "kept", target / "one")),
    lambda target, outside: (target / "a" / "extra").symlink_to(outside),
    lambda target, outside: ((target / "a" / "file").unlink(), (target / "a" / "file").mkdir()),
    lambda target, outside: ((target / "link").unlink(), (target / "link").mkdir()),
    lambda target, outside: ((target / "link").unlink(), (target / "link").symlink_to(outside / "kept")),
    lambda target, outside: (shutil.rmtree(target / "a"), os.mkfifo(target / "a")),
    lambda target, outside: ((target / "two").unlink(), (target / "two").write_bytes((target / "one").read_bytes())),
    lambda target, outside: ((target / "middle").unlink(), os.link(target / "one", target / "middle")),
]


@pytest.mark.parametrize("plant", PLANTS)
def test_what_was_planted_in_the_target(
    plant: Callable[[Path, Path], object], site: Site, source: Path, folder: Path, outside: Path
) -> None:
    result, target = site.back_up(source), folder / "target"
    site.restore(result, source, target)
    with untouched(outside):
        plant(target, outside)
        assert site.restore(result, source, target, deletes=True).errors == []
        assert compare(describe(source), describe(target)) == []


def test_files_with_names_outside_are_not_changed_through_the_target(
    site: Site, source: Path, folder: Path, outside: Path
) -> None:
    """Same content, other metadata: mending it in place would change the file outside."""
    result, target = site.back_up(source), folder / "target"
    site.restore(result, source, target)
    for name in ("middle", "one", "large", "fifo"):
        path = outside / name
        os.mkfifo(path) if name == "fifo" else shutil.copyfile(source / name, path)
        path.chmod(0o400)
        (target / name).unlink()
        os.link(path, target / name)
    with untouched(outside):
        assert site.restore(result, source, target).errors == []
        assert compare(describe(source), describe(target)) == []


def test_half_written_files_with_the_right_size_and_time(site: Site, source: Path, folder: Path) -> None:
    result, target = site.back_up(source), folder / "target"
    site.restore(result, source, target)
    for name in ("a/b/deep", "a/file", "middle", "large", "one"):
        about = (target / name).stat()
        with (target / name).open("r+b") as file:
            file.seek(about.st_size // 2)
            file.write(bytes(about.st_size - about.st_size // 2))
        os.utime(target / name, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert site.restore(result, source, target).errors == []
    assert compare(describe(source), describe(target)) == []


@pytest.mark.parametrize("plant", [
    lambda path, outside: path.symlink_to(outside), lambda path, outside: os.link(outside, path),
    lambda path, _: path.write_bytes(b"left by an earlier try" * 400_000),
], ids=["a link", "another name", "a longer file"])  # fmt: skip
def test_what_has_the_name_of_a_half_written_file_is_not_written_into(
    plant: Callable[[Path, Path], object], site: Site, source: Path, folder: Path, outside: Path
) -> None:
    """Neither into where it leads, nor is anything of it left where the file has holes."""
    with (source / "holes").open("wb") as file:
        file.truncate(3 << 20)
        file.write(b"begin")
        file.seek(2 << 20)
        file.write(b"middle")
    result, target = site.back_up(source), folder / "target"
    site.restore(result, source, target)
    with untouched(outside):
        for name in ("holes", "middle", "large", "one"):
            (target / name).write_bytes(b"changed")
            plant(target / os.fsdecode(temporary_name(name.encode())), outside / "kept")
        assert site.restore(result, source, target).errors == []
        assert compare(describe(source), describe(target)) == []


def test_files_that_only_share_the_number_of_a_group_stay_apart(site: Site, folder: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices get their numbers anew when a machine starts: a group on one may have the number of one on another."""
    source, described = folder / "source", PosixView.describe
    for name in ("one", "two"):
        (source / name).mkdir(parents=True)
        (source / name / "first").write_bytes(name.encode())
        os.link(source / name / "first", source / name / "second")

    def describe_alike(view: PosixView, batch: Batch, place: int) -> Metadata:
        about = described(view, batch, place)
        return about._replace(link_group=7) if about.link_group else about

    monkeypatch.setattr(PosixView, "describe", describe_alike)
    result, target = site.back_up(source), folder / "target"
    assert site.restore(result, source, target).errors == []
    assert compare(describe(source), describe(target)) == []


@pytest.mark.needs_root
def test_a_device_with_another_number_gives_way(site: Site, source: Path, folder: Path) -> None:
    os.mknod(source / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    result, target = site.back_up(source), folder / "target"
    target.mkdir()
    os.mknod(target / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    assert site.restore(result, source, target).errors == []
    assert (target / "device").stat().st_rdev == os.makedev(1, 3)
    assert compare(describe(source), describe(target)) == []


def test_what_fills_a_hole_is_no_hole(site: Site, source: Path, folder: Path) -> None:
    """The file is as long and as old as it should be, and all its data is right."""
    with (source / "holes").open("wb") as file:
        file.write(b"begin")
        file.truncate(3 << 20)
    result, target = site.back_up(source), folder / "target"
    site.restore(result, source, target)
    about = (target / "holes").stat()
    with (target / "holes").open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"not of this file")
    os.utime(target / "holes", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert site.restore(result, source, target).errors == []
    assert compare(describe(source), describe(target)) == []


def test_a_folder_in_the_way_of_a_file_is_named_and_delete_removes_it(site: Site, source: Path, folder: Path) -> None:
    result, target = site.back_up(source), folder / "target"
    for name in ("middle", "large", "one", "fifo"):
        (target / name / "full").mkdir(parents=True)
    restored = site.restore(result, source, target)
    assert {error.path for error in restored.errors} >= {
        os.fsencode(source / name) for name in ("middle", "large", "fifo")
    }
    assert list(target.rglob(".farkeep-*")) == []
    assert site.restore(result, source, target, deletes=True).errors == []
    assert compare(describe(source), describe(target)) == []


def test_delete_needs_a_mark(site: Site, source: Path, folder: Path) -> None:
    result, target = site.back_up(source), folder / "target"
    (target / "own").mkdir(parents=True)
    (target / "own" / "file").write_bytes(b"x")
    (target / "note").write_bytes(b"x")
    with untouched(target), pytest.raises(RefusedError, match="would remove 2 entries") as caught:
        site.restore(result, source, target, deletes=True)
    assert "--delete-unmarked" in caught.value.next_step
    with untouched(target):
        assert site.restore(result, source, target, deletes=True, deletes_unmarked=True, is_dry_run=True).deleted == 2
    assert site.restore(result, source, target, deletes=True, deletes_unmarked=True).deleted == 3
    assert compare(describe(source), describe(target)) == []
    (target / "later").write_bytes(b"x")
    assert site.restore(result, source, target, deletes=True).deleted == 1
    assert compare(describe(source), describe(target)) == []


def test_delete_may_act_in_an_empty_folder_and_in_none(site: Site, source: Path, folder: Path) -> None:
    result = site.back_up(source)
    (folder / "empty").mkdir()
    for name in ("empty", "none/of/these"):
        assert site.restore(result, source, folder / name, deletes=True).deleted == 0
        assert compare(describe(source), describe(folder / name)) == []


def test_a_marked_folder_that_was_replaced_is_not_marked(site: Site, source: Path, folder: Path) -> None:
    result, target = site.back_up(source), folder / "target"
    site.restore(result, source, target)
    target.rename(folder / "was target")
    target.mkdir()
    (target / "own").write_bytes(b"x")
    with untouched(target), pytest.raises(RefusedError):
        site.restore(result, source, target, deletes=True)


def test_delete_with_a_single_file_removes_nothing(site: Site, source: Path, folder: Path) -> None:
    """A file has nothing below it; the folder it lands in is somebody else's, and is not marked either."""
    result, target = site.back_up(source), folder / "target"
    target.mkdir()
    (target / "own").write_bytes(b"x")
    for _ in range(2):
        restored = site.restore(result, source / "middle", target, deletes=True)
        assert (restored.deleted, restored.errors) == (0, [])
        assert sorted(os.listdir(target)) == ["middle", "own"]
    with pytest.raises(RefusedError):
        site.restore(result, source / "a", target, deletes=True)
    assert (target / "own").exists()


def test_delete_leaves_folders_alone_of_which_the_snapshot_holds_only_a_part(
    site: Site, source: Path, folder: Path
) -> None:
    """The folders above a root are in the snapshot only because of the root: what else they held nobody knows."""
    result, target = site.back_up(source / "a" / "b"), folder / "target"
    site.restore(result, b"/", target)
    root = target / str(source).lstrip("/")
    for place in (target, root, root / "a"):
        (place / "own").write_bytes(b"x")
    (root / "a" / "b" / "own").write_bytes(b"x")
    assert site.restore(result, b"/", target, deletes=True).deleted == 1
    assert [(place / "own").exists() for place in (target, root, root / "a")] == [True, True, True]
    assert compare(describe(source / "a" / "b"), describe(root / "a" / "b")) == []


def test_delete_never_acts_on_the_home(site: Site, source: Path, folder: Path) -> None:
    """Restoring in place over a source that holds the home: the home is an empty folder in the snapshot."""
    result = site.back_up(folder)
    (source / "later").write_bytes(b"x")
    with untouched(site.path / "packs"):
        restored = site.restore(result, folder, folder, deletes=True, deletes_unmarked=True)
    assert restored.deleted == 1
    assert [error for error in restored.errors if b"/site" not in error.path] == []
    assert site.restore(result, source, folder.parent / (folder.name + " copy")).errors == []
    shutil.rmtree(folder.parent / (folder.name + " copy"))


def test_delete_spares_a_home_that_came_later_and_the_files_beside_it(site: Site, source: Path, folder: Path) -> None:
    result = site.back_up(source)
    before = {name: (site.path.parent / name).read_bytes() for name in ("home.key", "home.head")}
    restored = site.restore(result, source, folder, deletes=True, deletes_unmarked=True)
    assert {error.reason for error in restored.errors} == {"the home lies here"}
    assert not source.exists()
    assert (site.path.parent / "home.key").read_bytes() == before["home.key"]
    beside = site.restore(result, source, site.path.parent, deletes=True, deletes_unmarked=True)
    assert len(beside.errors) == 3
    assert {"home", "home.head", "home.key"} <= set(os.listdir(site.path.parent))
    site.reopen()


def test_the_home_is_no_target(site: Site, source: Path, folder: Path) -> None:
    result = site.back_up(source)
    (folder / "way").symlink_to(site.path)
    for target in (site.path, site.path / "below", site.path / "packs", folder / "way", folder / "way" / "new"):
        with untouched(site.path / "packs"), pytest.raises(RefusedError, match="inside the home"):
            site.restore(result, source, target)
    assert not (site.path / "below").exists()


def test_a_restore_does_not_write_into_a_home_below_its_target(site: Site, folder: Path) -> None:
    build(Description(((b"home", Folder()), (b"home/format", File(Content(10))), (b"home/packs", Folder()),
                       (b"home/packs/x", File(Content(10))))), folder / "other")  # fmt: skip
    result = site.back_up(folder / "other")
    with untouched(site.path / "packs"), pytest.raises(RefusedError, match="home"):
        site.restore(result, folder / "other", site.path.parent)
    assert (site.path / "format").read_bytes().startswith(b"{")


@pytest.mark.needs_root
def test_a_partial_snapshot_deletes_nothing_it_could_not_see() -> None:
    with scratch_folder() as scratch:
        assert run_as_nobody(scratch, excluded_by_the_system) == DONE


def test_targets_that_cannot_be(site: Site, source: Path, folder: Path) -> None:
    result = site.back_up(source)
    (folder / "file").write_bytes(b"x")
    (folder / "dangling").symlink_to("nowhere")
    for target in ("file", "file/below", "dangling"):
        with pytest.raises(RefusedError) as caught:
            site.restore(result, source, folder / target)
        assert caught.value.next_step


@contextlib.contextmanager
def mounted(path: Path) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "farkeep-test", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.needs_root
def test_delete_never_acts_on_mounts(site: Site, source: Path, folder: Path) -> None:
    result, target = site.back_up(source), folder / "target"
    with mounted(target):
        (target / "own").write_bytes(b"x")
        with untouched(target), pytest.raises(RefusedError, match="mount"):
            site.restore(result, source, target, deletes=True, deletes_unmarked=True)
    target.rmdir()
    site.restore(result, source, target)
    with mounted(target / "a" / "mount"):
        (target / "a" / "mount" / "own").write_bytes(b"x")
        with untouched(target / "a" / "mount"):
            restored = site.restore(result, source, target, deletes=True)
        assert [error.reason for error in restored.errors] == ["another file system is mounted here"]


@pytest.mark.needs_root
def test_delete_leaves_a_mount_alone_that_the_snapshot_did_not_enter(site: Site, source: Path, folder: Path) -> None:
    """With --one-file-system a mounted folder is in the snapshot, empty: that says nothing about what is mounted."""
    with mounted(source / "mount"):
        view, roots = site.view(source)
        view._one_file_system = True
        (source / "mount" / "own").write_bytes(b"x")
        result = site.back_up_view(view, roots)
        with untouched(source):
            restored = site.restore(result, source, source, deletes=True, deletes_unmarked=True)
        assert restored.deleted == 0
        assert (source / "mount" / "own").exists()
