"""Generated trees: what is described is what stands on disk, and a faithful copy of it compares equal."""

import hashlib
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support import oddities, strategies, trees
from tests.support.build import LeftOut, build
from tests.support.descriptions import (
    Content,
    Description,
    Device,
    Fifo,
    File,
    Fill,
    Folder,
    HardLink,
    Metadata,
    Node,
    Socket,
    Symlink,
    for_ordinary_user,
)
from tests.support.mutate import mutate
from tests.support.scratch import scratch_folder
from tests.support.walker import Entry, Kind, Tree, compare, describe

KINDS = {Folder: Kind.FOLDER, File: Kind.FILE, Symlink: Kind.SYMLINK, Fifo: Kind.FIFO, Socket: Kind.SOCKET}


def suited(description: Description) -> Description:
    """As root the whole tree, else what an ordinary user can make and read."""
    return description if os.geteuid() == 0 else for_ordinary_user(description)


def copied(source: Path, target: Path) -> None:
    # An ordinary user cannot create in a folder that is copied as read only, so cp sets folder modes last, as it does.
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)


def check_built(description: Description, tree: Tree, left_out: tuple[LeftOut, ...]) -> None:
    """Every described value stands on disk, but for what was reported as left out."""
    gone = {item.path for item in left_out if item.what == "entry"}
    nodes = dict(description.entries)
    assert tree.paths() == {b""} | (nodes.keys() - gone)
    parts_left_out = {(item.path, item.what) for item in left_out}
    for path in nodes.keys() - gone:
        node = nodes[path]
        if isinstance(node, HardLink):
            assert any({path, node.path} <= group for group in tree.link_groups)
        else:
            check_node(node, tree.entries[path])
            check_metadata(path, node.metadata, tree.entries[path], parts_left_out)


def check_node(node: Node, entry: Entry) -> None:
    if isinstance(node, Device):
        assert entry.device == (node.major, node.minor)
        assert (entry.kind is Kind.BLOCK_DEVICE) == node.is_block
        return
    assert entry.kind is KINDS[type(node)]
    if isinstance(node, File):
        assert entry.size_bytes == node.content.size_bytes
        assert entry.sha256 == digest(node.content)
    if isinstance(node, Symlink):
        assert entry.target == node.target


def digest(content: Content) -> str:
    data = bytearray(content.size_bytes)
    for offset, piece in content.pieces():
        data[offset : offset + len(piece)] = piece
    return hashlib.sha256(data).hexdigest()


def check_metadata(path: bytes, metadata: Metadata, entry: Entry, left_out: set[tuple[bytes, str]]) -> None:
    if entry.kind is not Kind.SYMLINK and (path, "mode") not in left_out:
        # Setting the mode may clear setgid for a group the user is not in (chmod(2)).
        assert entry.mode | 0o2000 == metadata.mode | 0o2000
    # Outside this range, and in its first second, a file system may keep a nearby time (inode_timespec limits, Linux).
    if -(2**31) + 1 <= metadata.mtime_ns // 10**9 < 2**31 - 1:
        assert entry.mtime_ns == metadata.mtime_ns
    if metadata.owner is not None and (path, "owner") not in left_out:
        assert (entry.uid, entry.gid) == metadata.owner
    for name, value in metadata.xattrs:
        if (path, name.decode("ascii", "backslashreplace")) not in left_out and name.startswith(b"user."):
            assert entry.xattrs[name] == value


@pytest.mark.parametrize(
    "description",
    [
        trees.zoo(),
        trees.deep_folders(60),
        trees.wide_folder(3000),
        *(trees.random_tree(seed, 150) for seed in range(3)),
    ],
    ids=["zoo", "deep", "wide", "random 0", "random 1", "random 2"],
)
def test_a_copy_of_a_built_tree_compares_equal(description: Description, folder: Path) -> None:
    suited_description = suited(description)
    left_out = build(suited_description, folder / "source")
    before = describe(folder / "source")
    check_built(suited_description, before, left_out)
    assert before.unread_paths() == frozenset()
    copied(folder / "source", folder / "copy")
    assert compare(before, describe(folder / "copy")) == []
    assert compare(before, describe(folder / "source")) == []


def test_paths_longer_than_any_system_call_takes(folder: Path) -> None:
    description = trees.beyond_path_max(20)
    assert build(description, folder / "source") == ()
    tree = describe(folder / "source")
    check_built(description, tree, ())
    assert max(len(path) for path in tree.paths()) > os.pathconf(folder, "PC_PATH_MAX")


def test_the_zoo_holds_every_oddity() -> None:
    nodes = dict(trees.zoo().entries)
    names = {path.rpartition(b"/")[2] for path in nodes}
    assert names.issuperset(oddities.NAMES)
    metadata = [node.metadata for node in nodes.values() if not isinstance(node, HardLink)]
    assert {values.mtime_ns for values in metadata}.issuperset(oddities.TIMES_NS)
    assert {values.mode for values in metadata}.issuperset(oddities.MODES)
    sizes = {node.content.size_bytes for node in nodes.values() if isinstance(node, File)}
    assert sizes.issuperset((0, 131_071, 131_072, 131_073, 262_144))
    attributes = {pair for values in metadata for pair in values.xattrs}
    assert attributes.issuperset((*oddities.USER_XATTRS, oddities.ACCESS_ACL, oddities.DEFAULT_ACL))
    kinds = Counter(type(node) for node in nodes.values())
    assert all(kinds[kind] for kind in (Folder, File, Symlink, Fifo, Device, Socket, HardLink))


@pytest.mark.needs_root
def test_root_can_build_the_whole_zoo(folder: Path) -> None:
    """What is left out as root is at most attributes this file system does not keep."""
    left_out = build(trees.zoo(), folder / "source")
    assert [item for item in left_out if item.what in ("entry", "owner", "times", "mode")] == []
    tree = describe(folder / "source")
    assert len(tree.paths(Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)) == len(oddities.DEVICES)
    if not left_out:
        attributes = {name for entry in tree.entries.values() for name in entry.xattrs}
        assert attributes.issuperset((b"trusted.overlay.test", b"security.capability", b"system.posix_acl_default"))


def test_what_is_not_allowed_is_reported_and_the_rest_is_built(folder: Path) -> None:
    description = Description(
        (
            (b"fifo", Fifo(Metadata(xattrs=((b"user.refused_on_a_fifo", b"1"),)))),
            (b"file", File(metadata=Metadata(xattrs=((b"nonsense.namespace", b"1"), (b"user.fine", b"2"))))),
            (b"device", Device(False, 1, 3)),
            (b"again", HardLink(b"device")),
            (b"x" * 255, File(Content(3))),
        )
    )
    left_out = {(item.path, item.what) for item in build(description, folder / "source")}
    assert {(b"fifo", "user.refused_on_a_fifo"), (b"file", "nonsense.namespace")} <= left_out
    tree = describe(folder / "source")
    assert {b"fifo", b"file", b"x" * 255} <= tree.paths()
    is_root = os.geteuid() == 0
    assert ((b"device", "entry") in left_out, (b"again", "entry") in left_out) == (not is_root, not is_root)
    assert (b"again" in tree.paths()) == is_root


def test_a_root_that_holds_something_is_refused(folder: Path) -> None:
    (folder / "there").touch()
    with pytest.raises(FileExistsError):
        build(Description(()), folder)


@pytest.mark.parametrize(
    "entries",
    [
        ((b"a/b", File()),),
        ((b"a", File()), (b"a/b", File())),
        ((b"a", File()), (b"a", File())),
        ((b"..", File()),),
        ((b"", File()),),
        ((b"x" * 256, File()),),
        ((b"a\0", File()),),
        ((b"a", HardLink(b"b")),),
        ((b"a", Folder()), (b"b", HardLink(b"a"))),
    ],
)
def test_impossible_descriptions_are_refused(entries: tuple[tuple[bytes, Node], ...]) -> None:
    with pytest.raises(ValueError, match=r"\A"):
        Description(entries)


def test_random_trees_follow_from_their_seed() -> None:
    assert trees.random_tree(5, 200) == trees.random_tree(5, 200)
    assert trees.random_tree(5, 200) != trees.random_tree(6, 200)
    assert len(trees.random_tree(5, 200).entries) == 200
    assert trees.random_tree(5, 0).entries == ()
    kinds = Counter(type(node) for _, node in trees.random_tree(5, 300).entries)
    assert all(kinds[kind] for kind in (Folder, File, Symlink, Fifo, Device, Socket, HardLink))


def test_contents_follow_from_their_values() -> None:
    for fill in Fill:
        pieces = list(Content(70_000, 3, fill, ((5, 100), (60_000, 10_000))).pieces())
        assert [(offset, len(piece)) for offset, piece in pieces] == [(5, 100), (60_000, 10_000)]
        assert pieces == list(Content(70_000, 3, fill, ((5, 100), (60_000, 10_000))).pieces())
    assert list(Content(10, 3).pieces()) != list(Content(10, 4).pieces())


def test_the_sparse_shapes_have_their_holes(folder: Path) -> None:
    build(trees.zoo(), folder / "source")
    tree = describe(folder / "source")
    for place, content in enumerate(oddities.SPARSE):
        holes = tree.entries[b"sparse/%d" % place].holes
        assert holes is not None
        described_bytes = sum(length for _, length in content.extents or ())
        assert described_bytes <= sum(end - start for start, end in holes.data) <= described_bytes + 4096 * 128


def test_an_ordinary_user_is_offered_only_what_it_can_make() -> None:
    description = for_ordinary_user(trees.zoo())
    nodes = [node for _, node in description.entries if not isinstance(node, HardLink)]
    assert not any(isinstance(node, Device) for node in nodes)
    assert all(node.metadata.owner is None and node.metadata.mode & 0o400 for node in nodes)
    assert not any(name.startswith(b"trusted.") for node in nodes for name, _ in node.metadata.xattrs)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(description=strategies.descriptions(max_entries=15))
def test_any_drawn_tree_is_built_copied_and_removed(description: Description) -> None:
    with scratch_folder() as folder:
        suited_description = suited(description)
        left_out = build(suited_description, folder / "source")
        before = describe(folder / "source")
        check_built(suited_description, before, left_out)
        copied(folder / "source", folder / "copy")
        assert compare(before, describe(folder / "copy")) == []
    assert not folder.exists()


def test_mutations_change_the_tree_the_same_way_from_the_same_seed(folder: Path) -> None:
    description = suited(trees.random_tree(11, 120))
    for name in ("one", "two"):
        build(description, folder / name)
    before = describe(folder / "one")
    made = mutate(4, folder / "one", 40)
    assert len(made) == 40
    assert made == mutate(4, folder / "two", 40)
    changed, again = (describe(folder / name).without([b""]) for name in ("one", "two"))
    assert compare(before.without([b""]), changed) != []
    assert [line for line in compare(changed, again) if "mtime_ns" not in line] == []


def test_every_kind_of_mutation_occurs(folder: Path) -> None:
    build(suited(trees.random_tree(12, 100)), folder / "source")
    made = Counter(change.what for seed in range(6) for change in mutate(seed, folder / "source", 50))
    expected = {"edit_in_place", "edit_keeping_mtime", "append", "truncate", "replace_file", "replace_type", "rename"}
    expected |= {"move", "delete", "create", "chmod", "touch", "set_xattr", "remove_xattr", "add_link", "break_link"}
    assert set(made) == expected


def test_an_empty_tree_can_be_mutated(folder: Path) -> None:
    build(Description(()), folder / "source")
    made = mutate(0, folder / "source", 5)
    assert len(made) == 5
    assert made[0].what == "create"


def test_an_edit_that_keeps_the_time_is_seen_by_content_alone(folder: Path) -> None:
    build(Description(((b"file", File(Content(5000, 1))),)), folder / "source")
    before = describe(folder / "source")
    seed = next(seed for seed in range(1000) if _first(seed, folder / "source") == "edit_keeping_mtime")
    assert seed >= 0
    (line,) = compare(before, describe(folder / "source"))
    assert line.startswith("b'file': content: ")


def _first(seed: int, root: Path) -> str:
    """The first change a seed makes; the tree is built anew unless it is the wanted one."""
    (change,) = mutate(seed, root, 1)
    if change.what != "edit_keeping_mtime":
        with scratch_folder(root.parent) as aside:
            root.rename(aside / "old")
        build(Description(((b"file", File(Content(5000, 1))),)), root)
    return change.what
