"""What a tree on disk should hold, as plain values: made by the generators, turned into files by ``build``.

A description is a flat list, parents before children, so that hard links can point anywhere earlier.
"""

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

PRIVILEGED_XATTRS = (b"trusted.", b"security.")

_TEXT_WORDS = [b"alpha ", b"bravo ", b"charlie\n", b"delta\t", b"echo ", b"0123456789 ", b'{"key": 1}\n', b"the "]


@dataclass(frozen=True)
class Metadata:
    """Permission bits, modification time, owner ``(uid, gid)`` or None for the builder's own, raw xattrs with ACLs."""

    mode: int = 0o644
    mtime_ns: int = 1_700_000_000_123_456_789
    owner: tuple[int, int] | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Fill(enum.Enum):
    """What the data of a file looks like; ZEROS are written, so they occupy blocks and are no hole."""

    RANDOM = "random"
    TEXT = "text"
    ZEROS = "zeros"


@dataclass(frozen=True)
class Content:
    """Bytes that follow from these few values alone: equal contents are duplicates.

    ``extents`` are ``(offset, length)`` pairs of data within ``size_bytes``, the rest is hole; None: all is data.
    """

    size_bytes: int
    seed: int = 0
    fill: Fill = Fill.RANDOM
    extents: tuple[tuple[int, int], ...] | None = None

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """The data to write as ``(offset, bytes)``."""
        extents = ((0, self.size_bytes),) if self.extents is None else self.extents
        source = random.Random(self.seed)
        for offset, length in extents:
            yield offset, _data(source, self.fill, length)


def _data(source: random.Random, fill: Fill, length: int) -> bytes:
    if fill is Fill.ZEROS:
        return bytes(length)
    if fill is Fill.RANDOM:
        return source.randbytes(length)
    return b"".join(source.choices(_TEXT_WORDS, k=length // 4 + 1))[:length]


@dataclass(frozen=True)
class Folder:
    """A folder; its children are entries of their own."""

    metadata: Metadata = field(default_factory=lambda: Metadata(mode=0o755))


@dataclass(frozen=True)
class File:
    """A regular file."""

    content: Content = field(default_factory=lambda: Content(0))
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class Symlink:
    """A symbolic link; its mode is always 0777."""

    target: bytes
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class Fifo:
    """A named pipe."""

    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class Device:
    """A device node, never opened by the tests."""

    is_block: bool
    major: int
    minor: int
    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class Socket:
    """A socket's node without a listener."""

    metadata: Metadata = field(default_factory=Metadata)


@dataclass(frozen=True)
class HardLink:
    """One more name for an earlier entry (its path below the root) that is neither folder nor hard link."""

    path: bytes


Node = Folder | File | Symlink | Fifo | Device | Socket | HardLink


@dataclass(frozen=True)
class Description:
    """A tree: ``(path below the root, node)`` with parents first, and the root's own metadata.

    ValueError when an entry has no parent, is named twice or impossibly, or links to what cannot be linked.
    """

    entries: tuple[tuple[bytes, Node], ...]
    root: Metadata = field(default_factory=lambda: Metadata(mode=0o755))

    def __post_init__(self) -> None:
        known: dict[bytes, Node] = {b"": Folder()}
        for path, node in self.entries:
            parent, _, name = path.rpartition(b"/")
            if path in known or not isinstance(known.get(parent), Folder):
                raise ValueError(f"{path!r} is named twice or has no parent folder before it")
            if name in (b"", b".", b"..") or b"\0" in name or len(name) > 255:
                raise ValueError(f"{name!r} cannot be a name")
            if isinstance(node, HardLink) and isinstance(known.get(node.path), Folder | HardLink | None):
                raise ValueError(f"{path!r} links to {node.path!r}, which is no earlier entry that can be linked")
            known[path] = node


def for_ordinary_user(description: Description) -> Description:
    """The same tree without what only root can make or read: devices, owners, trusted xattrs, unreadable modes."""
    entries: list[tuple[bytes, Node]] = []
    devices = {path for path, node in description.entries if isinstance(node, Device)}
    for path, node in description.entries:
        if path in devices or (isinstance(node, HardLink) and node.path in devices):
            continue
        if isinstance(node, HardLink):
            entries.append((path, node))
        else:
            needed_mode = 0o500 if isinstance(node, Folder) else 0o400
            entries.append((path, replace(node, metadata=_unprivileged(node.metadata, needed_mode))))
    return Description(tuple(entries), _unprivileged(description.root, 0o500))


def _unprivileged(metadata: Metadata, needed_mode: int) -> Metadata:
    xattrs = tuple((name, value) for name, value in metadata.xattrs if not name.startswith(PRIVILEGED_XATTRS))
    return replace(metadata, mode=metadata.mode | needed_mode, owner=None, xattrs=xattrs)
