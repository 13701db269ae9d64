"""Slabs: the bytes of a file in order, whether or not the next ones are read meanwhile."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, cast

import pytest

from siteagent.capture.slabs import LONG_BYTES, SLAB_BYTES, Slabs
from siteagent.sources.base import Reader
from siteagent.store.chunker import MAX_BYTES
from tests.support.homes import incompressible

START = 1000
LONG = incompressible("slabs", START + LONG_BYTES + SLAB_BYTES + 77)


class _File:
    """A file in memory that hands out at most `most` bytes at once and cannot be read from `broken` on."""

    def __init__(self, data: bytes, most: int = 1 << 30, broken: int = 1 << 62, *, is_stream: bool = False) -> None:
        self.data, self.most, self.broken, self.is_stream = data, most, broken, is_stream
        self.readers: set[str] = set()

    def read_into(self, buffer: memoryview, offset: int) -> int:
        self.readers.add(threading.current_thread().name)
        if offset >= self.broken:
            raise OSError(5, "Input/output error")
        piece = self.data[offset : offset + min(len(buffer), self.most)]
        buffer[: len(piece)] = piece
        return len(piece)


def _read(file: _File, length: int, slabs: Slabs, *, may_read_ahead: bool = True) -> bytes:
    """What a stretch holds, read as the chunker does: some of each slab is left for the next one."""
    chance, taken, left = random.Random(7), bytearray(), 0
    with slabs.stretch(cast("Reader", file), START, length, may_read_ahead=may_read_ahead) as stretch:
        while True:
            data, is_end = stretch.next(left)
            assert len(data) <= left + SLAB_BYTES
            left = 0 if is_end else min(len(data), chance.choice((0, 1, MAX_BYTES - 1, MAX_BYTES)))
            taken += data[: len(data) - left]
            if is_end:
                return bytes(taken)


@pytest.mark.parametrize("most", [1 << 30, 100_003])
@pytest.mark.parametrize("length", [LONG_BYTES, LONG_BYTES + 1, 1 << 40, 5 * SLAB_BYTES])
def test_a_long_stretch_is_read_ahead_and_whole(length: int, most: int) -> None:
    file = _File(LONG, most)
    assert _read(file, length, Slabs()) == LONG[START : START + length]
    assert file.readers == {"read ahead"}


@pytest.mark.parametrize("length", [0, 1, SLAB_BYTES - 1, SLAB_BYTES, SLAB_BYTES + 1, LONG_BYTES - 1])
def test_a_short_stretch_is_read_at_once(length: int) -> None:
    file = _File(LONG)
    assert _read(file, length, Slabs()) == LONG[START : START + length]
    assert file.readers <= {threading.current_thread().name}


@pytest.mark.parametrize("choice", [{"is_stream": True}, {"may_read_ahead": False}])
def test_what_may_not_be_read_ahead_is_not(choice: dict[str, Any]) -> None:
    file = _File(LONG, is_stream="is_stream" in choice)
    assert _read(file, 1 << 40, Slabs(), may_read_ahead="is_stream" in choice) == LONG[START:]
    assert file.readers == {threading.current_thread().name}


def test_a_failed_reading_is_told_where_it_is_reached_and_the_next_stretch_is_whole() -> None:
    slabs, broken = Slabs(), _File(LONG, broken=START + 2 * SLAB_BYTES)
    with slabs.stretch(cast("Reader", broken), START, 1 << 40, may_read_ahead=True) as stretch:
        for number in range(2):
            data = stretch.next(0).data
            assert data == LONG[START + number * SLAB_BYTES :][:SLAB_BYTES]
        with pytest.raises(OSError, match="Input/output"):
            stretch.next(0)
    assert _read(_File(LONG), 1 << 40, slabs) == LONG[START:]


class _SlowFile(_File):
    """Somebody is still reading it when the first slab was taken."""

    def read_into(self, buffer: memoryview, offset: int) -> int:
        if offset >= START + SLAB_BYTES:
            time.sleep(0.1)
        return super().read_into(buffer, offset)


def test_leaving_a_stretch_early_ends_its_thread() -> None:
    slabs = Slabs()
    for _ in range(3):
        with slabs.stretch(cast("Reader", _SlowFile(LONG)), START, 1 << 40, may_read_ahead=True) as stretch:
            stretch.next(0)
        assert "read ahead" not in {thread.name for thread in threading.enumerate()}


def test_without_another_thread_it_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    file = _File(LONG)
    assert _read(file, 1 << 40, Slabs()) == LONG[START:]
    assert file.readers == {threading.current_thread().name}
