"""The walker must see every single kind of difference, and name it and nothing else."""

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.acls import DEFAULT, acl_value
from tests.support.oddities import ACCESS_ACL, CAPABILITY_XATTR, DEFAULT_ACL, TRUSTED_XATTR
from tests.support.walker import AS_ORDINARY_USER, Ignore, Kind, Tree, compare, describe, shown

HOLE_BYTES = 4 * 1024 * 1024


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "folder" / "inner" / "leaf").write_bytes(b"leaf")
    (root / "file").write_bytes(b"0123456789")
    for path, mode in ((root, 0o755), (root / "folder", 0o755), (root / "file", 0o640)):
        path.chmod(mode)
    (root / "link").symlink_to("file")
    os.mkfifo(root / "fifo", 0o600)
    (root / "one").write_bytes(b"linked")
    os.link(root / "one", root / "folder" / "two")
    os.link(root / "one", root / "three")
    with (root / "sparse").open("wb") as sparse:
        sparse.truncate(HOLE_BYTES)
        sparse.seek(2 * 1024 * 1024)
        sparse.write(b"d" * 70_000)
    for path in (root, root / "folder", root / "folder" / "inner", root / "file", root / "link"):
        os.utime(path, ns=(5, 5), follow_symlinks=False)
    return root


@pytest.fixture
def copy(source: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)
    return target


@contextmanager
def same_times(*paths: Path) -> Iterator[None]:
    """Put back the modification times of ``paths``, so that only the change itself is a difference."""
    times = [(path, path.lstat().st_mtime_ns) for path in paths]
    yield
    for path, time_ns in times:
        os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)


def set_xattr(path: Path, name: bytes, value: bytes) -> None:
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            pytest.skip(f"the file system of {path.parent} keeps no such attribute")
        raise


def differences(source: Path, copy: Path, *ignore: Ignore) -> list[str]:
    return compare(describe(source), describe(copy), ignore=ignore)


def test_a_faithful_copy_has_no_difference(source: Path, copy: Path) -> None:
    assert differences(source, copy) == []
    assert differences(source, source) == []


def write_within(path: Path, data: bytes) -> None:
    with same_times(path), path.open("r+b") as file:
        file.write(data)


def write_last_byte(path: Path) -> None:
    with same_times(path), path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")


def grow(path: Path) -> None:
    with same_times(path), path.open("ab") as file:
        file.write(b"!")


def fill_hole(path: Path) -> None:
    with same_times(path), path.open("r+b") as file:
        file.write(bytes(65_536))


def fill_end_of_hole(path: Path) -> None:
    with same_times(path), path.open("r+b") as file:
        file.seek(HOLE_BYTES - 4096)
        file.write(bytes(4096))


def relink(path: Path) -> None:
    with same_times(path, path.parent):
        path.unlink()
        path.symlink_to("elsewhere")
        os.utime(path, ns=(5, 5), follow_symlinks=False)


def delete(path: Path) -> None:
    with same_times(path.parent):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def create(path: Path) -> None:
    with same_times(path.parent):
        path.write_bytes(b"")


def rename_odd(path: Path) -> None:
    with same_times(path.parent):
        path.rename(os.fsdecode(os.fsencode(path.parent) + b"/\x1b[31m\xff\n"))


def become_folder(path: Path) -> None:
    with same_times(path.parent):
        path.unlink()
        path.mkdir()


def become_file(path: Path) -> None:
    with same_times(path.parent):
        shutil.rmtree(path)
        path.write_bytes(b"")


def unlink_from_group(path: Path) -> None:
    data = path.read_bytes()
    status = path.stat()
    with same_times(path.parent):
        path.unlink()
        path.write_bytes(data)
    path.chmod(stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def join_group(path: Path) -> None:
    with same_times(path.parent):
        os.link(path, path.parent / "extra")


def touch(path: Path) -> None:
    os.utime(path, ns=(6, 6), follow_symlinks=False)


MUTATIONS: list[tuple[str, Callable[[Path], None], list[str]]] = [
    ("file", lambda path: write_within(path, b"X"), ["b'file': content: "]),
    ("folder/inner/leaf", lambda path: write_within(path, b"X"), ["b'folder/inner/leaf': content: "]),
    ("file", write_last_byte, ["b'file': content: "]),
    ("file", grow, ["b'file': size: 10 -> 11"]),
    ("file", lambda path: path.chmod(0o641), ["b'file': mode: 0640 -> 0641"]),
    ("file", lambda path: path.chmod(0o4640), ["b'file': mode: 0640 -> 4640"]),
    ("file", lambda path: path.chmod(0o2640), ["b'file': mode: 0640 -> 2640"]),
    ("folder", lambda path: path.chmod(0o1755), ["b'folder': mode: 0755 -> 1755"]),
    ("fifo", lambda path: path.chmod(0o620), ["b'fifo': mode: 0600 -> 0620"]),
    ("file", touch, ["b'file': mtime_ns: 5 -> 6"]),
    ("folder", touch, ["b'folder': mtime_ns: 5 -> 6"]),
    ("link", touch, ["b'link': mtime_ns: 5 -> 6"]),
    ("", touch, ["(root): mtime_ns: 5 -> 6"]),
    ("", lambda path: path.chmod(0o700), ["(root): mode: 0755 -> 0700"]),
    ("link", relink, ["b'link': target: b'file' -> b'elsewhere'"]),
    ("sparse", fill_hole, ["b'sparse': holes: hole 0..2097152 holds data at 0..65536"]),
    ("sparse", fill_end_of_hole, ["b'sparse': holes: hole 2228224..4194304 holds data at 4190208..4194304"]),
    ("file", delete, ["b'file': missing: file"]),
    ("folder/inner", delete, ["b'folder/inner': missing: folder with 1 below"]),
    ("new", create, ["b'new': not expected: file"]),
    ("file", rename_odd, ["b'file': missing: file", "b'\\x1b[31m\\xff\\n': not expected: file"]),
    ("fifo", become_folder, ["b'fifo': type: fifo -> folder"]),
    ("folder/inner", become_file, ["b'folder/inner': type: folder -> file"]),
    (
        "three",
        unlink_from_group,
        ["b'folder/two': hard links: {b'folder/two', b'one', b'three'} -> {b'folder/two', b'one'}"],
    ),
    ("three", delete, ["b'three': missing: file"]),
    ("file", join_group, ["b'extra': not expected: file"]),
]


@pytest.mark.parametrize(("name", "change", "expected"), MUTATIONS, ids=[f"{m[0]}-{m[2][0]}" for m in MUTATIONS])
def test_one_change_is_one_difference(
    source: Path, copy: Path, name: str, change: Callable[[Path], None], expected: list[str]
) -> None:
    change(copy / name)
    found = differences(source, copy)
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_split_and_new_link_groups_are_named_once(source: Path, copy: Path) -> None:
    for name in ("one", "three"):
        unlink_from_group(copy / name)
    assert differences(source, copy) == ["b'folder/two': hard links: {b'folder/two', b'one', b'three'} -> none"]
    assert differences(copy, source) == ["b'folder/two': hard links: none -> {b'folder/two', b'one', b'three'}"]
    assert differences(source, copy, Ignore.LINKS) == []


def test_a_file_that_occupies_more_is_seen(source: Path, copy: Path) -> None:
    """Blocks reserved without data lie in holes, and only the count of blocks shows them."""
    with same_times(copy / "sparse"), (copy / "sparse").open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, HOLE_BYTES)
    (line,) = differences(source, copy)
    assert line.startswith("b'sparse': holes: ")
    assert differences(source, copy, Ignore.HOLES) == []


def test_small_and_unaligned_holes_may_be_filled(tmp_path: Path) -> None:
    for name, gap in (("kept", True), ("filled", False)):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "file").open("wb") as file:
            file.write(b"a" * 100_000)
            if gap:
                file.seek(90_000, os.SEEK_CUR)
            else:
                file.write(bytes(90_000))
            file.write(b"b" * 50_000)
    ignore = (Ignore.TIMES,)
    assert differences(tmp_path / "kept", tmp_path / "filled", *ignore) == []
    assert differences(tmp_path / "filled", tmp_path / "kept", *ignore) == []


def test_attributes_are_compared_as_raw_values(source: Path, copy: Path) -> None:
    for root in (source, copy):
        set_xattr(root / "file", b"user.same", b"\0\xff")
        set_xattr(root / "file", b"user.odd\n\xff", b"old")
    set_xattr(copy / "file", b"user.odd\n\xff", b"new" * 50)
    set_xattr(copy / "folder", b"user.added", b"")
    set_xattr(source / "one", b"user.lost", b"1")
    found = differences(source, copy)
    assert [line.split(" -> ")[0] for line in found] == [
        "b'file': xattr b'user.odd\\n\\xff': b'old'",
        "b'folder': xattr b'user.added': none",
        "b'folder/two': xattr b'user.lost': b'1'",
        "b'one': xattr b'user.lost': b'1'",
        "b'three': xattr b'user.lost': b'1'",
    ]
    assert differences(source, copy, Ignore.XATTRS) == []


def test_acls_are_seen(source: Path, copy: Path) -> None:
    for root in (source, copy):
        set_xattr(root / "file", *ACCESS_ACL)
        set_xattr(root / "folder", *DEFAULT_ACL)
    assert differences(source, copy) == []
    changed = acl_value(7, 5, 5, users={1001: 7}, groups={54321: 0, 54322: 1})
    os.setxattr(copy / "folder", DEFAULT, changed)
    os.removexattr(copy / "file", ACCESS_ACL[0])
    (copy / "file").chmod((source / "file").stat().st_mode & 0o7777)
    found = differences(source, copy)
    assert [line.split(":")[1] for line in found] == [
        " xattr b'system.posix_acl_access'",
        " xattr b'system.posix_acl_default'",
    ]


@pytest.mark.needs_root
def test_owners_are_seen(source: Path, copy: Path) -> None:
    os.chown(copy / "link", 1234, -1, follow_symlinks=False)
    os.chown(copy / "folder", -1, 2**32 - 2)
    gid = source.stat().st_gid
    uid = source.stat().st_uid
    assert differences(source, copy) == [
        f"b'folder': gid: {gid} -> 4294967294",
        f"b'link': uid: {uid} -> 1234",
    ]
    assert differences(source, copy, *AS_ORDINARY_USER) == []


@pytest.mark.needs_root
def test_devices_are_seen(source: Path, copy: Path) -> None:
    for root, kind, minor in ((source, stat.S_IFCHR, 3), (copy, stat.S_IFCHR, 5)):
        with same_times(root):
            os.mknod(root / "number", kind | 0o600, os.makedev(1, minor))
            os.mknod(root / "kind", (stat.S_IFBLK if minor == 5 else kind) | 0o600, os.makedev(1, 3))
            touch(root / "number")
            touch(root / "kind")
    expected = ["b'kind': type: character device -> block device", "b'number': device: (1, 3) -> (1, 5)"]
    assert differences(source, copy) == expected
    assert differences(source, copy, *AS_ORDINARY_USER) == expected
    delete(copy / "number")
    assert differences(source, copy)[0] == "b'number': missing: character device"
    assert differences(source, copy, *AS_ORDINARY_USER) == expected[:1]


@pytest.mark.needs_root
def test_privileged_attributes_are_seen(source: Path, copy: Path) -> None:
    set_xattr(source / "link", *TRUSTED_XATTR)
    set_xattr(source / "file", *CAPABILITY_XATTR)
    found = differences(source, copy)
    assert [line.split(" -> ")[1] for line in found] == ["none", "none"]
    assert differences(source, copy, *AS_ORDINARY_USER) == []


def test_sockets_are_reported_and_may_be_expected_to_be_skipped(source: Path, copy: Path) -> None:
    with same_times(source):
        os.mknod(source / "socket", stat.S_IFSOCK | 0o600)
        os.link(source / "socket", source / "socket again")
    tree = describe(source)
    assert tree.paths(Kind.SOCKET) == {b"socket", b"socket again"}
    assert len(differences(source, copy)) == 2
    assert differences(source, copy, Ignore.SOCKETS) == []
    assert differences(copy, source, Ignore.SOCKETS)[0] == "b'socket': not expected: socket"


def test_what_cannot_be_read_never_passes_for_equal(source: Path, copy: Path) -> None:
    """As root nothing is closed, so the marks are put in by hand; the next test sees real ones as an ordinary user."""
    tree = describe(source)
    entry = tree.entries[b"file"]
    blind = type(entry)(entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime_ns, 10, unread=frozenset({"content"}))
    unread = Tree({**tree.entries, b"file": blind}, tree.link_groups)
    assert compare(unread, describe(copy)) == ["b'file': unread: ['content'] -> []"]
    assert compare(unread, unread, ignore={Ignore.UNREAD}) == []
    assert unread.unread_paths() == {b"file"}


def test_closed_entries_are_marked(source: Path, copy: Path) -> None:
    for path, mode in ((source / "file", 0), (source / "folder" / "inner", 0o400), (source / "folder", 0o100)):
        path.chmod(mode)
    try:
        tree = describe(source)
    finally:
        (source / "folder").chmod(0o755)
        (source / "folder" / "inner").chmod(0o755)
    unread = {path: tree.entries[path].unread for path in tree.unread_paths()}
    if os.geteuid() == 0:
        assert unread == {}
    else:
        assert unread == {b"file": {"content"}, b"folder": {"children"}}


def test_subtrees(source: Path) -> None:
    tree = describe(source)
    assert tree.below(b"") == tree
    below = tree.below(b"folder")
    assert compare(below, describe(source / "folder")) == []
    assert below.paths() == {b"", b"inner", b"inner/leaf", b"two"}
    assert below.link_groups == frozenset()
    without = tree.without([b"folder"])
    assert without.paths() == tree.paths() - {b"folder", b"folder/inner", b"folder/inner/leaf", b"folder/two"}
    assert without.link_groups == {frozenset({b"one", b"three"})}
    assert describe(source / "file").entries[b""] == tree.entries[b"file"]


def test_a_root_that_is_a_link_is_followed_and_links_below_are_not(source: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(source)
    (source / "out").symlink_to("/")
    tree = describe(tmp_path / "way")
    assert compare(describe(source), tree) == []
    assert tree.entries[b"out"].target == b"/"
    assert not any(path.startswith(b"out/") for path in tree.entries)


def test_a_file_that_changes_meanwhile_is_an_error(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = os.read

    def read_and_grow(file_fd: int, length: int) -> bytes:
        piece = read(file_fd, length)
        if piece == b"0123456789":
            grow(source / "file")
        return piece

    monkeypatch.setattr(os, "read", read_and_grow)
    with pytest.raises(RuntimeError, match="b'file' changed"):
        describe(source)


def test_names_are_shown_in_printable_ascii() -> None:
    assert shown(b"\x1b[2J\xff\n") == "b'\\x1b[2J\\xff\\n'"
    assert shown("é".encode()).isascii()
    assert shown(b"") == "(root)"
