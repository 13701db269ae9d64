"""The real file system below one home."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator, Sequence

from shared.errors import DamagedError, ExhaustedError
from siteagent.disk.disk import Buffer

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PUNCH_KEEP_SIZE = 0x02 | 0x01
_IOV_MAX = 1000
_BLOCK_BYTES = 512
"""The unit of st_blocks, whatever the file system's own is."""


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn a failed write, sync or rename into the typed error that ends the job."""
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        raise write_error(error, path) from error


def write_error(error: OSError, path: str) -> ExhaustedError | DamagedError:
    """The typed error for a failed write to `path`."""
    if error.errno in _FULL:
        return ExhaustedError(
            f"no space left: {error.strerror}", subject=path,
            next_step="free space on the disk of the home, then run the command again; what was acknowledged is safe",
        )
    return DamagedError(
        f"the disk refused a write: {error.strerror}", subject=path,
        next_step="check the disk (dmesg, smartctl) and its permissions, then run the command again",
    )


class LocalWriter:
    """A new file on the real disk."""

    def __init__(self, path: str) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._handle = os.open(path, flags, 0o600)
        self._end = 0

    def append(self, buffers: Sequence[Buffer]) -> int:
        """Write all buffers at the end; return the offset of the first byte."""
        start = self._end
        rest = [memoryview(piece).cast("B") for piece in buffers if len(piece)]
        with writing(self._path):
            while rest:
                done = os.pwritev(self._handle, rest[:_IOV_MAX], self._end)
                if done <= 0:
                    raise OSError(errno.EIO, "a write made no progress")
                self._end += done
                while rest and done >= len(rest[0]):
                    done -= len(rest.pop(0))
                if done:
                    rest[0] = rest[0][done:]
        return start

    def allocate(self, size_bytes: int) -> None:
        """Take so many bytes of room; they read as zeros."""
        with writing(self._path):
            os.posix_fallocate(self._handle, 0, size_bytes)

    def read_at(self, offset: int, length: int) -> bytes:
        """Read back what was written."""
        return _read_fully(self._handle, self._path, offset, length)

    def sync(self) -> None:
        """Make the content durable."""
        with writing(self._path):
            os.fsync(self._handle)

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            with writing(self._path):
                os.close(handle)


class LocalReader:
    """An existing file on the real disk."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle = -1
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        self.size_bytes = os.fstat(self._handle).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes at `offset`."""
        # An index that lies may ask for gigabytes, or for a place that no file can have.
        length = min(length, self.size_bytes - offset)
        return _read_fully(self._handle, self._path, offset, length) if length > 0 else b""

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def __del__(self) -> None:
        self.close()


class LocalDisk:
    """The folder of a home on the real disk."""

    def __init__(self, root: str) -> None:
        self.root = root

    def create(self, path: str) -> LocalWriter:
        """Make a new file for writing."""
        with writing(self._absolute(path)):
            return LocalWriter(self._absolute(path))

    def open(self, path: str) -> LocalReader:
        """Open an existing file."""
        return LocalReader(self._absolute(path))

    def rename(self, source: str, target: str) -> None:
        """Give a file another name."""
        with writing(self._absolute(target)):
            os.rename(self._absolute(source), self._absolute(target))

    def remove(self, path: str) -> None:
        """Remove a file."""
        with writing(self._absolute(path)):
            os.unlink(self._absolute(path))

    def make_folder(self, path: str) -> None:
        """Make a folder and its parents, closed to other users."""
        with writing(self._absolute(path)):
            os.makedirs(self._absolute(path), mode=0o700, exist_ok=True)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        with writing(self._absolute(path)):
            handle = os.open(self._absolute(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def list(self, path: str) -> list[str]:
        """Names in a folder, sorted."""
        try:
            return sorted(os.listdir(self._absolute(path)))
        except FileNotFoundError:
            return []

    def size(self, path: str) -> int | None:
        """Length of a file in bytes, or None."""
        try:
            return os.stat(self._absolute(path), follow_symlinks=False).st_size
        except FileNotFoundError:
            return None

    def allocated(self, path: str) -> int:
        """Bytes that a file takes on the disk."""
        try:
            return os.stat(self._absolute(path), follow_symlinks=False).st_blocks * _BLOCK_BYTES
        except FileNotFoundError:
            return 0

    def punch(self, path: str, offset: int, length: int) -> bool:
        """Give a range back to the file system; False where the file system cannot."""
        handle = os.open(self._absolute(path), os.O_RDWR | os.O_CLOEXEC)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            result = libc.fallocate(handle, _PUNCH_KEEP_SIZE, ctypes.c_longlong(offset), ctypes.c_longlong(length))
            if result and ctypes.get_errno() not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise write_error(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())), path)
            return not result
        finally:
            os.close(handle)

    def allocate(self, path: str, size_bytes: int) -> None:
        """Make a file that takes its room at once."""
        writer = self.create(path)
        try:
            writer.allocate(size_bytes)
            writer.sync()
        finally:
            writer.close()

    def free_bytes(self) -> int:
        """Bytes an ordinary writer may still use."""
        figures = os.statvfs(self.root)
        return figures.f_bavail * figures.f_frsize

    def _absolute(self, path: str) -> str:
        return os.path.join(self.root, path) if path else self.root


def _read_fully(handle: int, path: str, offset: int, length: int) -> bytes:
    try:
        data = os.pread(handle, length, offset)
        while len(data) < length:
            more = os.pread(handle, length - len(data), offset + len(data))
            if not more:
                break
            data += more
    except OSError as error:
        raise DamagedError(f"the disk cannot read: {error.strerror}", subject=path,
                           next_step="run `farkeep verify` and check the disk") from error
    return data
