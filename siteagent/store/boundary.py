"""Where pages end: a keyed hash of the key (or chunk id) alone decides, so times and sizes never move a boundary.

Rule, per level: a page ends after a row whose hash is below 2^64 / 128, once the rows' *nominal* weight (from their
keys alone) has reached 4 KiB. When the rows' full weight passes 64 KiB first, the page ends after the row with the
smallest hash beyond the minimum. hash = first 8 bytes (big endian) of keyed BLAKE3(boundary key, level u8 || key).
Nominal weights give pages of about 16 KiB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from blake3 import blake3

Row = TypeVar("Row")

NOMINAL_MIN_BYTES = 4 << 10
FULL_MAX_BYTES = 64 << 10
_NO_MARK = b"\xff" * 9
_BOUNDARY = ((1 << 64) // 128).to_bytes(8, "big")


class Gatherer(Generic[Row]):
    """Gathers rows of one level and hands them on, page by page."""

    def __init__(self, boundary_key: bytes, level: int, emit: Callable[[list[Row]], None]) -> None:
        self._key, self._prefix, self._emit = boundary_key, bytes((level,)), emit
        self._rows: list[Row] = []
        self._marks: list[tuple[bytes | None, int, int, bytes]] = []
        self._nominal = self._full = 0

    @property
    def is_empty(self) -> bool:
        """True at the start of a page."""
        return not self._rows

    def add(self, row: Row, key: bytes, nominal: int, extra: int = 0, *, is_inner: bool = False) -> None:
        """Add a row; `nominal` and `extra` are its weights in bytes, from its key and from its values.

        `is_inner`: its hash is known to mark no boundary, and is worked out only if it is needed.
        """
        self._rows.append(row)
        self._nominal += nominal
        self._full += nominal + extra
        mark: bytes | None = None
        if not is_inner:
            mark = self._mark(key) if self._nominal >= NOMINAL_MIN_BYTES else _NO_MARK
        self._marks.append((mark, nominal, extra, key))
        if mark is not None and mark < _BOUNDARY:
            self._cut(len(self._rows))
        elif self._full > FULL_MAX_BYTES:
            self._cut_smallest()

    def _mark(self, key: bytes) -> bytes:
        return blake3(self._prefix + key, key=self._key).digest(8)

    def _cut_smallest(self) -> None:
        seen, best, place = 0, _NO_MARK, len(self._rows)
        for number, (known, nominal, _, key) in enumerate(self._marks, 1):
            seen += nominal
            mark = self._mark(key) if known is None and seen >= NOMINAL_MIN_BYTES else known
            if seen >= NOMINAL_MIN_BYTES and mark is not None and mark < best:
                best, place = mark, number
        self._cut(place)

    def _cut(self, place: int) -> None:
        page, rest, marks = self._rows[:place], self._rows[place:], self._marks[place:]
        self._rows, self._marks, self._nominal, self._full = [], [], 0, 0
        self._emit(page)
        for row, (_, nominal, extra, key) in zip(rest, marks, strict=True):
            self.add(row, key, nominal, extra)

    def finish(self) -> None:
        """Emit what is left."""
        if self._rows:
            self._cut(len(self._rows))
