"""The shape of trees: types and marks of entries, and the keys that order them.

Keys order a catalog: (folder as components, name), compared component-wise as raw bytes. As one byte string a key is
the folder's components joined by 0x00, then 0x00 0x00, then the name; within components 0x00 is written 01 01 and
0x01 is written 01 02, which keeps the order. So all entries of a folder are adjacent and the contents of its
subfolders follow. The root of all folders is the entry with an empty folder and an empty name.
"""

from __future__ import annotations

FILE, FOLDER, LINK, FIFO, CHARACTER_DEVICE, BLOCK_DEVICE = 1, 2, 3, 4, 5, 6
TYPE_NAMES = {FILE: "file", FOLDER: "folder", LINK: "link", FIFO: "fifo",
              CHARACTER_DEVICE: "character-device", BLOCK_DEVICE: "block-device"}  # fmt: skip

RACY = 1
"""Captured too soon after its last change for equal times to prove that it is unchanged; it is read again."""
CHANGED = 2
"""It changed during every attempt to read it."""
UNREADABLE = 4
"""Its content could not be read: it is not in the snapshot."""
ANCESTOR = 8
"""A folder that is here only because a root lies below it."""

FOLDER_KEY_MAX_BYTES = 32 << 10
"""A folder whose key is longer is not entered when it is backed up; no page names one."""

HOLE = bytes(32)
"""The chunk id that stands for a stretch of the file that holds no data."""


def escaped(component: bytes) -> bytes:
    """A component as it is written in keys."""
    if 0 in component or 1 in component:
        return component.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1")
    return component


def unescaped(component: bytes) -> bytes:
    """The component that was written in a key."""
    return component.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1") if 1 in component else component


def key_of(folder: bytes, name: bytes) -> bytes:
    """The key of an entry."""
    return folder + b"\0\0" + escaped(name)


def keys_in(folder: bytes) -> tuple[bytes, bytes]:
    """The keys of a folder's entries: the smallest there may be, and one that all are smaller than."""
    return folder + b"\0\0", folder + b"\0\1"


def keys_below(folder: bytes) -> tuple[bytes, bytes]:
    """The same for all that lies below a folder; an empty end is none."""
    return folder + b"\0\0", folder + b"\1" if folder else b""


def child_folder(folder: bytes, name: bytes) -> bytes:
    """The folder key of a subfolder; the folder named by the root entry is the empty key."""
    if not name:
        return folder
    return folder + b"\0" + escaped(name) if folder else escaped(name)


def folder_key(components: list[bytes]) -> bytes:
    """The folder key of a list of components."""
    return b"\0".join(map(escaped, components))


def components_of(folder: bytes) -> list[bytes]:
    """The components of a folder key."""
    return [unescaped(part) for part in folder.split(b"\0")] if folder else []


def path_of(folder: bytes, name: bytes) -> bytes:
    """Absolute path of an entry, raw bytes."""
    return b"/" + b"/".join([part for part in [*components_of(folder), name] if part])
