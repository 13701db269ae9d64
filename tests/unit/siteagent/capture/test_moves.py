"""Moved files: recognised by inode, size and time, never read again, and never mistaken for another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from siteagent.capture import moves
from siteagent.home import Home
from siteagent.sources.base import Batch
from siteagent.sources.posix import PosixView
from siteagent.sources.posixfile import PosixReader
from tests.support.homes import Place, contents, incompressible, newest


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path).create()
    for number in range(12):
        made.write(f"old/{number:02}", incompressible(f"file {number}", 1000 + number))
    made.write("old/large", incompressible("large", 3 << 20))
    return made


@pytest.fixture(autouse=True)
def _always_worth_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "_WORTH_FILES", 1)


def _files(place: Place) -> dict[bytes, bytes]:
    return {os.fsencode(path): path.read_bytes() for path in place.source.rglob("*") if path.is_file()}


def _backup(place: Place, home: Home) -> int:
    result = place.backup(home)
    assert contents(home, newest(home)) == _files(place)
    return result.summary.bytes_read


def test_a_renamed_folder_is_not_read_again(place: Place) -> None:
    with place.open() as home:
        _backup(place, home)
        (place.source / "old").rename(place.source / "new")
        assert _backup(place, home) == 0
        summary = newest(home).summary
        assert summary is not None and summary.counts.renamed == 13
        (place.source / "new").rename(place.source / "a name before")
        assert _backup(place, home) == 0


def test_it_is_not_worth_a_look_for_a_few_small_files(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "_WORTH_FILES", 100)
    with place.open() as home:
        _backup(place, home)
        (place.source / "old/00").rename(place.source / "moved")
        assert _backup(place, home) == 1000


@pytest.mark.parametrize("change", ["content", "time", "size", "copy"])
def test_what_only_looks_alike_is_read(place: Place, change: str) -> None:
    with place.open() as home:
        _backup(place, home)
        old, new = place.source / "old/05", place.source / "elsewhere"
        if change == "copy":
            before = old.stat()
            new.write_bytes(b"x" * 1005)
            os.utime(new, ns=(before.st_mtime_ns, before.st_mtime_ns))
            old.unlink()
        else:
            old.rename(new)
            if change == "content":
                new.write_bytes(b"y" * 1005)
                os.utime(new, ns=(5, 5))
            elif change == "size":
                new.write_bytes(b"z")
            else:
                os.utime(new, ns=(7, 7))
        assert _backup(place, home) > 0


def test_what_was_not_proven_before_is_read_again(place: Place) -> None:
    """It had changed just before it was read: another change of the same size may have moved no time."""
    with place.open() as home:
        old, recent_ns = place.source / "old/05", place.clock.time_ns + 59 * 10**9
        os.utime(old, ns=(recent_ns, recent_ns))
        _backup(place, home)
        new = old.rename(place.source / "elsewhere")
        new.write_bytes(b"y" * 1005)
        os.utime(new, ns=(recent_ns, recent_ns))
        assert _backup(place, home) == 1005


def test_a_moved_file_that_is_replaced_before_it_is_opened_is_read(place: Place,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    with place.open() as home:
        _backup(place, home)
        (place.source / "old/05").rename(place.source / "elsewhere")
        (place.folder / "other").write_bytes(b"y" * 1005)
        opened = PosixView.open

        def replaced(view: PosixView, batch: Batch, number: int) -> PosixReader:
            if batch.names[number] == b"elsewhere" and (place.folder / "other").exists():
                (place.folder / "other").rename(place.source / "elsewhere")
            return opened(view, batch, number)

        monkeypatch.setattr(PosixView, "open", replaced)
        assert _backup(place, home) > 0
        assert not (place.folder / "other").exists()


def test_a_hard_link_beside_the_old_name_is_read_like_any_other(place: Place) -> None:
    with place.open() as home:
        _backup(place, home)
        os.link(place.source / "old/05", place.source / "second")
        assert _backup(place, home) == 1005
        groups = {entry.path: entry.link_group for entry in home.catalog(newest(home)).entries()}
        first, second = (groups[os.fsencode(place.source / name)] for name in ("old/05", "second"))
        assert first == second != 0


def test_attributes_of_a_moved_file_are_those_it_has_now(place: Place) -> None:
    with place.open() as home:
        _backup(place, home)
        moved = place.source / "moved"
        (place.source / "old/large").rename(moved)
        moved.chmod(0o600)
        os.setxattr(moved, "user.colour", b"green")
        assert _backup(place, home) == 0
        entry = next(one for one in home.catalog(newest(home)).entries() if one.path == os.fsencode(moved))
        assert entry.mode & 0o777 == 0o600
        assert b"green" in home.catalog(newest(home)).xattrs(entry)


def test_what_rests_on_damage_is_read_again(place: Place) -> None:
    with place.open() as home:
        _backup(place, home)
        home.reader.damaged |= set(home.index.segments())
        (place.source / "old").rename(place.source / "new")
        assert place.backup(home).summary.bytes_read > 3 << 20
