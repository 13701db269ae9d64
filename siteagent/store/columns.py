"""The columnar container that pages, segment tables, pack trailers and reaches are encoded in.

```
offset size
0      2    number of columns n (u16, little endian like all integers here)
2      8*n  per column: id u16, type u8, flags u8 (bit 0: a reader that does not know this id must refuse), length u32
...         the columns' bytes in that order
```
Column types:
```
1 integers: width u8 (0 1 2 4 8 16), base length u8, base (signed), then per value `width` bytes: value - base
2 blobs:    length u32 of an integers column with the lengths, that column, the bytes joined
3 fixed:    item size u16, the items joined
```
Equal values give equal bytes. A column that is not known is skipped, or carried along unchanged, unless its flag
forbids. Sizes are checked before anything is allocated.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate

from shared.errors import DamagedError, HostileError

INTEGERS, BLOBS, FIXED = 1, 2, 3
MUST_KNOW = 1
COLUMNS_MAX = 64
_HEAD = struct.Struct("<HBBI")
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_SWAP = sys.byteorder == "big"


def damaged(what: str) -> DamagedError:
    """The error for bytes that no writer of this format makes."""
    return DamagedError(f"a stored table is not well formed: {what}", next_step="run `farkeep verify --read-data`")


def _signed_bytes(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True) if value else b""


def integers(values: Sequence[int]) -> bytes:
    """Encode integers of any sign (at most 127 bits) as offsets from the smallest."""
    if not values:
        return b"\x00\x00"
    base, top = min(values), max(values)
    span = top - base
    base_bytes = _signed_bytes(base)
    if span == 0:
        return bytes((0, len(base_bytes))) + base_bytes
    width = 1 if span < 1 << 8 else 2 if span < 1 << 16 else 4 if span < 1 << 32 else 8 if span < 1 << 64 else 16
    head = bytes((width, len(base_bytes))) + base_bytes
    if width == 16:
        return head + b"".join([(value - base).to_bytes(16, "little") for value in values])
    offsets = array(_CODES[width], [value - base for value in values] if base else values)
    if _SWAP:
        offsets.byteswap()
    return head + offsets.tobytes()


def read_integers(data: memoryview, count: int) -> list[int]:
    """Decode `count` integers; raises DamagedError when the bytes do not hold exactly that many."""
    if len(data) < 2:
        raise damaged("an integer column is too short")
    width, base_length = data[0], data[1]
    base = int.from_bytes(data[2 : 2 + base_length], "little", signed=True)
    body = data[2 + base_length :]
    if base_length > 17 or len(data) < 2 + base_length or len(body) != width * (count if width else 0):
        raise damaged("an integer column has another length")
    if width == 0:
        return [base] * count
    if width == 16:
        return [base + int.from_bytes(body[at : at + 16], "little") for at in range(0, len(body), 16)]
    if width not in _CODES:
        raise damaged("an integer column has an unknown width")
    offsets = array(_CODES[width])
    offsets.frombytes(body)
    if _SWAP:
        offsets.byteswap()
    return [base + offset for offset in offsets] if base else offsets.tolist()


def blobs(values: Sequence[bytes]) -> bytes:
    """Encode byte strings of any length."""
    lengths = integers([len(value) for value in values])
    return len(lengths).to_bytes(4, "little") + lengths + b"".join(values)


def read_blobs(data: memoryview, count: int) -> list[bytes]:
    """Decode `count` byte strings."""
    if len(data) < 4:
        raise damaged("a blob column is too short")
    split = 4 + int.from_bytes(data[:4], "little")
    lengths = read_integers(data[4:split], count)
    body = bytes(data[split:])
    if (count and (min(lengths) < 0 or sum(lengths) != len(body))) or (not count and body):
        raise damaged("a blob column has another length")
    if not body:
        return [b""] * count
    ends = list(accumulate(lengths))
    return [body[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def fixed(item_bytes: int, joined: bytes) -> bytes:
    """Encode items of one size, given joined."""
    return item_bytes.to_bytes(2, "little") + joined


def read_fixed(data: memoryview, item_bytes: int) -> bytes:
    """Decode items of one size; returns them joined."""
    if len(data) < 2 or int.from_bytes(data[:2], "little") != item_bytes or (len(data) - 2) % item_bytes:
        raise damaged("a column of fixed items has another item size")
    return bytes(data[2:])


def split_items(joined: bytes, item_bytes: int) -> list[bytes]:
    """Cut joined items of one size apart."""
    return [joined[at : at + item_bytes] for at in range(0, len(joined), item_bytes)]


Column = tuple[int, int, int, bytes]  # id, type, flags, encoded bytes


def encode_columns(columns: Iterable[Column]) -> bytes:
    """The container with these columns, in order of their ids."""
    ordered = sorted(columns)
    heads = [len(ordered).to_bytes(2, "little")]
    heads += [_HEAD.pack(column, kind, flags, len(data)) for column, kind, flags, data in ordered]
    return b"".join(heads + [data for _, _, _, data in ordered])


class Columns:
    """A decoded container: the columns' bytes by id."""

    __slots__ = ("_data", "_heads")

    def __init__(self, data: memoryview, known: frozenset[int]) -> None:
        """Parse; raises DamagedError on malformed bytes, HostileError on a must-know column not in `known`."""
        self._data: dict[int, memoryview] = {}
        self._heads: list[tuple[int, int, int]] = []
        if len(data) < 2:
            raise damaged("a table is too short")
        count = data[0] | data[1] << 8
        at = 2 + _HEAD.size * count
        if count > COLUMNS_MAX or at > len(data):
            raise damaged("a table states too many columns")
        for column, kind, flags, length in _HEAD.iter_unpack(data[2:at]):
            if column not in known and flags & MUST_KNOW:
                raise HostileError(f"column {column} is needed and not known to this version",
                                   next_step="open this home with a newer Farkeep")
            if column in self._data or at + length > len(data):
                raise damaged("a table's columns do not fit")
            self._data[column] = data[at : at + length]
            self._heads.append((column, kind, flags))
            at += length
        if at != len(data):
            raise damaged("a table has bytes left over")

    def __contains__(self, column: int) -> bool:
        return column in self._data

    def unknown(self, known: frozenset[int]) -> list[tuple[int, int]]:
        """(id, type) of the columns that are not in `known`."""
        return [(column, kind) for column, kind, _ in self._heads if column not in known]

    def replaced(self, columns: Iterable[Column]) -> bytes:
        """The container with some columns in the place of their namesakes."""
        kept = {column: (column, kind, flags, bytes(self._data[column])) for column, kind, flags in self._heads}
        return encode_columns((kept | {column[0]: column for column in columns}).values())

    def raw(self, column: int) -> memoryview:
        """A column's bytes; raises DamagedError when it is not there."""
        data = self._data.get(column)
        if data is None:
            raise damaged(f"column {column} is missing")
        return data

    def integers(self, column: int, count: int) -> list[int]:
        """A column of `count` integers."""
        return read_integers(self.raw(column), count)

    def integers_within(self, column: int, count: int, low: int, high: int) -> list[int]:
        """A column of `count` integers, none smaller than `low` or larger than `high`; raises HostileError."""
        values, head = self.integers(column, count), self.raw(column)
        base = int.from_bytes(head[2 : 2 + head[1]], "little", signed=True)
        if (base < low or base + (1 << 8 * head[0]) - 1 > high) and values and not low <= min(values) <= max(
                values) <= high:  # fmt: skip
            raise HostileError(f"column {column} of a stored table has values that no writer has",
                               next_step="do not trust where this came from; run `farkeep verify`")
        return values

    def blobs(self, column: int, count: int) -> list[bytes]:
        """A column of `count` byte strings."""
        return read_blobs(self.raw(column), count)

    def fixed(self, column: int, item_bytes: int) -> bytes:
        """A column of items of one size, joined."""
        return read_fixed(self.raw(column), item_bytes)
