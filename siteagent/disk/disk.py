"""What the store may ask of a file system. Paths are relative to the home, with `/` between components.

Nothing is durable before `FileWriter.sync` (content) and `Disk.sync_folder` (names) have returned. A failed write or
sync is final for its file: the caller discards the file and never syncs it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview


class FileWriter(Protocol):
    """A new file, open for appending."""

    def append(self, buffers: Sequence[Buffer]) -> int:
        """Write all buffers at the end; return the offset of the first byte. Short writes are continued."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Read back what was written (fewer bytes at the end of the file)."""

    def sync(self) -> None:
        """Make the content durable."""

    def close(self) -> None:
        """Close the file; harmless when called twice."""


class FileReader(Protocol):
    """An existing file, open for reading at any place by several threads."""

    size_bytes: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes at `offset`; fewer only at the end of the file."""

    def close(self) -> None:
        """Close the file; harmless when called twice."""


class Disk(Protocol):
    """The file system below one home."""

    def create(self, path: str) -> FileWriter:
        """Make a new file for writing; fails when the name exists."""

    def open(self, path: str) -> FileReader:
        """Open an existing file; raises FileNotFoundError when there is none."""

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, replacing what has that name."""

    def remove(self, path: str) -> None:
        """Remove a file; raises FileNotFoundError when there is none."""

    def make_folder(self, path: str) -> None:
        """Make a folder and its parents; harmless when it exists."""

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""

    def list(self, path: str) -> list[str]:
        """Names in a folder, sorted; empty when the folder does not exist."""

    def size(self, path: str) -> int | None:
        """Length of a file in bytes, or None when there is none."""

    def allocated(self, path: str) -> int:
        """Bytes that a file takes on the disk, holes not counted; 0 when there is none."""

    def punch(self, path: str, offset: int, length: int) -> bool:
        """Give the bytes of a range back to the file system; they read as zeros afterwards. False: it cannot."""

    def allocate(self, path: str, size_bytes: int) -> None:
        """Make a file of so many bytes that take their room on the disk; durable but for its name."""

    def free_bytes(self) -> int:
        """Bytes an ordinary writer may still use."""
