"""The bytes of a file in order, a slab at a time; of a long stretch the next slab is read while one is looked at.

What was left unused of a slab stands in front of the next one, so that no chunk is cut apart: each buffer has room for
it before the place that is read into.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from siteagent.sources.base import Reader
from siteagent.store.chunker import MAX_BYTES

SLAB_BYTES = 4 << 20
LONG_BYTES = 4 * SLAB_BYTES
"""Stretches of at least so many bytes are read ahead: a thread of their own is worth its start."""


class Slab(NamedTuple):
    """`data`: what was left of the slab before, then what follows; nothing comes after one with `is_end`."""

    data: memoryview
    is_end: bool


class Slabs:
    """Two buffers, which serve one stretch after the other; the second one is made when a long stretch comes."""

    def __init__(self) -> None:
        self._buffers: list[memoryview] = []

    @contextmanager
    def stretch(self, reader: Reader, start: int, length: int, *, may_read_ahead: bool) -> Iterator[Stretch]:
        """Up to `length` bytes from `start`. A stream is not read ahead: its reading might never end."""
        piece = _Piece(reader, start, length)
        may_read_ahead &= length >= LONG_BYTES and not reader.is_stream
        ahead = _start_ahead(piece, self._take(2)) if may_read_ahead else None
        if ahead is None:
            yield Stretch(self._take(1), piece.fill)
            return
        try:
            yield Stretch(self._take(2), ahead.fill)
        finally:
            ahead.close()

    def _take(self, count: int) -> list[memoryview]:
        while len(self._buffers) < count:
            self._buffers.append(memoryview(bytearray(MAX_BYTES + SLAB_BYTES)))
        return self._buffers[:count]


class Stretch:
    """The slabs of one stretch."""

    def __init__(self, buffers: list[memoryview], fill: Callable[[memoryview], int]) -> None:
        self._buffers, self._fill = buffers, fill
        self._number, self._last = 0, buffers[0][:0]

    def next(self, left: int) -> Slab:
        """The next slab; the last `left` bytes (up to `MAX_BYTES`) of the one before stand at its start.

        The one before is gone with this call. Raises OSError.
        """
        buffer, start = self._buffers[self._number], MAX_BYTES - left
        buffer[start:MAX_BYTES] = self._last[len(self._last) - left :]
        count = self._fill(buffer[MAX_BYTES:])
        self._number = (self._number + 1) % len(self._buffers)
        self._last = buffer[start : MAX_BYTES + count]
        return Slab(self._last, count < SLAB_BYTES)


class _Piece:
    """What is left to read of a stretch."""

    def __init__(self, reader: Reader, start: int, length: int) -> None:
        self._reader, self._at, self._end = reader, start, start + length

    def fill(self, room: memoryview) -> int:
        """Read on until `room` is full, the stretch is over or the file ends; returns how many bytes there were."""
        done = 0
        while wanted := min(len(room) - done, self._end - self._at):
            count = self._reader.read_into(room[done : done + wanted], self._at)
            if count == 0:
                self._end = self._at
            done, self._at = done + count, self._at + count
        return done


def _start_ahead(piece: _Piece, buffers: list[memoryview]) -> _Ahead | None:
    try:
        return _Ahead(piece, buffers)
    except RuntimeError:
        # This user may have no more threads: then it is read when it is wanted.
        return None


class _Ahead:
    """Reads into the buffers in turn, in a thread, always one ahead of what was asked for."""

    def __init__(self, piece: _Piece, buffers: list[memoryview]) -> None:
        self._piece, self._buffers, self._turn = piece, buffers, 0
        self._empty: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, name="read ahead", daemon=True)
        self._thread.start()
        self._ask()

    def fill(self, _room: memoryview) -> int:
        """Wait until the next buffer in turn is full, and let the other one be filled."""
        found = self._full.get()
        if isinstance(found, BaseException):
            raise found
        self._ask()
        return found

    def close(self) -> None:
        """End the thread: afterwards nobody reads the file or writes into the buffers."""
        self._empty.put(None)
        self._thread.join()

    def _ask(self) -> None:
        self._empty.put(self._buffers[self._turn][MAX_BYTES:])
        self._turn = (self._turn + 1) % len(self._buffers)

    def _read(self) -> None:
        while (room := self._empty.get()) is not None:
            try:
                self._full.put(self._piece.fill(room))
            except BaseException as error:
                self._full.put(error)
