"""Content-defined chunking: where large files are cut. The cuts are part of the format.

Chunker 1: FastCDC (Xia and others, "The Design of Fast Content Defined Chunking for Data Deduplication Based Storage
Systems", 2020) as the library pyfastcdc cuts it with sizes 16 / 64 / 256 KiB and seed 0. A file up to 128 KiB is one
chunk. Chunker 2 (disk images): fixed 64 KiB, aligned to the device. A self-test refuses to write with a chunker that
cuts elsewhere than the golden vector below.
"""

from __future__ import annotations

from collections.abc import Iterator

from blake3 import blake3
from pyfastcdc import FastCDC

from shared.errors import BugError, RefusedError

WHOLE_FILE_MAX_BYTES = 128 << 10
AVERAGE_BYTES, MIN_BYTES, MAX_BYTES = 64 << 10, 16 << 10, 256 << 10
GOLDEN_BYTES = 1 << 20
GOLDEN_LENGTHS = (82544, 27918, 24938, 74852, 90488, 26236, 74726, 30691, 25748, 76908, 54037, 183137, 105505, 50417,
                  120431)  # fmt: skip


def _cutter() -> FastCDC:
    return FastCDC(avg_size=AVERAGE_BYTES, min_size=MIN_BYTES, max_size=MAX_BYTES)


class Chunker:
    """Cuts a stream that is handed over in slabs; the cuts do not depend on how it is slabbed."""

    def __init__(self) -> None:
        """Raises RefusedError when the cuts are not the golden ones."""
        self._fast = _cutter()
        check_chunker(self)

    def cut(self, data: memoryview, *, is_end: bool) -> Iterator[int]:
        """Lengths of the chunks at the start of `data`; without `is_end` the last, undecided one is left out."""
        size, done = len(data), 0
        for chunk in self._fast.cut_buf(data):
            done += chunk.length
            if done == size and not is_end:
                return
            yield chunk.length


def golden_input() -> bytes:
    """One mebibyte of BLAKE3 output, the same for ever."""
    return blake3(b"farkeep chunker golden input").digest(GOLDEN_BYTES)


def check_chunker(chunker: Chunker) -> None:
    """The start-up self-test."""
    lengths = tuple(chunker.cut(memoryview(golden_input()), is_end=True))
    if sum(lengths) != GOLDEN_BYTES:
        raise BugError("the chunker loses bytes", next_step="report this")
    if lengths != GOLDEN_LENGTHS:
        raise RefusedError("the chunker of this installation cuts elsewhere than the format says",
                           subject="pyfastcdc", next_step="install the version that Farkeep asks for, then try again")
