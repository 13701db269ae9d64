"""A small coverage-guided fuzzer: inputs that reach new edges of the product's code are kept and mutated further.

An edge is a pair of lines of one function, seen through `sys.settrace`, with how often it was passed in steps of powers
of two. Everything follows from the seed. A library such as atheris would be faster, but it takes the whole process
over, cannot run beside other tests, and does not repeat a run from a seed alone.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLLOWED = (str(ROOT / "siteagent"), str(ROOT / "shared"))
INPUT_BYTES_MAX = 1 << 16
_MINIMISE_TRIES = 60
_NUMBERS = (0, 1, 2, 7, 8, 16, 32, 63, 64, 127, 128, 255, 256, 4095, 65535, 65536, 1 << 20, 1 << 24, (1 << 31) - 1,
            1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip

Edge = tuple[CodeType, int, int, int]


def edges_of(run: Callable[[], object]) -> set[Edge]:
    """The edges that a call passes in the product's code; what it raises goes on."""
    counts: dict[tuple[CodeType, int, int], int] = {}
    last: dict[FrameType, int] = {}

    def follow(frame: FrameType, event: str, _argument: Any) -> Callable[..., Any] | None:
        if event == "call":
            return follow if frame.f_code.co_filename.startswith(FOLLOWED) else None
        key = frame.f_code, last.get(frame, 0), frame.f_lineno
        counts[key] = counts.get(key, 0) + 1
        last[frame] = frame.f_lineno
        if event == "return":
            last.pop(frame, None)
        return follow

    before = sys.gettrace()
    sys.settrace(follow)
    try:
        run()
    finally:
        sys.settrace(before)
    return {(*key, count.bit_length()) for key, count in counts.items()}


@dataclass
class Fuzzer:
    """Fuzzes one decoder. `check` runs it on an input within its bounds and raises what is to be reported; `feed` runs
    it without bounds, for it takes many times as long while it is traced."""

    check: Callable[[bytes], object]
    feed: Callable[[bytes], object]
    chance: random.Random
    corpus: list[bytes] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    """The inputs found by mutation, minimised."""
    edges: set[Edge] = field(default_factory=set)
    tried: int = 0

    def add(self, data: bytes) -> bool:
        """Run an input; True when it reached something new, and is mutated further from now on."""
        found = self._edges(data)
        if found <= self.edges:
            return False
        self.edges |= found
        self.corpus.append(data)
        return True

    def seed(self, inputs: Iterable[bytes]) -> None:
        """Begin with these."""
        for data in inputs:
            self.add(data)
        if not self.corpus:
            self.corpus.append(b"")

    def step(self) -> None:
        """Try one mutation of an input that is kept, newer ones more often."""
        place = max(self.chance.randrange(len(self.corpus)), self.chance.randrange(len(self.corpus)))
        data = mutated(self.corpus[place], self.chance, self.corpus)
        known = set(self.edges)
        if self.add(data):
            self.corpus[-1] = smaller = self._minimised(data, self.edges - known)
            self.kept.append(smaller)

    def _edges(self, data: bytes) -> set[Edge]:
        """Run an input for real, then again under the eyes of the tracer."""
        self.tried += 1
        try:
            self.check(data)
            return edges_of(lambda: self.feed(data))
        except BaseException as error:
            error.add_note(f"the input, in hexadecimal digits: {data.hex()}")
            raise

    def _minimised(self, data: bytes, wanted: set[Edge]) -> bytes:
        """Cut out what is not needed to reach the same new edges."""
        size = max(1, len(data) // 2)
        for _ in range(_MINIMISE_TRIES):
            if size < 1 or len(data) < 2:
                break
            at = self.chance.randrange(0, max(1, len(data) - size + 1))
            shorter = data[:at] + data[at + size :]
            if wanted <= self._edges(shorter):
                data = shorter
            elif self.chance.random() < 0.3:
                size //= 2
        return data


def mutated(data: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """A few random changes: bits, bytes, numbers, stretches cut, doubled, moved, or taken from another input."""
    result = bytearray(data)
    for _ in range(1 << chance.randrange(4)):
        chance.choice(_MUTATIONS)(result, chance, others)
    return bytes(result[:INPUT_BYTES_MAX])


def _stretch(data: bytearray, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(len(data), start + (1 << chance.randrange(8)))


def _flip(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice((0, 1, 2, 4, 8, 16, 127, 128, 255, chance.randrange(256)))


def _number(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    width = chance.choice((1, 2, 4, 8))
    value = (chance.choice(_NUMBERS) + chance.choice((-1, 0, 0, 1))) % (1 << 8 * width)
    at = chance.randrange(len(data) + 1)
    data[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))


def _cut(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    start, stop = _stretch(data, chance)
    del data[start:stop]


def _double(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    start, stop = _stretch(data, chance)
    data[start:start] = data[start:stop] * chance.choice((1, 1, 2, 30))


def _insert(data: bytearray, chance: random.Random, _: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice((chance.randbytes(1 << chance.randrange(6)), bytes(1 << chance.randrange(8))))


def _splice(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    other = bytearray(chance.choice(others)) if others else bytearray()
    start, stop = _stretch(other, chance)
    at = chance.randrange(len(data) + 1)
    data[at : at + chance.choice((0, stop - start))] = other[start:stop]


_MUTATIONS = (_flip, _set, _number, _cut, _double, _insert, _splice)
