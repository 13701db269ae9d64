"""Quality is labelled: a source that changed, vanished or did not read while it was captured never shows plain success.

A quiet source is `live` and ends with exit code 0; whatever a scripted writer does at whatever call of the system, a
snapshot that says so holds what the source held before or after, file by file.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import FarkeepError, RefusedError
from shared.tree import CHANGED, FILE, UNREADABLE
from siteagent.jobs.backup import BackupRequest, BackupResult, back_up
from siteagent.sources.command import CommandView
from tests.support.homes import contents
from tests.support.inside import quick_driver
from tests.support.interposed import interposed
from tests.support.scratch import scratch_folder
from tests.support.tally import Tally
from tests.support.trips import Site, open_site

SMALL, LARGE = b"before " * 100, b"before, and large " * 40_000
OTHER = b"after, of another length " * 50
Act = Callable[[Path], object]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with scratch_folder() as folder, open_site(folder) as opened:
        yield opened


@pytest.fixture
def source() -> Iterator[Path]:
    with scratch_folder() as folder:
        path = folder / "source"
        path.mkdir()
        (path / "folder").mkdir()
        (path / "folder" / "inside").write_bytes(SMALL)
        (path / "file").write_bytes(SMALL)
        (path / "quiet").write_bytes(SMALL)
        yield path


def _become(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


ACTS: dict[str, Act] = {
    "it grows": lambda path: path.open("ab").write(b"more"),
    "it shrinks": lambda path: os.truncate(path, 10),
    "it is emptied": lambda path: os.truncate(path, 0),
    "it is rewritten": lambda path: path.write_bytes(OTHER),
    "it is rewritten, same length": lambda path: path.open("r+b").write(b"AFTER"),
    "it is replaced": lambda path: (path.with_name("new").write_bytes(OTHER), path.with_name("new").rename(path)),
    "it vanishes": lambda path: path.unlink(),
    "it is renamed": lambda path: path.rename(path.with_name("zz renamed")),
    "it becomes a folder": lambda path: _become(path, Path.mkdir),
    "it becomes a link": lambda path: _become(path, lambda new: new.symlink_to("/etc/passwd")),
    "it becomes a fifo": lambda path: _become(path, os.mkfifo),
    "its mode changes": lambda path: path.chmod(0o600),
    "its attributes change": lambda path: os.setxattr(path, b"user.new", b"x"),
}


def back_up_while(site: Site, source: Path, act: Act, name: str, at: int) -> tuple[BackupResult, int]:
    """Back up while `act` happens to the file before the call of this number; returns also how many there were."""

    def step(number: int) -> None:
        if number == at:
            act(source / name)

    view, roots = site.view(source)
    with interposed(step, "siteagent.sources") as count:
        result = site.back_up_view(view, roots, name=f"case-{site.home.world.randomness.bits(8).hex()}-x")
    return result, count[0]


def marks_of(site: Site, result: BackupResult, source: Path, states: set[tuple[bytes, int]]) -> int:
    """The marks that files of a snapshot carry; what has none is one state of the file, content and time."""
    entry = site.snapshot(result)
    found, marks = contents(site.home, entry), 0
    for row in site.home.catalog(entry).entries():
        marks |= row.flags & (CHANGED | UNREADABLE)
        if row.type == FILE and not row.flags & (CHANGED | UNREADABLE):
            assert (found[row.path], row.mtime_ns) in states, row.path
            assert len(found[row.path]) == row.size
        assert not row.path.endswith(b"passwd")
    assert found[os.fsencode(source / "quiet")] == SMALL
    return marks


@pytest.mark.parametrize("what", ACTS)
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_whatever_happens_to_a_file_at_any_call(what: str, content: bytes, site: Site, source: Path, tally: Tally,
                                                is_long_run: bool) -> None:  # fmt: skip
    """Once, before each call of the system that a backup makes (every third of them in a short run)."""
    path, points, at = source / "file", 0, 1 if is_long_run else 1 + list(ACTS).index(what) % 4
    total = back_up_while(site, source, lambda _: None, "file", 0)[1]
    while at <= total:
        for left in source.iterdir():
            if left.name not in ("quiet", "folder"):
                left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()
        path.write_bytes(content)
        states = state_of(source)
        result, total = back_up_while(site, source, _and_then(ACTS[what], states), "file", at)
        marks, quality = marks_of(site, result, source, states), result.summary.quality
        assert not marks & CHANGED or quality in ("changed", "partial")
        assert not marks & UNREADABLE or quality == "partial"
        assert bool(result.errors) == (quality == "partial")
        points += 1
        at += 1 if is_long_run else 4
    tally("changes while captured", points)


def _and_then(act: Act, states: set[tuple[bytes, int]]) -> Act:
    return lambda path: (act(path), states.update(state_of(path.parent)))


def state_of(source: Path) -> set[tuple[bytes, int]]:
    """What the files of the source hold now, and since when."""
    files = [path for path in source.rglob("*") if path.is_file() and not path.is_symlink()]
    return {(path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("size", [1_000, 300_000, 5_000_000])
@pytest.mark.parametrize("what", ["grows", "shrinks", "same length"])
def test_a_file_that_never_rests_is_marked(size: int, what: str, site: Site, source: Path, tally: Tally,
                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Changed within every reading: the last one is kept, with its mark, and the snapshot is `changed`."""
    path, real, turn = source / "file", os.preadv, [0]
    path.write_bytes(os.urandom(size))
    inode = path.stat().st_ino

    def change(handle: int, buffers: list[memoryview], offset: int) -> int:
        done = real(handle, buffers, offset)
        if os.fstat(handle).st_ino == inode:
            turn[0] += 1
            if what == "same length":
                with path.open("r+b") as file:
                    file.write(b"%08d" % turn[0])
            else:
                os.truncate(path, size + turn[0] * (100 if what == "grows" else -1))
            os.utime(path, ns=(turn[0], turn[0]))
        return done

    monkeypatch.setattr(os, "preadv", change)
    result = site.back_up(source, name=f"restless-{size}-{what[:4]}")
    monkeypatch.undo()
    entry = site.snapshot(result)
    row = next(row for row in site.home.catalog(entry).entries() if row.name == b"file")
    assert (result.summary.quality, row.flags & CHANGED, result.errors) == ("changed", CHANGED, [])
    assert len(contents(site.home, entry)[row.path]) == row.size
    path.write_bytes(b"at rest")
    again = site.back_up(source, name=f"restless-{size}-{what[:4]}")
    assert again.summary.quality == "live"
    assert contents(site.home, site.snapshot(again))[row.path] == b"at rest"
    tally("changes while captured", 1)


@pytest.mark.parametrize("size", [1_000, 300_000, 9_000_000])
@pytest.mark.parametrize("has_earlier", [False, True])
@pytest.mark.parametrize("call", ["open", "preadv", "fstat", "listxattr"])
@pytest.mark.parametrize("names", [["file"], ["file", "file of two names"]])
def test_a_file_that_fails_to_read_is_named_and_nothing_of_it_is_kept(
    size: int, has_earlier: bool, call: str, names: list[str], tmp_path: Path, source: Path, tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """EIO at each kind of call, at the first and at later ones, in the middle of the file and at its end."""
    path, farkeep = source / "file", quick_driver(tmp_path / "home")
    for other in names[1:]:
        os.link(path, source / other)
    farkeep.init()
    if has_earlier:
        path.write_bytes(os.urandom(size))
        farkeep.backup(source, name="docs")
    path.write_bytes(os.urandom(size))
    inode, real = path.stat().st_ino, getattr(os, call)
    for skipped in range(3):
        left = [skipped]

        def fail(where: object, *more: object, left: list[int] = left, **named: object) -> object:
            done = real(where, *more, **named)
            seen = done if call == "open" else where
            if isinstance(seen, int) and os.stat(seen).st_ino == inode:
                left[0] -= 1
                if left[0] < 0:
                    if call == "open":
                        os.close(seen)
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            return done

        monkeypatch.setattr(os, call, fail)
        result = farkeep.run("backup", source, "--name", "docs", check=False)
        monkeypatch.undo()
        if left[0] >= 0:
            assert result.exit_code == 0, result.report()
            break
        document = result.json()
        assert result.exit_code == 3, result.report()
        assert document["quality"] == "partial"
        assert {error["path"] for error in document["errors"]} == {str(source / name) for name in names}
        restored = farkeep.run("restore", f"latest:{source}", "--to", tmp_path / f"out {skipped}", check=False)
        assert restored.exit_code == 3
        assert not any((tmp_path / f"out {skipped}" / name).exists() for name in names)
        assert (tmp_path / f"out {skipped}" / "quiet").read_bytes() == SMALL
        tally("reads that failed", 1)


@pytest.mark.parametrize("call", ["open", "scandir", "stat", "readlink", "listxattr"])
def test_a_folder_or_link_that_fails_is_named(call: str, site: Site, source: Path, tally: Tally) -> None:
    """Every single call of a backup fails once with EIO, EACCES or ESTALE: an error, or nothing is missing."""
    (source / "link").symlink_to("quiet")
    expected, points = len(list(source.rglob("*"))), 0
    for number in (errno.EIO, errno.EACCES, errno.ESTALE):
        at, is_over = 0, False
        while not is_over:
            at += 1
            is_over, seen, real = True, [0], getattr(os, call)

            def fail(*args: object, real: Callable[..., object] = real, seen: list[int] = seen, at: int = at,
                     number: int = number, **named: object) -> object:  # fmt: skip
                seen[0] += 1
                if seen[0] == at:
                    raise OSError(number, os.strerror(number))
                return real(*args, **named)

            view, roots = site.view(source)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, call, fail)
                try:
                    result = site.back_up_view(view, roots, name="failing")
                except (OSError, FarkeepError):
                    continue  # it was a call of the store: nothing was acknowledged
                finally:
                    is_over = seen[0] < at
            rows = [row for row in site.home.catalog(site.snapshot(result)).entries() if not row.flags & UNREADABLE]
            below = [row for row in rows if row.path.startswith(os.fsencode(source) + b"/")]
            assert result.errors or len(below) == expected, (call, at)
            assert bool(result.errors) == (result.summary.quality == "partial")
            points += 1
    tally("reads that failed", points)


def test_a_source_that_is_gone_is_named(site: Site, source: Path, tally: Tally) -> None:
    """Unmounted or removed between the command's first look and the walk."""
    view, roots = site.view(source, source.parent)
    source.rename(source.with_name("elsewhere"))
    result = site.back_up_view(view, roots, name="gone")
    assert result.summary.quality == "partial"
    assert [error.path for error in result.errors] == [os.fsencode(source)]
    tally("reads that failed", 1)


def test_a_root_behind_a_link_below_another_root_is_named(site: Site, source: Path) -> None:
    """The link is kept as a link; what it leads to is neither followed nor forgotten without a word."""
    outside = source.parent / "outside"
    outside.mkdir()
    (outside / "wanted").write_bytes(SMALL)
    os.setxattr(outside, b"user.outside", b"x")
    (source / "way").symlink_to(outside)
    result = site.back_up(source, source / "way" / "wanted", name="behind")
    assert result.summary.quality == "partial"
    assert [error.path for error in result.errors] == [os.fsencode(source / "way" / "wanted")]
    catalog = site.home.catalog(site.snapshot(result))
    assert [catalog.xattrs(row) for row in catalog.entries() if row.name == b"way"] == [b""]
    assert os.fsencode(source / "way" / "wanted") not in contents(site.home, site.snapshot(result))


@pytest.mark.parametrize("command", ["head -c 300000 /dev/urandom; exit 7", "echo some; kill -9 $$", "exit 1"])
def test_a_command_that_fails_late_leaves_no_snapshot(command: str, site: Site, tmp_path: Path, tally: Tally) -> None:
    before = len(site.home.ledger.history().snapshots)
    view = CommandView(command, b"/dump", 0)
    with pytest.raises(RefusedError):
        back_up(site.home, BackupRequest("dumps", (b"/dump",), view, "user", "host", finish=view.finish))
    assert len(site.home.ledger.history().snapshots) == before
    farkeep = quick_driver(tmp_path / "home")
    farkeep.init()
    result = farkeep.run("backup", "--name", "dumps", "--stdin-from-command", command, "--stdin-name", "x", check=False)
    assert result.exit_code == 1, result.report()
    assert farkeep.run("snapshots").json() == []
    tally("reads that failed", 1)


def test_a_quiet_source_is_live_and_done(tmp_path: Path, source: Path) -> None:
    farkeep = quick_driver(tmp_path / "home")
    farkeep.init()
    for _ in range(2):
        result = farkeep.run("backup", source, "--name", "docs")
        assert (result.exit_code, result.json()["quality"], result.json()["errors"]) == (0, "live", [])
