"""Reach: the set of segments a snapshot needs, data and catalog, delta bases closed over. Truth, not cache.

A reach is a file `reaches/<snapshot id>`, written and synced before the commit and named by its digest in the snapshot
fact. It is clear: a custodian without keys collects what it must hold from it.
```
offset size
0      4     magic "FKrc"
4      1     format version, 1
5      3     reserved, 0
8      16    site
24     16    snapshot
40     16    snapshot whose reach this one differs from; zeros: this one is whole
56     4     number of steps down to a whole one (0: whole; at most 32)
60     4     number of segments in the whole set, after applying
64     ...   columns (siteagent.store.columns): for added names 1 runs (16 fixed), 2 first number, 3 bitmap (blob) of
             first + bit index (least significant bit of the first byte first); for removed names 4, 5, 6 alike
last 32      BLAKE3 of everything before
```
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from blake3 import blake3

from shared.errors import DamagedError, HostileError
from siteagent.store.catalog import Catalog
from siteagent.store.chunklist import PageSource
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
from siteagent.store.page import side_segments

MAGIC, VERSION = b"FKrc", 1
STEPS_MAX = 32
BYTES_MAX = 256 << 20
_HEAD = struct.Struct("<4sB3s16s16s16sII")
_KNOWN = frozenset(range(1, 7))
_NONE = bytes(16)
_SPAN_MAX = 1 << 20
NAMES_MAX = 1 << 24
"""Names in one reach file: 16 TiB of segments; a decoder stops there however dense the bitmaps are."""


@dataclass(frozen=True)
class Reach:
    """A decoded reach file: whole, or a difference to the reach of `base`."""

    site: bytes
    snapshot: bytes
    base: bytes
    steps: int
    total: int
    added: frozenset[SegmentName]
    removed: frozenset[SegmentName]


def reach_of(catalog: Catalog, source: PageSource) -> set[SegmentName]:
    """Every segment a catalog needs, from its pages' own sets; reads index pages and tables, no entry page."""
    needed: set[SegmentName] = set()
    for row, _ in catalog.index_rows():
        needed.add(row.segment)
        needed.update(side_segments(source.side(row.segment, row.page_id)))
    return needed


def difference(site: bytes, snapshot: bytes, segments: set[SegmentName], base: Reach | None,
               base_segments: set[SegmentName]) -> Reach:
    """The reach file for `segments`: a difference to `base` where that is smaller and not too many steps away."""
    if base is not None and base.steps < STEPS_MAX:
        added, removed = frozenset(segments - base_segments), frozenset(base_segments - segments)
        if 2 * (len(added) + len(removed)) <= len(segments):
            return Reach(site, snapshot, base.snapshot, base.steps + 1, len(segments), added, removed)
    return Reach(site, snapshot, b"", 0, len(segments), frozenset(segments), frozenset())


def apply(reach: Reach, load: Callable[[bytes], Reach]) -> set[SegmentName]:
    """The whole set, loading the reaches it differs from; raises DamagedError when they do not add up."""
    chain = [reach]
    while chain[-1].base:
        below = load(chain[-1].base)
        if below.steps != chain[-1].steps - 1:
            raise _damaged("a reach rests on another one than it should", chain[-1].snapshot)
        chain.append(below)
    segments: set[SegmentName] = set()
    for link in reversed(chain):
        segments -= link.removed
        segments |= link.added
    if len(segments) != reach.total:
        raise _damaged("a reach does not add up to its stated size", reach.snapshot)
    return segments


def encode_reach(reach: Reach) -> bytes:
    """The bytes of a reach file."""
    head = _HEAD.pack(MAGIC, VERSION, bytes(3), reach.site, reach.snapshot, reach.base or _NONE, reach.steps,
                      reach.total)  # fmt: skip
    body = head + encode_columns(_columns(1, reach.added) + _columns(4, reach.removed))
    return body + blake3(body).digest()


def _columns(first: int, names: Iterable[SegmentName]) -> list[Column]:
    by_run: dict[bytes, list[int]] = {}
    for name in names:
        by_run.setdefault(run_of(name), []).append(number_of(name))
    rows = []
    for run in sorted(by_run):
        numbers = sorted(by_run[run])
        rows += [(run, *_bitmap(part)) for part in _stretches(numbers)]
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
        if number - last[-1] > 256 or number - last[0] >= _SPAN_MAX:
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


def decode_reach(data: bytes, subject: str) -> Reach:
    """Parse a reach file; raises DamagedError or HostileError."""
    if len(data) < _HEAD.size + 32 or data[:4] != MAGIC or blake3(data[:-32]).digest() != data[-32:]:
        raise DamagedError("a reach is not what was written", subject=subject,
                           next_step="run `farkeep verify`; restore this file from a copy or a partner")
    _, version, _, site, snapshot, base, steps, total = _HEAD.unpack(data[: _HEAD.size])
    if version > VERSION or steps > STEPS_MAX:
        raise HostileError(f"a reach has format {version}, newer than this version knows", subject=subject,
                           next_step="open this home with a newer Farkeep")
    columns = Columns(memoryview(data)[_HEAD.size : -32], _KNOWN)
    return Reach(site, snapshot, b"" if base == _NONE else base, steps, total,
                 frozenset(_names(columns, 1)), frozenset(_names(columns, 4)))  # fmt: skip


def _names(columns: Columns, first: int) -> Iterable[SegmentName]:
    runs = split_items(columns.fixed(first, RUN_BYTES), RUN_BYTES)
    lows, maps = columns.integers(first + 1, len(runs)), columns.blobs(first + 2, len(runs))
    if sum(int.from_bytes(bits, "little").bit_count() for bits in maps) > NAMES_MAX:
        raise HostileError("a reach names more segments than any home has", next_step="do not trust this reach")
    for run, low, bits in zip(runs, lows, maps, strict=True):
        if low < 0 or low + 8 * len(bits) > 1 << 32 or len(bits) > _SPAN_MAX:
            raise HostileError("a reach names segments beyond every limit", next_step="do not trust this reach")
        for index, byte in enumerate(bits):
            while byte:
                lowest = byte & -byte
                yield segment_name(run, low + 8 * index + lowest.bit_length() - 1)
                byte ^= lowest


def _damaged(what: str, snapshot: bytes) -> DamagedError:
    return DamagedError(what, subject=f"reaches/{snapshot.hex()}",
                        next_step="run `farkeep verify`; restore this file from a copy or a partner")
