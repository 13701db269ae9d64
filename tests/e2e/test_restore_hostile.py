"""A restore into a place that is not what it seems: links planted in the target, half-written files, mounts, the home.

Invariant 21: a restore never leaves its root. The tree outside is described before and after.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import RefusedError
from shared.tree import folder_key
from siteagent.jobs.restore import RestoreRequest, RestoreResult, restore
from siteagent.ledger.history import SnapshotEntry
from tests.support import killed
from tests.support.build import build, scratch_folder
from tests.support.descriptions import Content, Description, Fifo, File, Folder, HardLink, Metadata, Symlink
from tests.support.forged import forge
from tests.support.homes import flip, segment_of
from tests.support.ordinary import excluded_by_the_system, run_as_nobody
from tests.support.trips import Site, open_site
from tests.support.walker import Ignore, compare, describe

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


@pytest.fixture(autouse=True)
def no_sync_of_the_whole_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is restored here need not outlive this machine."""
    monkeypatch.setattr("siteagent.jobs.restore.sync_target", lambda handle: None)


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch_folder() as scratch:
        yield scratch


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


@contextlib.contextmanager
def untouched(path: Path) -> Iterator[None]:
    """Nothing below `path` changes meanwhile."""
    before = describe(path)
    yield
    assert compare(before, describe(path)) == []


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


def test_a_partial_snapshot_deletes_nothing_it_could_not_see() -> None:
    with scratch_folder() as scratch:
        run_as_nobody(scratch, excluded_by_the_system)


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


BAD_NAMES = (
    b"",
    b".",
    b"..",
    b"/",
    b"a/b",
    b"../outside/new",
    b"/tmp/farkeep-forged",
    b"nul\0nul",
    b"x" * 256,
    b"..\0",
)
KINDS = ("file", "large", "linked", "folder", "link")


@pytest.mark.parametrize("kind", KINDS)
def test_forged_names_are_refused_and_counted(kind: str, site: Site, source: Path, folder: Path, outside: Path) -> None:
    model = site.snapshot(site.back_up(source))
    for number, name in enumerate(BAD_NAMES):
        rows = [(b"", b"good", "folder"), (b"good", b"fine", "file"), (b"good", name, kind), (b"good", b"tail", "file")]
        target = folder / f"target {number}"
        with untouched(outside):
            result = restore_forged(site, forge(site.home, model, rows), target)
        assert len(result.errors) == 1, name
        assert result.answer.hostile == 1, name
        assert sorted(os.listdir(target / "good")) == ["fine", "tail"], name
    assert not os.path.lexists("/tmp/farkeep-forged")
    targets = {f"target {number}" for number in range(len(BAD_NAMES))}
    assert set(os.listdir(folder)) == {"outside", "site", "source", *targets}


@pytest.mark.parametrize("components", [(b"..",), (b"..", b"outside"), (b"good", b".."), (b"a/b",), (b"good", b""), (b".",)])
def test_forged_folders_are_refused_and_counted(components: tuple[bytes, ...], site: Site, source: Path, folder: Path,
                                                outside: Path) -> None:
    model = site.snapshot(site.back_up(source))
    rows = [(b"", b"good", "folder"), *((folder_key(list(components)), b"file " + kind.encode(), kind) for kind in KINDS)]
    with untouched(outside):
        result = restore_forged(site, forge(site.home, model, rows), folder / "target")
    assert len(result.errors) == len(KINDS)
    assert set(os.listdir(folder)) == {"outside", "site", "source", "target"}
    assert [path.name for path in (folder / "target").rglob("file*")] == []


def restore_forged(site: Site, entry: SnapshotEntry, target: Path) -> RestoreResult:
    """Restore all of a snapshot that no fact names."""
    return restore(site.home, [RestoreRequest(entry, b"/", str(target), "user", "host")])


def test_a_damaged_segment_costs_only_its_files_and_leaves_no_litter(site: Site, source: Path, folder: Path) -> None:
    (source / "own segment").write_bytes(os.urandom(1_000_000))
    result = site.back_up(source)
    before = describe(source)
    entry, target = site.snapshot(result), folder / "target"
    for name in ("large", "own segment"):
        segment = segment_of(site.home, entry, os.fsencode(source / name))
        spot = site.home.reader.spot(segment)
        flip(site.path / "packs" / f"{spot.pack_id.hex()}.pack", spot.offset + spot.length - 1000)
    site.reopen()
    for _ in range(2):
        restored = site.restore(result, source, target)
        lost = {error.path.removeprefix(os.fsencode(source) + b"/") for error in restored.errors}
        assert {b"large", b"own segment"} <= lost
        assert restored.answer.damaged == len(restored.errors)
        assert list(target.rglob(".farkeep-*")) == []
        assert compare(before.without(lost), describe(target), ignore={Ignore.LINKS}) == []


def test_folders_swapped_for_links_while_a_restore_runs(site: Site, source: Path, folder: Path, outside: Path) -> None:
    """Somebody who may write to the target plays with it all the time; nothing outside changes."""
    build(Description(tuple((b"a%d/f" % n if kind else b"a%d" % n, File(Content(9)) if kind else Folder())
                            for n in range(60) for kind in range(2))), source / "many")  # fmt: skip
    result, target = site.back_up(source), folder / "target"
    site.restore(result, source, target)
    is_over = threading.Event()

    def play() -> None:
        names = [target / "many" / f"a{number}" for number in range(60)]
        while not is_over.is_set():
            for path in (*names, target / "a", target / "many"):
                with contextlib.suppress(OSError):
                    path.rename(folder / "aside")
                    path.symlink_to(outside)
                with contextlib.suppress(OSError):
                    shutil.rmtree(folder / "aside")

    player = threading.Thread(target=play)
    with untouched(outside):
        player.start()
        try:
            for _ in range(10):
                site.restore(result, source, target, deletes=True)
        finally:
            is_over.set()
            player.join()
    assert site.restore(result, source, target, deletes=True).errors == []
    assert compare(describe(source), describe(target)) == []


def test_folders_nested_a_thousand_deep_come_and_go(site: Site, folder: Path) -> None:
    """Deeper than any recursion may go."""
    source, target, levels = folder / "deep", folder / "target", 1100
    source.mkdir()
    handle = os.open(source, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    with open(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=handle), "wb") as leaf:
        leaf.write(b"leaf")
    os.close(handle)
    result = site.back_up(source, name="deep")
    (folder / "nothing").mkdir()
    nothing = site.back_up(folder / "nothing", name="nothing")
    assert result.errors == []
    assert site.restore(result, source, target).errors == []
    again = site.restore(result, source, target)
    assert (again.errors, again.answer.unchanged, again.answer.written) == ([], 1, 0)
    gone = site.restore(nothing, folder / "nothing", target, deletes=True)
    assert (gone.errors, gone.deleted) == ([], levels + 1)
    subprocess.run(["rm", "-rf", source], check=True)


def test_more_large_files_than_may_be_open(folder: Path) -> None:
    source, target = folder / "source", folder / "target"
    source.mkdir()
    for number in range(400):
        with (source / f"{number}").open("wb") as file:
            file.truncate(9 << 20)
            file.write(b"%3d" % number)
    with open_site(folder) as site:
        site.back_up(source)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (350, 350)); {killed.AS_SCRIPT}"
    done = subprocess.run([sys.executable, "-c", limited, str(site.path), str(source), str(target), "never", "0"],
                          cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for number in range(400):
        path = target / f"{number}"
        with path.open("rb") as file:
            assert (file.read(5), path.stat().st_size) == (b"%3d\0\0" % number, 9 << 20)
