"""Seeded source-like text whose words follow Zipf's law, fast enough to fill gigabytes.

Word `r` of the vocabulary has weight 1 / (r + 3). The weights are laid out once in a table of 65 536 slots, so a word
costs one table look-up by a random 16-bit number instead of a search in cumulated weights.
"""

import random
import sys
from array import array
from collections.abc import Sequence

VOCABULARY_WORDS = 6000
TABLE_SLOTS = 1 << 16
DRAW_LIMIT = 1 << 15
BYTES_PER_WORD = 6

KEYWORDS = (
    "if for not and return import self def class with else from while raise try except yield None True False "
    "int str bytes list dict set tuple range print open read write close match case async await struct static const"
)
LETTERS = "etaoinsrhldcumfpgwybvkxjqz"


class Prose:
    """A vocabulary and a stream of text over it; everything comes from the one random stream handed in."""

    def __init__(self, stream: random.Random) -> None:
        self._stream = stream
        self.words = _vocabulary(stream)
        self._slots = _zipf_slots(self.words)

    def text(self, size_bytes: int) -> bytes:
        """Return exactly `size_bytes` of indented lines of 4 to 12 words (zstd level 3 shrinks it about 3 times)."""
        parts: list[str] = []
        missing = size_bytes
        while missing > 0:
            part = self._lines(min(DRAW_LIMIT, missing // BYTES_PER_WORD + 12))
            parts.append(part)
            missing -= len(part)
        return "".join(parts).encode("ascii")[:size_bytes]

    def _lines(self, word_count: int) -> str:
        draws = _sixteen_bit_numbers(self._stream, word_count)
        words = list(map(self._slots.__getitem__, draws))
        lines = []
        start = 0
        while start < word_count:
            length = 4 + draws[start] % 9
            lines.append("    " * (length % 4) + " ".join(words[start : start + length]))
            start += length
        lines.append("")
        return "\n".join(lines)


def _sixteen_bit_numbers(stream: random.Random, count: int) -> Sequence[int]:
    numbers = array("H", stream.randbytes(2 * count))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _vocabulary(stream: random.Random) -> list[str]:
    words = KEYWORDS.split()
    weights = range(len(LETTERS), 0, -1)
    while len(words) < VOCABULARY_WORDS:
        length = min(14, max(2, int(stream.lognormvariate(1.7, 0.4))))
        words.append("".join(stream.choices(LETTERS, weights=weights, k=length)))
    return words


def _zipf_slots(words: list[str]) -> list[str]:
    weights = [1 / (rank + 3) for rank in range(len(words))]
    scale = TABLE_SLOTS / sum(weights)
    slots: list[str] = []
    due = 0.0
    for word, weight in zip(words, weights, strict=True):
        due += weight * scale
        slots += [word] * (round(due) - len(slots))
    slots += [words[0]] * (TABLE_SLOTS - len(slots))
    return slots
