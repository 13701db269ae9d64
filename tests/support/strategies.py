"""Hypothesis strategies for descriptions of hostile trees. Small values shrink to a plain empty folder."""

from collections.abc import Iterator

from hypothesis import strategies as st

from tests.support import oddities, trees
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

_Draft = tuple[int, bytes, Node | None]  # a number that picks the parent, a name, a node or None for a hard link


def names() -> st.SearchStrategy[bytes]:
    """Names of 1 to 255 bytes: plain ones, known traps, any bytes but ``/`` and NUL."""
    any_bytes = st.binary(min_size=1, max_size=255).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0"))
    usable = any_bytes.filter(lambda name: name not in (b".", b".."))
    plain = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
    return st.one_of(plain, st.sampled_from((*oddities.NAMES, *oddities.SORT_TRAPS)), usable)


def contents() -> st.SearchStrategy[Content]:
    """File contents up to 6 MiB, few seeds so that duplicates occur."""
    sizes = st.one_of(st.sampled_from((*oddities.SMALL_SIZES, *oddities.EDGE_SIZES)), st.integers(0, 300_000))
    whole = st.builds(Content, sizes, st.integers(0, 3), st.sampled_from(Fill))
    return st.one_of(whole, sparse_contents(), st.sampled_from(oddities.SPARSE))


def sparse_contents() -> st.SearchStrategy[Content]:
    """Files of alternating holes and data, of any alignment."""
    lengths = st.one_of(st.sampled_from([1, 4096, 65_536, 131_072]), st.integers(1, 400_000))
    return st.builds(_sparse, st.lists(st.tuples(lengths, lengths), max_size=6), lengths, st.integers(0, 3))


def _sparse(pairs: list[tuple[int, int]], tail: int, seed: int) -> Content:
    position = 0
    extents = []
    for hole, data in pairs:
        extents.append((position + hole, data))
        position += hole + data
    return Content(position + tail, seed, extents=tuple(extents))


def times_ns() -> st.SearchStrategy[int]:
    """Modification times from 1901 to 2446 in nanoseconds, what ext4 keeps."""
    return st.one_of(st.sampled_from(oddities.TIMES_NS), st.integers(-(2**31) * 10**9, 15_032_385_535 * 10**9))


def xattr_values() -> st.SearchStrategy[bytes]:
    """Binary values up to 2 KiB."""
    return st.one_of(st.binary(max_size=64), st.sampled_from([value for _, value in oddities.USER_XATTRS]))


def user_xattrs() -> st.SearchStrategy[tuple[bytes, bytes]]:
    """One attribute in the ``user`` namespace."""
    known = [name for name, _ in oddities.USER_XATTRS]
    any_name = st.binary(min_size=1, max_size=60).map(lambda raw: b"user." + raw.replace(b"\0", b"0"))
    return st.tuples(st.one_of(st.sampled_from(known), any_name), xattr_values())


def metadata(*, is_folder: bool = False, has_user_xattrs: bool = True) -> st.SearchStrategy[Metadata]:
    """Modes, times, owners and attributes; ``user`` attributes and ACLs only where Linux allows them."""
    special = [oddities.TRUSTED_XATTR]
    if has_user_xattrs:
        special += [*trees.FILE_ACLS, oddities.DEFAULT_ACL if is_folder else oddities.CAPABILITY_XATTR]
    one = st.one_of(user_xattrs(), st.sampled_from(special)) if has_user_xattrs else st.sampled_from(special)
    plain_mode = 0o755 if is_folder else 0o644
    return st.builds(
        Metadata,
        mode=st.one_of(st.just(plain_mode), st.sampled_from(oddities.MODES), st.integers(0, 0o7777)),
        mtime_ns=times_ns(),
        owner=st.one_of(st.none(), st.sampled_from(oddities.OWNERS)),
        xattrs=st.lists(one, max_size=3, unique_by=lambda pair: pair[0]).map(tuple),
    )


def targets() -> st.SearchStrategy[bytes]:
    """Targets of symbolic links: traps, names that may exist, any bytes but NUL."""
    any_bytes = st.binary(min_size=1, max_size=300).map(lambda raw: raw.replace(b"\0", b"0"))
    return st.one_of(names(), st.sampled_from(oddities.TARGETS), any_bytes)


def nodes() -> st.SearchStrategy[Node]:
    """Any node but a hard link."""
    bare = metadata(has_user_xattrs=False)
    folder = st.builds(Folder, metadata(is_folder=True))
    file = st.builds(File, contents(), metadata())
    symlink = st.builds(Symlink, targets(), bare)
    device = st.builds(_device, st.sampled_from(oddities.DEVICES), bare)
    # What stands more often is drawn more often.
    kinds = (folder, file, symlink, folder, file, file, st.builds(Fifo, bare), st.builds(Socket, bare), device)
    return st.integers(0, len(kinds) - 1).flatmap(lambda number: kinds[number])


def _device(numbers: tuple[bool, int, int], values: Metadata) -> Device:
    is_block, major, minor = numbers
    return Device(is_block, major, minor, values)


def descriptions(*, max_entries: int = 25, is_ordinary: bool = False) -> st.SearchStrategy[Description]:
    """Whole trees; ``is_ordinary`` leaves out what only root can make or read."""
    draft = st.tuples(st.integers(0, 1000), names(), st.one_of(nodes(), nodes(), nodes(), st.none()))
    # Lists alone are mostly drawn short, so their length is drawn first.
    drafts = st.integers(0, max_entries).flatmap(lambda count: st.lists(draft, min_size=count, max_size=count))
    drawn = st.builds(_assembled, drafts, metadata(is_folder=True))
    special = st.sampled_from([trees.deep_folders(60), trees.wide_folder(200)])
    # Chosen by the last number, so that failures shrink away from the big shapes.
    of_any_shape = st.integers(0, 29).flatmap(lambda number: special if number == 29 else drawn)
    return of_any_shape.map(for_ordinary_user) if is_ordinary else of_any_shape


def _assembled(drafts: list[_Draft], root: Metadata) -> Description:
    return Description(tuple(_placed(drafts)), root)


def _placed(drafts: list[_Draft]) -> Iterator[tuple[bytes, Node]]:
    folders = [b""]
    linkable: list[bytes] = []
    taken = set()
    for number, name, drawn in drafts:
        parent = folders[number % len(folders)]
        path = parent + b"/" + name if parent else name
        if path in taken or len(path) > trees.LONGEST_PATH_BYTES or (drawn is None and not linkable):
            continue
        node = HardLink(linkable[number % len(linkable)]) if drawn is None else drawn
        taken.add(path)
        if isinstance(node, Folder):
            folders.append(path)
        elif not isinstance(node, HardLink):
            linkable.append(path)
        yield path, node
