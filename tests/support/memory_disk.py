"""A disk of whole files in memory, for reading: what decoders that read a file by name are fed through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from siteagent.disk.disk import Disk
from tests.support.stores import MemoryPack


class MemoryDisk:
    """The files handed in; nothing can be written."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def open(self, path: str) -> MemoryPack:
        """A file; raises FileNotFoundError."""
        if path not in self._files:
            raise FileNotFoundError(path)
        return MemoryPack(bytearray(self._files[path]))

    def list(self, path: str) -> list[str]:
        """Names in a folder."""
        return sorted(name.rpartition("/")[2] for name in self._files if name.rpartition("/")[0] == path)

    def size(self, path: str) -> int | None:
        """Length of a file."""
        return len(self._files[path]) if path in self._files else None

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a decoder calls {name} of its disk")


def memory_disk(files: Mapping[str, bytes]) -> Disk:
    """A disk with these files, as the product sees it."""
    return cast(Disk, MemoryDisk(files))
