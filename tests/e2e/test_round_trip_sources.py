"""Sources that are not one quiet folder: several roots, links as roots, the home inside, files that move while read."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from siteagent.sources.base import Batch, Reader
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from tests.support.build import build
from tests.support.descriptions import Content, Description, File, Folder, HardLink, Metadata, Symlink
from tests.support.oddities import ACCESS_ACL
from tests.support.ordinary import DONE, run_as_nobody, unreadable_files
from tests.support.scratch import scratch_folder
from tests.support.trips import Site
from tests.support.walker import Ignore, compare, describe

SIMPLE = Description((
    (b"a", Folder(Metadata(0o750, 7))),
    (b"a/file", File(Content(1000, 1))),
    (b"b", Folder()),
    (b"b/large", File(Content(700_000, 2))),
    (b"link", Symlink(b"a/file")),
))  # fmt: skip


@pytest.fixture
def source(folder: Path) -> Path:
    build(SIMPLE, folder / "source")
    return folder / "source"


def below(target: Path, path: Path) -> Path:
    """Where an absolute path lies after a restore of a whole snapshot."""
    return target / str(path).lstrip("/")


def test_a_whole_snapshot_keeps_absolute_paths(site: Site, source: Path, folder: Path) -> None:
    other = folder / "other"
    build(Description(((b"x", File(Content(10))),), Metadata(0o711)), other)
    result = site.back_up(source, other)
    restored = site.restore(result, b"/", folder / "target")
    assert restored.errors == []
    assert compare(describe(source), describe(below(folder / "target", source))) == []
    assert compare(describe(other), describe(below(folder / "target", other))) == []
    assert os.listdir(folder / "target") == [folder.parts[1]]
    assert sorted(os.listdir(below(folder / "target", folder))) == ["other", "source"]


def test_nested_roots_are_one_tree(site: Site, source: Path, folder: Path) -> None:
    result = site.back_up(source / "b", source, source / "a" / "file")
    assert result.summary.paths == (os.fsencode(source),) or len(result.summary.paths) == 3
    assert result.summary.files == 2
    site.restore(result, source, folder / "target")
    assert compare(describe(source), describe(folder / "target")) == []


def test_relative_roots_join_the_working_folder(site: Site, source: Path, folder: Path) -> None:
    result = site.back_up(b"b/../a", b"./b/", folder=os.fsencode(source))
    assert result.summary.paths == (os.fsencode(source / "a"), os.fsencode(source / "b"))
    site.restore(result, b"/", folder / "target")
    for name in ("a", "b"):
        assert compare(describe(source / name), describe(below(folder / "target", source) / name)) == []


def test_a_root_that_is_a_link_to_a_folder_is_followed(site: Site, source: Path, folder: Path) -> None:
    os.setxattr(source, b"user.root", b"value")
    os.setxattr(source, ACCESS_ACL[0], ACCESS_ACL[1])
    (folder / "way").symlink_to(source)
    before = describe(source)
    result = site.back_up(folder / "way")
    site.restore(result, folder / "way", folder / "target")
    assert compare(before, describe(folder / "target")) == []
    assert describe(folder / "target").entries[b"link"].target == b"a/file"


def test_a_root_that_is_a_link_to_a_file_is_followed(site: Site, source: Path, folder: Path) -> None:
    for name in ("a/file", "b/large"):
        way = folder / ("way to " + Path(name).name)
        way.symlink_to(source / name)
        os.setxattr(source / name, b"user.name", b"value")
        result = site.back_up(way, name=way.name)
        assert result.errors == []
        site.restore(result, way, folder / "target")
        assert compare(describe(source / name), describe(folder / "target" / way.name)) == []


def test_links_below_a_root_are_not_followed(site: Site, source: Path, folder: Path) -> None:
    (source / "out").symlink_to(folder)
    result = site.back_up(source)
    assert result.summary.links == 2
    site.restore(result, source, folder / "target")
    assert os.readlink(folder / "target" / "out") == str(folder)


def test_a_source_that_holds_the_home_leaves_it_out(site: Site, source: Path, folder: Path) -> None:
    view, roots = site.view(folder)
    result = site.back_up_view(view, roots)
    assert view.skipped.home == [os.fsencode(site.path)]
    with scratch_folder() as elsewhere:
        site.restore(result, folder, elsewhere / "target")
        assert os.listdir(elsewhere / "target" / "site" / "home") == []
        assert compare(describe(source), describe(elsewhere / "target" / "source")) == []


def test_sockets_are_skipped_and_counted(site: Site, source: Path, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "a" / "socket"))
        result = site.back_up(source)
    assert result.summary.sockets_skipped == 1
    site.restore(result, source, folder / "target")
    assert compare(describe(source), describe(folder / "target"), ignore={Ignore.SOCKETS}) == []
    assert not (folder / "target" / "a" / "socket").exists()


class ScriptedView(PosixView):
    """A view during which something happens: when a folder is listed, or when a file is opened or read for the n-th
    time."""

    def __init__(self, root: Path, at: Callable[[str, bytes, int], None]) -> None:
        super().__init__(merge_roots([os.fsencode(root)], b"/")[0], None, None)
        self._at, self._opened = at, dict[bytes, int]()

    def batches(self) -> Iterator[Batch]:
        for batch in super().batches():
            self._at("listed", batch.folder.rpartition(b"\0")[2], 1)
            yield batch

    def open(self, batch: Batch, place: int) -> Any:
        name = batch.names[place]
        self._at("opening", name, 1)
        return ScriptedReader(super().open(batch, place), name, self._at)


class ScriptedReader:
    """A reader that tells of every reading."""

    is_stream = False

    def __init__(self, reader: Reader, name: bytes, at: Callable[[str, bytes, int], None]) -> None:
        self._reader, self._name, self._at, self._count = reader, name, at, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._reader, name)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        if offset == 0:
            self._count += 1
        count = self._reader.read_into(buffer[: len(buffer) // 2 + 1], offset)
        self._at("read", self._name, self._count)
        return count


def scripted(site: Site, source: Path, event: tuple[str, bytes], action: Callable[[int], None]) -> object:
    """Back up while `action` runs at an event; it is told how often."""
    count = [0]

    def at(what: str, name: bytes, _: int) -> None:
        if (what, name) == event:
            count[0] += 1
            action(count[0])

    view = ScriptedView(source, at)
    return site.back_up_view(view, (os.fsencode(source),))


@pytest.mark.parametrize("size", [300_000, 5_000_000])
def test_a_file_that_grows_once_while_it_is_read_is_read_again(
    size: int, site: Site, source: Path, folder: Path
) -> None:
    path = source / "b" / "growing"
    path.write_bytes(os.urandom(size))

    def grow(count: int) -> None:
        if count == 1:
            with path.open("ab") as file:
                file.write(b"more")

    result = scripted(site, source, ("read", b"growing"), grow)
    assert result.summary.quality == "live"  # type: ignore[attr-defined]
    site.restore(result, source, folder / "target")  # type: ignore[arg-type]
    assert compare(describe(source), describe(folder / "target")) == []


@pytest.mark.parametrize("size", [300_000, 5_000_000])
def test_a_file_that_never_rests_is_marked(size: int, site: Site, source: Path, folder: Path) -> None:
    path = source / "b" / "restless"
    path.write_bytes(os.urandom(size))

    def grow(_: int) -> None:
        with path.open("ab") as file:
            file.write(os.urandom(1000))

    result = scripted(site, source, ("read", b"restless"), grow)
    assert result.summary.quality == "changed"  # type: ignore[attr-defined]
    assert site.restore(result, source, folder / "target").errors == []  # type: ignore[arg-type]
    taken, now = (folder / "target" / "b" / "restless").read_bytes(), path.read_bytes()
    assert len(taken) >= size
    assert now.startswith(taken)
    path.write_bytes(b"at rest")
    again = site.back_up(source)
    site.restore(again, source, folder / "again")
    assert compare(describe(source), describe(folder / "again")) == []


@pytest.mark.parametrize("size", [300_000, 5_000_000])
def test_a_file_that_is_cut_while_it_is_read(size: int, site: Site, source: Path, folder: Path) -> None:
    path = source / "b" / "shrinking"
    path.write_bytes(os.urandom(size))
    result = scripted(site, source, ("read", b"shrinking"), lambda count: os.truncate(path, size // (count + 1)))
    assert site.restore(result, source, folder / "target").errors == []  # type: ignore[arg-type]
    taken = (folder / "target" / "b" / "shrinking").read_bytes()
    assert result.summary.quality == "changed" or taken == path.read_bytes()  # type: ignore[attr-defined]


def test_a_file_that_vanishes_is_no_trouble(site: Site, source: Path, folder: Path) -> None:
    (source / "b" / "gone").write_bytes(bytes(200_000))
    (source / "b" / "gone, small").write_bytes(b"x")

    def vanish(_: int) -> None:
        (source / "b" / "gone").unlink()
        (source / "b" / "gone, small").unlink()

    result = scripted(site, source, ("listed", b"b"), vanish)
    assert (result.errors, result.summary.quality) == ([], "live")  # type: ignore[attr-defined]
    site.restore(result, source, folder / "target")  # type: ignore[arg-type]
    assert compare(describe(source), describe(folder / "target"), ignore={Ignore.FOLDER_TIMES}) == []


def test_a_file_that_becomes_a_link_leads_nowhere(site: Site, source: Path, folder: Path) -> None:
    outside = folder / "outside"
    outside.write_bytes(b"secret" * 50_000)
    (source / "b" / "trap").write_bytes(bytes(outside.stat().st_size))

    def swap(_: int) -> None:
        (source / "b" / "trap").unlink()
        (source / "b" / "trap").symlink_to(outside)

    result = scripted(site, source, ("listed", b"b"), swap)
    assert [error.path for error in result.errors] == [os.fsencode(source / "b" / "trap")]  # type: ignore[attr-defined]
    assert result.summary.quality == "partial"  # type: ignore[attr-defined]


def test_a_folder_that_becomes_a_link_leads_nowhere(site: Site, source: Path, folder: Path) -> None:
    outside = folder / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")

    def swap(count: int) -> None:
        if count == 1:
            (source / "b").rename(folder / "was b")
            (source / "b").symlink_to(outside)

    result = scripted(site, source, ("listed", b"a"), swap)
    site.restore(result, source, folder / "target")  # type: ignore[arg-type]
    assert not (folder / "target" / "b" / "secret").exists()


def test_a_linked_file_that_grows_between_its_names_has_one_content(site: Site, source: Path, folder: Path) -> None:
    """Its second name is met after it grew: both names must not mix the size of one state with the bytes of another."""
    (source / "a" / "one").write_bytes(bytes(range(200)) * 1000)
    os.link(source / "a" / "one", source / "b" / "two")

    class Between(PosixView):
        def batches(self) -> Iterator[Batch]:
            for batch in super().batches():
                yield batch
                if batch.folder.endswith(b"\0a"):
                    with (source / "a" / "one").open("ab") as file:
                        file.write(b"more" * 100)

    view = Between(merge_roots([os.fsencode(source)], b"/")[0], None, None)
    result = site.back_up_view(view, (os.fsencode(source),))
    states = [bytes(range(200)) * 1000, (source / "a" / "one").read_bytes()]
    for path, target in ((source, folder / "whole"), (source / "b", folder / "part" / "b")):
        assert site.restore(result, path, target).errors == []
    assert (folder / "whole" / "b" / "two").read_bytes() in states
    assert (folder / "part" / "b" / "two").read_bytes() in states


@pytest.mark.needs_root
def test_files_without_permission_are_named_and_nothing_else_suffers() -> None:
    with scratch_folder() as scratch:
        assert run_as_nobody(scratch, unreadable_files) == DONE


@pytest.mark.needs_root
def test_linked_files_of_two_file_systems_are_not_mixed_up(site: Site, source: Path, folder: Path) -> None:
    """Inode numbers are unique within one file system only: the same number on another one is another file."""
    mounts = [source / name for name in ("one", "two")]
    for mount in mounts:
        mount.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "farkeep-test", mount], check=True)
    try:
        for mount in mounts:
            (mount / "file").write_bytes(mount.name.encode() * 1000)
            (mount / "equal").write_bytes(b"equal content, another file")
            for name in ("file", "equal"):
                os.link(mount / name, mount / f"{name} again")
                assert len({(other / name).stat().st_ino for other in mounts if (other / name).exists()}) == 1
        site.back_up(source)
        with (mounts[1] / "file").open("ab") as file:
            file.write(b"changed")
        result = site.back_up(source)
        restored = site.restore(result, source, folder / "target")
        assert restored.errors == []
        assert compare(describe(source), describe(folder / "target")) == []
    finally:
        for mount in mounts:
            subprocess.run(["umount", mount], check=True)


def test_hard_links_come_and_go(site: Site, folder: Path) -> None:
    source = folder / "linked"
    build(Description((
        (b"a", Folder()), (b"a/one", File(Content(300_000, 4))), (b"a/two", HardLink(b"a/one")), (b"b", Folder()),
        (b"b/three", HardLink(b"a/one")), (b"b/lone", File(Content(300_000, 4))),
    )), source)  # fmt: skip
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: (source / "a" / "two").unlink(),
        lambda: os.link(source / "b" / "lone", source / "a" / "two"),
        lambda: (source / "a" / "one").write_bytes(b"shorter"),
        lambda: (source / "b" / "three").rename(source / "a" / "x"),
    ]
    for number, step in enumerate(steps):
        step()
        result = site.back_up(source)
        for target in (folder / "in place", folder / f"new {number}"):
            assert site.restore(result, source, target, deletes=True).errors == []
            assert compare(describe(source), describe(target)) == []
