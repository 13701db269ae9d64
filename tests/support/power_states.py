"""What a power failure may leave on a disk with a volatile cache: all that was flushed, and any part of the rest.

A disk promises two things: what was written before a flush that has ended is there, and a sector is written whole or
not at all. So a legal state is everything up to the last flush, and of the writes after it any choice, each whole, in
part by sectors, or not at all. A choice is applied in the order of the writes.

One exception is for the file system above, ext4: its superblock and that of its journal are written in place and have
no second copy that is used by itself. It counts on each being written whole, and so has to be let.
"""

from __future__ import annotations

import enum
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from tests.support.recorded_block import Event, Flush, Write

SECTOR_BYTES = 512
BLOCK_BYTES = 4096
_SINGLED_OUT_MAX = 3
_JOURNAL_SUPERBLOCK = bytes.fromhex("c03b399800000004")
"""How the journal's superblock begins (linux/jbd2.h, version 2)."""


class Flavour(enum.Enum):
    """What became of the writes after the last flush."""

    CLEAN = "clean stop"
    TORN = "last write torn"
    LOST = "unsynced writes lost"
    REORDERED = "unsynced writes reordered"


class Kept(Struct, frozen=True):
    """A write that was not flushed and is there all the same: `event` is its place on the tape, `sectors` those of its
    sectors that are there (None: all)."""

    event: int
    sectors: tuple[int, ...] | None = None


class State(Struct, frozen=True):
    """A disk after a power failure: `moment` is how many events there had been, `flushed` how many are durable."""

    moment: int
    flavour: Flavour
    flushed: int
    kept: tuple[Kept, ...]

    @property
    def content(self) -> tuple[int, tuple[Kept, ...]]:
        """Equal for states that leave the same bytes."""
        return self.flushed, self.kept

    def __str__(self) -> str:
        return f"{self.flavour.value} after {self.moment} events, {self.flushed} flushed, kept {self.kept}"


def flushed_at(events: Sequence[Event], moment: int) -> int:
    """How many of the first `moment` events lie before the last flush (the flush included)."""
    return next((place + 1 for place in reversed(range(moment)) if isinstance(events[place], Flush)), 0)


def pending_at(events: Sequence[Event], moment: int) -> list[int]:
    """The places of the writes that are not durable at a moment."""
    return [place for place in range(flushed_at(events, moment), moment) if isinstance(events[place], Write)]


def states_at(events: Sequence[Event], moment: int, chance: random.Random) -> Iterator[State]:
    """A state of each flavour; those of one moment may have the same content."""
    flushed, pending = flushed_at(events, moment), pending_at(events, moment)
    whole = tuple(Kept(place) for place in pending)
    yield State(moment, Flavour.CLEAN, flushed, whole)
    yield State(moment, Flavour.LOST, flushed, ())
    if pending:
        yield State(moment, Flavour.TORN, flushed, (*whole[:-1], _torn(events, pending[-1], chance)))
        yield State(moment, Flavour.REORDERED, flushed, _some(events, pending, chance))


def every_state_at(events: Sequence[Event], moment: int, chance: random.Random) -> Iterator[State]:
    """The same, and where several writes are in flight some alone, some missing, and more choices by chance."""
    yield from states_at(events, moment, chance)
    flushed, pending = flushed_at(events, moment), pending_at(events, moment)
    if len(pending) < 2:
        return
    for place in chance.sample(pending, min(len(pending), _SINGLED_OUT_MAX)):
        yield State(moment, Flavour.REORDERED, flushed, (Kept(place),))
        yield State(moment, Flavour.REORDERED, flushed, tuple(Kept(other) for other in pending if other != place))
    for _ in range(_SINGLED_OUT_MAX):
        yield State(moment, Flavour.REORDERED, flushed, _some(events, pending, chance))


def _torn(events: Sequence[Event], place: int, chance: random.Random) -> Kept:
    units = _units(events[place])
    return Kept(place, sum(units[: chance.randrange(1, len(units))], ()) if len(units) > 1 else ())


def _some(events: Sequence[Event], pending: list[int], chance: random.Random) -> tuple[Kept, ...]:
    """A choice of writes and sectors that is neither all of them nor nothing, where there is such a choice."""
    found: tuple[Kept, ...] = ()
    for _ in range(8):
        found = tuple(_by_chance(events, pending, chance))
        if any(kept.sectors is not None for kept in found) or 0 < len(found) < len(pending):
            break
    return found


def _by_chance(events: Sequence[Event], pending: list[int], chance: random.Random) -> Iterator[Kept]:
    for place in pending:
        fate, units = chance.randrange(3), _units(events[place])
        if fate == 0:
            yield Kept(place)
        elif fate == 1 and len(units) > 1:
            yield Kept(place, tuple(sorted(sum(chance.sample(units, chance.randrange(1, len(units))), ()))))


def _units(event: Event) -> list[tuple[int, ...]]:
    """What of a write is there or not: each sector by itself, a superblock as one."""
    assert isinstance(event, Write)
    found: list[tuple[int, ...]] = []
    for at in range(0, len(event.data), BLOCK_BYTES):
        sectors = range(at // SECTOR_BYTES, min(at + BLOCK_BYTES, len(event.data)) // SECTOR_BYTES)
        is_whole = _is_superblock(event.offset + at, event.data[at : at + len(_JOURNAL_SUPERBLOCK)])
        found += [tuple(sectors)] if is_whole else [(sector,) for sector in sectors]
    return found


def _is_superblock(offset: int, head: bytes) -> bool:
    return offset < BLOCK_BYTES or head == _JOURNAL_SUPERBLOCK


class Disks:
    """Makes states of one tape into images. Asked for in the order of `flushed`, which may not go back."""

    def __init__(self, events: Sequence[Event], durable: Path) -> None:
        """`durable` is the image as it was before the first event; it is carried on."""
        self._events, self._durable, self._done = events, durable, 0

    def make(self, state: State, image: Path) -> None:
        """Write the image of a state."""
        assert state.flushed >= self._done, "states are made in the order of their flushes"
        self._carry_on(state.flushed)
        copy_sparse(self._durable, image)
        with image.open("r+b") as file:
            for kept in state.kept:
                write = self._events[kept.event]
                assert isinstance(write, Write)
                for offset, data in _pieces(write, kept.sectors):
                    os.pwrite(file.fileno(), data, offset)

    def _carry_on(self, flushed: int) -> None:
        with self._durable.open("r+b") as file:
            for event in self._events[self._done : flushed]:
                if isinstance(event, Write):
                    os.pwrite(file.fileno(), event.data, event.offset)
        self._done = flushed


def _pieces(write: Write, sectors: tuple[int, ...] | None) -> Iterator[tuple[int, bytes]]:
    if sectors is None:
        yield write.offset, write.data
        return
    for sector in sectors:
        at = sector * SECTOR_BYTES
        yield write.offset + at, write.data[at : at + SECTOR_BYTES]


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file with its holes."""
    with source.open("rb") as old, target.open("wb") as new:
        size_bytes = os.fstat(old.fileno()).st_size
        os.ftruncate(new.fileno(), size_bytes)
        at = 0
        while at < size_bytes:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            os.lseek(new.fileno(), at, os.SEEK_SET)
            while at < end:
                at += os.sendfile(new.fileno(), old.fileno(), at, end - at)
