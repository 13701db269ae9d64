"""What changed between two snapshots."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.errors import RefusedError
from shared.tree import ANCESTOR, FOLDER, LINK, UNREADABLE
from siteagent.jobs.diff import Change, Part, change_kind, diff
from siteagent.store.entry import Entry
from tests.support.homes import Place, newest
from tests.support.stores import entry

KEPT = entry(b"a", b"b")


@pytest.mark.parametrize(("old", "new", "kind"), [
    (KEPT, KEPT._replace(ctime_ns=5, inode=7, link_group=8, flags=1, segments=(b"x" * 20,)), None),
    (KEPT, KEPT._replace(mtime_ns=5), "metadata"), (KEPT, KEPT._replace(uid=5), "metadata"),
    (KEPT, KEPT._replace(gid=5), "metadata"), (KEPT, KEPT._replace(mode=5), "metadata"),
    (KEPT, KEPT._replace(xattrs=b"\0x"), "metadata"), (KEPT, KEPT._replace(extra=((30, 2, 5),)), "metadata"),
    (KEPT, KEPT._replace(ids=b"y" * 32), "content"), (KEPT, KEPT._replace(tree=b"\0" + b"y" * 32), "content"),
    (KEPT, KEPT._replace(ids=KEPT.ids * 2, lengths=(2, 3)), "content"),
    (KEPT, KEPT._replace(size=6), "content"), (KEPT, KEPT._replace(flags=UNREADABLE), "content"),
    (KEPT, KEPT._replace(type=LINK), "type"), (KEPT, KEPT._replace(type=FOLDER, ids=b""), "type"),
    (KEPT._replace(type=LINK, target=b"\0x"), KEPT._replace(type=LINK, target=b"\0y", mtime_ns=5), "content"),
    (KEPT._replace(type=LINK, size=1), KEPT._replace(type=LINK, size=2), None),
    (KEPT._replace(type=5, device=1), KEPT._replace(type=5, device=2), "content"),
    (KEPT._replace(type=FOLDER), KEPT._replace(type=FOLDER, size=99, mtime_ns=2), "metadata"),
    (KEPT._replace(type=FOLDER, flags=ANCESTOR), KEPT._replace(type=FOLDER, flags=ANCESTOR, mtime_ns=2), None),
])  # fmt: skip
def test_the_kind_of_a_change(old: Entry, new: Entry, kind: str | None) -> None:
    assert change_kind(old, new) == change_kind(new, old) == kind


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Two snapshots, in each of which every kind of change is between one folder and the next."""
    made = Place(tmp_path).create()
    for name in ("gone", "grows", "mode", "same", "turns", "deep/er/file", "other/er/file", "other/more"):
        made.write(name, name.encode())
    with made.open() as home:
        made.backup(home)
    os.unlink(made.path("gone"))
    made.write("grows", b"grows and grows")
    os.chmod(made.path("mode"), 0o600)
    os.unlink(made.path("turns"))
    os.symlink("same", made.path("turns"))
    made.write("new\udcff", b"new")
    with made.open() as home:
        made.backup(home)
    return made


def shown(changes: "list[Change]") -> set[tuple[str, bytes]]:
    return {(change.kind, change.path) for change in changes}


def compared(place: Place, old: bytes | None, new: bytes | None) -> list[Change]:
    with place.open() as home:
        first, second = home.ledger.history().wanted
        assert second == newest(home)
        found = list(diff(home, Part(first, old), Part(second, new)))
        assert home.leases.held() == []
        return found


def test_every_kind_of_change_is_found_once(place: Place) -> None:
    expected = {("removed", "gone"), ("content", "grows"), ("metadata", "mode"), ("type", "turns"),
                ("added", "new\udcff")}  # fmt: skip
    expected_paths = {(kind, place.path(name)) for kind, name in expected}
    assert shown(compared(place, None, None)) == {*expected_paths, ("metadata", os.fsencode(place.source))}
    assert shown(compared(place, os.fsencode(place.source), os.fsencode(place.source))) == expected_paths


def test_a_change_says_type_and_sizes(place: Place) -> None:
    by_path = {os.path.basename(change.path): change for change in compared(place, None, None)}
    grows, gone, turns = by_path[b"grows"], by_path[b"gone"], by_path[b"turns"]
    assert (grows.type, grows.size_bytes, grows.old_size_bytes) == ("file", 15, 5)
    assert (gone.type, gone.size_bytes, gone.old_size_bytes) == ("file", 4, 4)
    assert (turns.type, turns.size_bytes, turns.old_size_bytes) == ("link", 0, 5)


def test_two_folders_are_compared_by_relative_paths(place: Place) -> None:
    assert shown(compared(place, place.path("deep"), place.path("other"))) >= {("added", b"more")}
    assert {change.path for change in compared(place, place.path("deep"), place.path("other"))} <= {
        b"more", b"er", b"er/file"}  # fmt: skip
    found = shown(compared(place, b"/", place.path("deep")))
    assert ("added", b"er/file") in found
    assert ("removed", place.path("gone")[1:]) in found


def test_two_files_are_compared_alone(place: Place) -> None:
    assert shown(compared(place, place.path("grows"), place.path("grows"))) == {("content", place.path("grows"))}
    assert shown(compared(place, place.path("gone"), place.path("same"))) == {("content", b"same")}
    assert compared(place, place.path("same"), place.path("same")) == []
    assert shown(compared(place, place.path("same"), place.path("deep"))) == {("type", b"deep")}


def test_contents_under_different_keys_are_not_compared(place: Place) -> None:
    with place.open() as home:
        first, second = home.ledger.history().wanted
        assert second.summary is not None
        foreign = replace(second, summary=replace(second.summary, domain=b"another domain.."))
        with pytest.raises(RefusedError, match="different keys"):
            list(diff(home, Part(first, None), Part(foreign, None)))


def test_what_cannot_be_compared_is_refused(place: Place) -> None:
    with pytest.raises(RefusedError, match="not in the snapshot"):
        compared(place, place.path("none"), None)
    with pytest.raises(RefusedError, match="single file"):
        compared(place, None, place.path("same"))

