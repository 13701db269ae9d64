"""Compares a restored tree with its source, in both directions."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 1 << 20
DIFFERENCES_MAX = 5


def differences(source: Path, restored: Path) -> list[str]:
    """Return what differs, at most 5 lines: entries on one side only, types, link targets, modes, times and contents.

    Times and modes are compared for regular files; a folder's own time may change while it is read and restored.
    """
    found: list[str] = []
    for line in _folder_differences(str(source), str(restored)):
        found.append(line)
        if len(found) >= DIFFERENCES_MAX:
            break
    return found


def _folder_differences(source: str, restored: str) -> Iterator[str]:
    if not os.path.isdir(restored):
        yield f"{restored}: missing"
        return
    wanted, found = set(os.listdir(source)), set(os.listdir(restored))
    for name in sorted(wanted ^ found):
        yield f"{os.path.join(source, name)}: {'missing' if name in wanted else 'unexpected'} in the restored tree"
    for name in sorted(wanted & found):
        yield from _entry_differences(os.path.join(source, name), os.path.join(restored, name))


def _entry_differences(source: str, restored: str) -> Iterator[str]:
    wanted, found = os.lstat(source), os.lstat(restored)
    if stat.S_IFMT(wanted.st_mode) != stat.S_IFMT(found.st_mode):
        yield f"{source}: another type"
    elif stat.S_ISDIR(wanted.st_mode):
        yield from _folder_differences(source, restored)
    elif stat.S_ISLNK(wanted.st_mode):
        if os.readlink(source) != os.readlink(restored):
            yield f"{source}: another link target"
    elif wanted.st_size != found.st_size or not _is_same_content(source, restored, wanted.st_size):
        yield f"{source}: another content"
    elif wanted.st_mode != found.st_mode or wanted.st_mtime_ns != found.st_mtime_ns:
        yield f"{source}: another mode or time"


def _is_same_content(source: str, restored: str, size_bytes: int) -> bool:
    """Say whether two regular files of one size hold the same bytes."""
    block_bytes = min(BLOCK_BYTES, size_bytes + 1)
    with open(source, "rb", buffering=0) as left, open(restored, "rb", buffering=0) as right:
        while True:
            wanted, found = left.read(block_bytes), right.read(block_bytes)
            if wanted != found:
                return False
            if not wanted:
                return True
