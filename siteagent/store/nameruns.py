"""Many segment names in few bytes: a bitmap per stretch of a run's numbers, because a run counts its segments.

Three columns (siteagent.store.columns), one row per stretch, sorted:

| column | type     | content                                                                                    |
| ------ | -------- | ------------------------------------------------------------------------------------------ |
| first  | fixed    | run, 16 bytes                                                                              |
| + 1    | integers | smallest number of the stretch                                                             |
| + 2    | blobs    | bitmap: bit i stands for smallest number + i (least significant bit of the first byte first) |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.errors import HostileError
from siteagent.store.columns import (
    BLOBS,
    FIXED,
    INTEGERS,
    Column,
    Columns,
    blobs,
    encode_columns,
    fixed,
    integers,
    split_items,
)
from siteagent.store.names import RUN_BYTES, SegmentName, number_of, run_of, segment_name

NAMES_MAX = 1 << 24
"""Names in one place: 16 TiB of segments; a decoder stops there however dense the bitmaps are."""
Stretch = tuple[bytes, int, bytes]
"""Run, smallest number, bitmap."""
_KNOWN = frozenset((1, 2, 3))
_GAP_MAX, _SPAN_MAX = 256, 1 << 20


def encode_names(first: int, names: Iterable[SegmentName]) -> list[Column]:
    """The columns `first` to `first` + 2 for a set of names."""
    by_run: dict[bytes, list[int]] = {}
    for name in names:
        by_run.setdefault(run_of(name), []).append(number_of(name))
    rows = []
    for run in sorted(by_run):
        rows += [(run, *_bitmap(part)) for part in _stretches(sorted(by_run[run]))]
    return [
        (first, FIXED, 1, fixed(RUN_BYTES, b"".join(run for run, _, _ in rows))),
        (first + 1, INTEGERS, 1, integers([low for _, low, _ in rows])),
        (first + 2, BLOBS, 1, blobs([bits for _, _, bits in rows])),
    ]


def _stretches(numbers: list[int]) -> list[list[int]]:
    """Cut sorted numbers where a gap is wider than a new row would cost."""
    stretches = [[numbers[0]]]
    for number in numbers[1:]:
        last = stretches[-1]
        if number - last[-1] > _GAP_MAX or number - last[0] >= _SPAN_MAX:
            stretches.append([number])
        else:
            last.append(number)
    return stretches


def _bitmap(numbers: list[int]) -> tuple[int, bytes]:
    low = numbers[0]
    bits = bytearray((numbers[-1] - low) // 8 + 1)
    for number in numbers:
        bits[(number - low) >> 3] |= 1 << ((number - low) & 7)
    return low, bytes(bits)


def decode_names(columns: Columns, first: int) -> Iterator[SegmentName]:
    """The names in columns `first` to `first` + 2; raises DamagedError or HostileError before the first one."""
    return _names(decode_stretches(columns, first))


def decode_stretches(columns: Columns, first: int) -> list[Stretch]:
    """The rows of columns `first` to `first` + 2; raises DamagedError or HostileError."""
    runs = split_items(columns.fixed(first, RUN_BYTES), RUN_BYTES)
    lows, maps = columns.integers(first + 1, len(runs)), columns.blobs(first + 2, len(runs))
    if sum(int.from_bytes(bits, "little").bit_count() for bits in maps) > NAMES_MAX:
        raise HostileError("more segments are named than any home has", next_step="do not trust where this came from")
    for low, bits in zip(lows, maps, strict=True):
        if low < 0 or low + int.from_bytes(bits, "little").bit_length() > 1 << 32:
            raise HostileError("segments are named beyond every limit", next_step="do not trust where this came from")
    return list(zip(runs, lows, maps, strict=True))


def pack_names(names: Iterable[SegmentName]) -> bytes:
    """A set of names as facts carry it: columns 1 to 3; empty for no name."""
    known = list(names)
    return encode_columns(encode_names(1, known)) if known else b""


def unpack_stretches(data: bytes) -> list[Stretch]:
    """The rows of what `pack_names` made; raises DamagedError or HostileError."""
    return decode_stretches(Columns(memoryview(data), _KNOWN), 1) if data else []


def unpack_names(data: bytes) -> Iterator[SegmentName]:
    """The names that `pack_names` was given; raises like `unpack_stretches`."""
    return _names(unpack_stretches(data))


def _names(rows: Iterable[Stretch]) -> Iterator[SegmentName]:
    for run, low, bits in rows:
        for index, byte in enumerate(bits):
            while byte:
                lowest = byte & -byte
                yield segment_name(run, low + 8 * index + lowest.bit_length() - 1)
                byte ^= lowest
