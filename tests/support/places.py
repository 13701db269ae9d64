"""Addresses of entries below a root that stay short however long the path is.

A path below a root may be longer than PATH_MAX, may hold any byte but NUL, and any folder on the way may be swapped
for a link. So each folder on the way is opened by itself without following links, and the entry is addressed through
its parent as ``/proc/self/fd/N/NAME`` (proc(5)), which every system call accepts, also those without an ``at`` form
(xattr(7)).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def folder_address(folder_fd: int) -> bytes:
    """The address of an open folder itself."""
    return b"/proc/self/fd/%d" % folder_fd


@contextmanager
def place(root: Path, path: bytes) -> Iterator[bytes]:
    """Give the address of ``path`` (relative to ``root``, ``b""`` for the root itself) while the block runs.

    The last component need not exist. OSError when a folder on the way is missing, closed to this user, or a link.
    """
    # The root too is addressed through its parent: its own mode may close what is below it, itself included.
    above, name = os.path.split(os.path.realpath(os.fsencode(root)))
    components = path.split(b"/") if path else [name or b"."]
    folder_fd = os.open(root if path else above, _FOLDER)
    try:
        for component in components[:-1]:
            next_fd = os.open(component, _FOLDER | os.O_NOFOLLOW, dir_fd=folder_fd)
            os.close(folder_fd)
            folder_fd = next_fd
        yield folder_address(folder_fd) + b"/" + components[-1]
    finally:
        os.close(folder_fd)


def children(address: bytes) -> list[bytes]:
    """The sorted names in the folder at ``address``; OSError when it cannot be listed."""
    return sorted(os.listdir(address))


def remove_tree(root: Path) -> None:
    """Remove ``root`` and all below it, also folders whose modes forbid it and paths longer than PATH_MAX."""
    _empty(os.fsencode(root))
    root.rmdir()


def _empty(address: bytes) -> None:
    os.chmod(address, 0o700)
    folder_fd = os.open(address, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(folder_address(folder_fd)) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        for name, is_folder in entries:
            child = folder_address(folder_fd) + b"/" + name
            if is_folder:
                _empty(child)
                os.rmdir(child)
            else:
                os.unlink(child)
    finally:
        os.close(folder_fd)
