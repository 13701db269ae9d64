"""The roots of a backup, merged into one tree of path components so that nested roots are walked once."""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import Struct, field

from shared.errors import RefusedError


class Node(Struct):
    """A folder on the way to a root, or a root itself (`root`: its absolute path)."""

    root: bytes | None = None
    children: dict[bytes, Node] = field(default_factory=dict)

    def roots(self) -> Iterator[bytes]:
        """The roots here and below."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.root is not None:
                yield node.root
            waiting += node.children.values()


def absolute_root(path: bytes, working_folder: bytes) -> bytes:
    """The absolute path a root is recorded under: links in it are kept, `.` and `..` are not.

    A path with `..` is resolved by the file system, since what `..` means depends on links.
    """
    joined = os.path.join(working_folder, path)
    if b".." in joined.split(b"/"):
        joined = os.path.join(os.path.realpath(os.path.dirname(joined)), os.path.basename(joined))
        if os.path.basename(joined) == b"..":
            joined = os.path.realpath(joined)
    return b"/" + os.path.normpath(joined).lstrip(b"/")


def merge_roots(paths: list[bytes], working_folder: bytes) -> tuple[Node, list[bytes]]:
    """The tree of all roots, and the roots as absolute paths, sorted, each once.

    Raises RefusedError for a root that does not exist.
    """
    top = Node()
    roots = sorted({absolute_root(path, working_folder) for path in paths})
    for root in roots:
        if not os.path.lexists(root):
            raise RefusedError("there is nothing at this path", subject=os.fsdecode(root),
                               next_step="check the spelling; paths are taken relative to the current folder")
        node = top
        for component in root.strip(b"/").split(b"/"):
            if component:
                node = node.children.setdefault(component, Node())
        node.root = root
    return top, roots
