"""A disk whose every write and flush is on a tape: one file served to the kernel, to be put under a loop device.

The kernel's FUSE protocol is spoken directly (include/uapi/linux/fuse.h, version 7.31), with one regular file as the
root of the mount. Without a write-back cache each write of the loop device arrives before it is answered, and a flush
of its queue arrives as FSYNC: the tape has them in the order in which a disk would have got them. A forced write (FUA)
is a write and a flush, for a loop device has no other.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from pathlib import Path

from msgspec import Struct

from tests.support.mounting import MountError, end_with_parent, mount_fuse, unmount_fuse

_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_RANGE = struct.Struct("<QQI")
_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_ATTRIBUTES = struct.Struct("<QII QQQQQQ IIIIIIIIII")
_OPEN_OUT = struct.Struct("<QII")
_STATISTICS = struct.Struct("<QQQQQIIII24x")
_RANGE_BYTES = 40
_ENTRY = struct.Struct("<QI")
_FLUSHED = (1 << 64) - 1
"""Stands on the tape in place of an offset."""
_POLL_S = 0.0005
_WRITE_MAX = 1 << 20
_ASYNC_READ, _BIG_WRITES, _MAX_PAGES = 1, 1 << 5, 1 << 22
_FOREVER_S = 1 << 20
_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC, _FLUSH, _INIT, _INTERRUPT, _DESTROY = (
    2, 3, 4, 14, 15, 16, 17, 18, 20, 25, 26, 36, 38)  # fmt: skip
_BATCH_FORGET = 42
_SILENT = frozenset({_FORGET, _INTERRUPT, _BATCH_FORGET})


class Write(Struct, frozen=True):
    """Bytes that a disk was told to write."""

    offset: int
    data: bytes


class Flush(Struct, frozen=True):
    """All that was written before is durable."""


Event = Write | Flush


class RecordedBlock:
    """The served file. The server is a process of its own: one that used what it serves could not even be killed."""

    def __init__(self, image: Path, served: Path) -> None:
        """Serve the content of `image` (kept up to date) as the file `served`; raises MountError.

        There must be no second thread yet.
        """
        self._served, self._events, self._read_bytes = served, list[Event](), 0
        served.touch()
        tape = served.with_suffix(".tape")
        self._tape = os.open(tape, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            kernel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise MountError(f"/dev/fuse does not open: {error.strerror}") from error
        mount_fuse(served, kernel)
        self._process = os.fork()
        if not self._process:
            end_with_parent()
            _Server(kernel, os.open(image, os.O_RDWR | os.O_CLOEXEC), self._tape).serve()
            os._exit(0)
        # The server's end has to be the end of the connection: whoever waits for an answer then gets an error.
        os.close(kernel)

    @property
    def events(self) -> list[Event]:
        """Everything that was answered so far; always the same list. Its length is a moment in the disk's life."""
        size_bytes = os.fstat(self._tape).st_size
        while self._read_bytes < size_bytes:
            offset, length = _ENTRY.unpack(os.pread(self._tape, _ENTRY.size, self._read_bytes))
            if self._read_bytes + _ENTRY.size + length > size_bytes:
                break
            data = os.pread(self._tape, length, self._read_bytes + _ENTRY.size)
            self._events.append(Flush() if offset == _FLUSHED else Write(offset, data))
            self._read_bytes += _ENTRY.size + length
        return self._events

    def wait_for(self, moment: int, wait_s: float = 60.0) -> None:
        """Wait until there were so many events; returns all the same when that takes too long."""
        until = time.monotonic() + wait_s
        while len(self.events) < moment and time.monotonic() < until:
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Stop serving; nothing may use the file any more."""
        unmount_fuse(self._served)
        os.waitpid(self._process, 0)
        assert self.events is self._events
        os.close(self._tape)


class _Server:
    """Answers the kernel until the file is unmounted. What is answered is on the tape before."""

    def __init__(self, kernel: int, image: int, tape: int) -> None:
        self._kernel, self._image, self._tape = kernel, image, tape
        self._size_bytes = os.fstat(image).st_size

    def serve(self) -> None:
        """Serve."""
        while True:
            try:
                message = os.read(self._kernel, _WRITE_MAX + 8192)
            except OSError as error:
                if error.errno == errno.EINTR:
                    continue
                return
            _, operation, unique, *_ = _IN.unpack_from(message)
            if operation in _SILENT:
                continue
            answer = self._answer(operation, memoryview(message)[_IN.size :])
            code, data = (0, answer) if answer is not None else (-errno.ENOSYS, b"")
            os.write(self._kernel, _OUT.pack(_OUT.size + len(data), code, unique) + data)

    def _answer(self, operation: int, body: memoryview) -> bytes | None:
        if operation == _WRITE:
            return self._write(body)
        if operation == _FSYNC:
            os.write(self._tape, _ENTRY.pack(_FLUSHED, 0))
            return b""
        if operation == _READ:
            _, offset, size = _RANGE.unpack_from(body)
            return os.pread(self._image, size, offset)
        if operation in (_GETATTR, _SETATTR):
            return self._attributes()
        return _FIXED.get(operation)

    def _write(self, body: memoryview) -> bytes:
        _, offset, size = _RANGE.unpack_from(body)
        data = bytes(body[_RANGE_BYTES : _RANGE_BYTES + size])
        os.pwrite(self._image, data, offset)
        os.write(self._tape, _ENTRY.pack(offset, len(data)) + data)
        return struct.pack("<II", size, 0)

    def _attributes(self) -> bytes:
        times = (0,) * 3
        return _ATTRIBUTES.pack(_FOREVER_S, 0, 0, 1, self._size_bytes, self._size_bytes // 512, *times, *times,
                                0o100600, 1, 0, 0, 0, 4096, 0)  # fmt: skip


_FIXED = {
    _INIT: _INIT_OUT.pack(7, 31, _WRITE_MAX, _ASYNC_READ | _BIG_WRITES | _MAX_PAGES, 16, 12, _WRITE_MAX, 1,
                          _WRITE_MAX >> 12, 0, 0),
    _OPEN: _OPEN_OUT.pack(1, 0, 0),
    _STATFS: _STATISTICS.pack(1, 1, 1, 1, 1, 4096, 255, 4096, 0),
    _RELEASE: b"",
    _FLUSH: b"",
    _DESTROY: b"",
}  # fmt: skip
"""Answers that are always the same. What is not known (attributes, discards) is refused: the kernel does without."""
