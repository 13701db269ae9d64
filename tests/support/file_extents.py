"""Which blocks of a disk belong to which part of a home: asked of the file system (FS_IOC_FIEMAP, linux/fiemap.h)."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_FIEMAP = 0xC020660B
_HEAD = struct.Struct("<QQIIII")
_EXTENT = struct.Struct("<QQQ16xI12x")
_EXTENTS_MAX = 256
_HAS_NO_PLACE = 0x0006
"""FIEMAP_EXTENT_UNKNOWN and FIEMAP_EXTENT_DELALLOC: not written back yet."""
BLOCK_BYTES = 4096


def blocks_by_part(home: Path) -> dict[int, str]:
    """The first component below the home (`log`, `index`, `packs` ...) for every block that a file of it holds now."""
    found: dict[int, str] = {}
    for above, _, files in os.walk(home):
        part = os.path.relpath(above, home).split(os.sep)[0]
        for name in files:
            found.update(dict.fromkeys(_blocks(os.path.join(above, name)), part))
    return found


def _blocks(path: str) -> Iterator[int]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        request = bytearray(_HEAD.size + _EXTENTS_MAX * _EXTENT.size)
        _HEAD.pack_into(request, 0, 0, (1 << 64) - 1, 0, 0, _EXTENTS_MAX, 0)
        fcntl.ioctl(handle, _FIEMAP, request)
    finally:
        os.close(handle)
    for place in range(_HEAD.unpack_from(request)[3]):
        _, physical, length, flags = _EXTENT.unpack_from(request, _HEAD.size + place * _EXTENT.size)
        if not flags & _HAS_NO_PLACE:
            yield from range(physical // BLOCK_BYTES, (physical + length) // BLOCK_BYTES)
