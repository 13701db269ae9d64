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
import threading
from pathlib import Path

from msgspec import Struct

from tests.support.mounting import MountError, mount_fuse, unmount_fuse

_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_RANGE = struct.Struct("<QQI")
_INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_ATTRIBUTES = struct.Struct("<QII QQQQQQ IIIIIIIIII")
_OPEN_OUT = struct.Struct("<QII")
_STATISTICS = struct.Struct("<QQQQQIIII24x")
_RANGE_BYTES = 40
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
    """The served file. `events` grows while it is used; its length is a moment in the disk's life."""

    def __init__(self, image: Path, served: Path) -> None:
        """Serve the content of `image` (kept up to date) as the file `served`; raises MountError."""
        self.events: list[Event] = []
        self._served = served
        self._image = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._size_bytes = os.fstat(self._image).st_size
        served.touch()
        try:
            self._kernel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise MountError(f"/dev/fuse does not open: {error.strerror}") from error
        mount_fuse(served, self._kernel)
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def wait_for(self, moment: int, wait_s: float = 60.0) -> None:
        """Wait until there were so many events; returns all the same when that takes too long."""
        with self._grown:
            self._grown.wait_for(lambda: len(self.events) >= moment, wait_s)

    def _note(self, event: Event) -> None:
        with self._grown:
            self.events.append(event)
            self._grown.notify_all()

    def close(self) -> None:
        """Stop serving; nothing may use the file any more."""
        unmount_fuse(self._served)
        self._thread.join()
        os.close(self._kernel)
        os.close(self._image)

    def _serve(self) -> None:
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
            self._note(Flush())
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
        self._note(Write(offset, data))
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
