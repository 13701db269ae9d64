"""Descriptions of hostile trees made without Hypothesis: random ones from a seed, and fixed ones of a special shape."""

import random
from dataclasses import replace

from tests.support import oddities
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
)

LONGEST_PATH_BYTES = 2500
FILE_ACLS = (oddities.ACCESS_ACL, oddities.MASKED_ACL, oddities.LONG_ACL)


def random_tree(seed: int, entries: int) -> Description:
    """A tree of exactly ``entries`` entries below its root: a pure function of its arguments on every machine.

    Paths stay short enough for tools that use whole paths. About 70 KB of content per entry.
    """
    return _Grower(random.Random(seed)).grow(entries)


class _Grower:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._nodes: dict[bytes, Node] = {}
        self._folders = [b""]
        self._linkable: list[bytes] = []
        self._contents: list[Content] = []

    def grow(self, entries: int) -> Description:
        makers = (self._file, self._folder, self._symlink, self._hard_link, self._special)
        while len(self._nodes) < entries:
            path = self._free_path()
            node = self._rng.choices(makers, weights=(55, 18, 12, 10, 5))[0]()
            self._nodes[path] = node
            if isinstance(node, Folder):
                self._folders.append(path)
            elif not isinstance(node, HardLink):
                self._linkable.append(path)
        return Description(tuple(self._nodes.items()), self._metadata(is_folder=True))

    def _free_path(self) -> bytes:
        while True:
            parent = self._rng.choice(self._folders if self._rng.random() < 0.7 else self._folders[-3:])
            if len(parent) > LONGEST_PATH_BYTES:
                parent = b""
            path = parent + b"/" + self._name() if parent else self._name()
            if path not in self._nodes:
                return path

    def _name(self) -> bytes:
        kind = self._rng.random()
        if kind < 0.4:
            return self._rng.choice(oddities.NAMES)
        if kind < 0.5:
            return self._rng.choice(oddities.SORT_TRAPS)
        if kind < 0.65:
            raw = self._rng.randbytes(self._rng.randint(1, 40)).replace(b"/", b"_").replace(b"\0", b"0")
            return raw if raw not in (b".", b"..") else b"dots"
        return b"entry %d" % self._rng.randrange(100_000)

    def _metadata(self, *, is_folder: bool) -> Metadata:
        rng = self._rng
        metadata = Metadata(
            mode=rng.choice(oddities.MODES) if rng.random() < 0.5 else 0o755 if is_folder else 0o644,
            mtime_ns=rng.choice(oddities.TIMES_NS)
            if rng.random() < 0.5
            else rng.randrange(-(2**31), 2**32) * 10**9 + 7,
            owner=rng.choice(oddities.OWNERS) if rng.random() < 0.4 else None,
        )
        if rng.random() < 0.75:
            return metadata
        available = [*oddities.USER_XATTRS, oddities.TRUSTED_XATTR, rng.choice(FILE_ACLS)]
        available.append(oddities.DEFAULT_ACL if is_folder else oddities.CAPABILITY_XATTR)
        return replace(metadata, xattrs=tuple(rng.sample(available, rng.randint(1, 3))))

    def _bare_metadata(self) -> Metadata:
        xattrs = (oddities.TRUSTED_XATTR,) if self._rng.random() < 0.1 else ()
        return replace(self._metadata(is_folder=False), xattrs=xattrs)

    def _file(self) -> Node:
        return File(self._content(), self._metadata(is_folder=False))

    def _content(self) -> Content:
        rng = self._rng
        kind = rng.random()
        if kind < 0.25 and self._contents:
            return rng.choice(self._contents)
        if kind < 0.33:
            content = rng.choice(oddities.SPARSE)
        elif kind < 0.5:
            content = Content(rng.choice(oddities.EDGE_SIZES), rng.randrange(2**32), rng.choice(tuple(Fill)))
        elif kind < 0.75:
            content = Content(rng.choice(oddities.SMALL_SIZES), rng.randrange(2**32), rng.choice(tuple(Fill)))
        else:
            content = Content(rng.randint(0, 40_000), rng.randrange(2**32), rng.choice((Fill.RANDOM, Fill.TEXT)))
        self._contents.append(content)
        return content

    def _folder(self) -> Node:
        return Folder(self._metadata(is_folder=True))

    def _symlink(self) -> Node:
        known = self._rng.random() < 0.4 and self._nodes
        target = self._rng.choice(list(self._nodes)) if known else self._rng.choice(oddities.TARGETS)
        return Symlink(target, self._bare_metadata())

    def _hard_link(self) -> Node:
        return HardLink(self._rng.choice(self._linkable)) if self._linkable else self._file()

    def _special(self) -> Node:
        kind = self._rng.randrange(4)
        if kind == 0:
            return Device(*self._rng.choice(oddities.DEVICES), self._bare_metadata())
        return Socket(self._bare_metadata()) if kind == 1 else Fifo(self._bare_metadata())


def zoo() -> Description:
    """One fixed tree with every oddity at least once: the first to try, and complete where random trees are not."""
    entries: list[tuple[bytes, Node]] = [
        *_group(b"names", [(name, File(Content(place))) for place, name in enumerate(oddities.NAMES)]),
        *_group(b"sorting", [(name, Folder()) for name in oddities.SORT_TRAPS]),
        *((b"sorting/%s/inside" % name, File(Content(1))) for name in oddities.SORT_TRAPS),
        *_group(b"file modes", [(b"%04o" % mode, File(Content(9), Metadata(mode))) for mode in oddities.MODES]),
        *_group(b"folder modes", [(b"%04o" % mode, Folder(Metadata(mode))) for mode in oddities.MODES]),
        *((b"folder modes/%04o/inside" % mode, File(Content(8))) for mode in oddities.MODES),
        *_group(b"times", [(b"%d" % time_ns, _dated(time_ns)) for time_ns in oddities.TIMES_NS]),
        *_group(b"sizes", _sized_files()),
        *_group(b"duplicates", [(b"copy %d" % place, File(Content(150_000, 77))) for place in range(3)]),
        *_group(b"sparse", [(b"%d" % place, File(content)) for place, content in enumerate(oddities.SPARSE)]),
        *_group(b"links", [(b"%d" % place, Symlink(target)) for place, target in enumerate(oddities.TARGETS)]),
        *_looping_links(),
        *_group(b"owners", [(b"%d" % place, _owned(place)) for place in range(len(oddities.OWNERS))]),
        *_special_nodes(),
        *_attributed(),
        *_hard_links(),
        (b"empty", Folder()),
    ]
    return Description(tuple(entries), Metadata(0o2770, mtime_ns=-5))


def wide_folder(count: int = 3000) -> Description:
    """One folder of ``count`` entries, mostly small files."""
    makers = (lambda place: File(Content(place % 300, place % 50)), lambda _: Folder(), lambda _: Symlink(b"0000"))
    nodes = ((b"wide/%04d" % place, makers[(place % 10 == 8) + 2 * (place % 10 == 9)](place)) for place in range(count))
    return Description(((b"wide", Folder()), *nodes))


def deep_folders(levels: int = 60) -> Description:
    """Folders nested ``levels`` deep with a file in each."""
    return _nested([b"level %d" % level for level in range(levels)])


def beyond_path_max(levels: int = 20) -> Description:
    """Nested folders with names of 255 bytes: no system call takes their whole paths (5 KB), ``cp -a`` fails."""
    return _nested([b"%02d" % level + b"n" * 253 for level in range(levels)])


def _nested(names: list[bytes]) -> Description:
    entries: list[tuple[bytes, Node]] = []
    for level, _ in enumerate(names):
        folder = b"/".join(names[: level + 1])
        entries.append((folder, Folder(Metadata(0o755, mtime_ns=level * 10**9))))
        entries.append((folder + b"/file", File(Content(level * 100, level))))
    return Description(tuple(entries))


def _group(folder: bytes, children: list[tuple[bytes, Node]]) -> list[tuple[bytes, Node]]:
    return [(folder, Folder()), *((folder + b"/" + name, node) for name, node in children)]


def _dated(time_ns: int) -> Node:
    dated = Metadata(0o755, mtime_ns=time_ns)
    return (Folder(dated), File(Content(3), dated), Symlink(b"nowhere", dated), Fifo(dated))[time_ns % 4]


def _owned(place: int) -> Node:
    owned = Metadata(0o6755, owner=oddities.OWNERS[place])
    return (Folder(owned), File(Content(3), owned), Symlink(b"nowhere", owned))[place % 3]


def _sized_files() -> list[tuple[bytes, Node]]:
    fills = tuple(Fill)
    sizes = (*oddities.SMALL_SIZES, *oddities.EDGE_SIZES)
    return [(b"%d" % size, File(Content(size, size, fills[place % 3]))) for place, size in enumerate(sizes)]


def _looping_links() -> list[tuple[bytes, Node]]:
    names = {b"self": b"self", b"ping": b"pong", b"pong": b"ping", b"up": b"../loops", b"below": b"up/up/up/missing"}
    return _group(b"loops", [(name, Symlink(target)) for name, target in names.items()])


def _special_nodes() -> list[tuple[bytes, Node]]:
    devices: list[tuple[bytes, Node]] = [
        (b"device %d" % place, Device(*device, Metadata(0o620, owner=(0, 5))))
        for place, device in enumerate(oddities.DEVICES)
    ]
    return _group(b"special", [(b"fifo", Fifo(Metadata(0o1622))), (b"socket", Socket()), *devices])


def _attributed() -> list[tuple[bytes, Node]]:
    short = [(name, value) for name, value in oddities.USER_XATTRS if len(value) < 1000]
    lone = [(name, value) for name, value in oddities.USER_XATTRS if len(value) >= 1000]
    children: list[tuple[bytes, Node]] = [
        (b"many", File(Content(5), Metadata(xattrs=tuple(short)))),
        (b"folder", Folder(Metadata(0o755, xattrs=(*short[:2], oddities.ACCESS_ACL, oddities.DEFAULT_ACL)))),
        (b"folder/child", File(Content(5))),
        (b"trusted", File(Content(5), Metadata(xattrs=(oddities.TRUSTED_XATTR,)))),
        (b"trusted link", Symlink(b"many", Metadata(xattrs=(oddities.TRUSTED_XATTR,)))),
        (b"capable", File(Content(5), Metadata(0o755, owner=(1000, 1000), xattrs=(oddities.CAPABILITY_XATTR,)))),
        (b"read only", File(Content(5), Metadata(0o400, xattrs=(short[1],)))),
        *((b"long %d" % place, File(Content(5), Metadata(xattrs=(pair,)))) for place, pair in enumerate(lone)),
        *((b"acl %d" % place, File(Content(5), Metadata(0o750, xattrs=(acl,)))) for place, acl in enumerate(FILE_ACLS)),
    ]
    return _group(b"attributes", children)


def _hard_links() -> list[tuple[bytes, Node]]:
    return [
        *_group(
            b"linked one", [(b"first", File(Content(200_000, 5), Metadata(0o640, xattrs=oddities.USER_XATTRS[:1])))]
        ),
        *_group(b"linked two", [(b"second", HardLink(b"linked one/first")), (b"empty", File())]),
        (b"linked one/third", HardLink(b"linked one/first")),
        (b"linked one/empty again", HardLink(b"linked two/empty")),
        (b"linked two/symlink", Symlink(b"empty")),
        (b"linked two/symlink again", HardLink(b"linked two/symlink")),
        (b"linked two/fifo", Fifo()),
        (b"linked one/fifo again", HardLink(b"linked two/fifo")),
    ]
