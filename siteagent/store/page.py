"""Pages of the catalog: ordered, content-addressed, columnar, compared as bytes.

```
offset size
0      1    format version, 1
1      1    kind: 1 entries, 2 index of entry pages, 3 chunk list, 4 index of chunk lists, 5 a value kept out of line
2      1    level: 0 for kinds 1, 3 and 5; one more than the children for kinds 2 and 4; at most 8
3      1    reserved, 0
4      4    number of rows
8      4    number of folders (kind 1), else 0
12     ...  columns (siteagent.store.columns); kind 5: the value itself
```
Columns of kind 1, one row per entry (siteagent.store.entry):
```
1 folder key, 2 rows in that folder (one row per folder)     9 mtime, 10 ctime: nanoseconds since 1970, any sign
3 name           4 type      5 mode (st_mode)                11 inode, 12 link group (0: none)
6 uid  7 gid     8 size                                      13 device number (of device nodes), 14 flags
20 inline chunks of each entry, 0..16; 21 their ids (32 fixed); 22 their lengths (entries with two or more only)
23 chunk list: level u8, page id; or empty
24 link target, 25 xattrs: empty; or 0x00 and the value; or 0x01, length u32, page id of the value out of line
```
Registered for later, skippable, carried along unchanged by versions that do not know them: 30 creation time,
31 Windows attributes, 32 security descriptor, 33 alternate streams, 34 reparse point, 35 BSD flags, 40 mailbox item
properties, 41 message id, 50-63 free for sources.
Kind 2, one row per child: 1 key of the last entry below, 2 page id (32 fixed), 3 entries below, 4 bytes of files below.
Kind 3, one row per chunk: 1 chunk id (32 fixed; zeros = a hole), 2 length in bytes.
Kind 4, one row per child: 2 page id (32 fixed), 4 bytes below.
xattrs value: per attribute, sorted by name: name length u16, value length u32, name, value.

Page id = keyed BLAKE3 of the page (page id key of the domain). Each page's own set is sealed beside it, in its
segment's table (a *side record*): number of references u32, then columns 1 segment names (20 fixed, each once), 2 for
every reference of the page, in order, the ordinal of its segment, 3 to 5 (siteagent.store.nameruns; absent when there
are none) further segments needed below: those of whole chunk lists, and the closures of delta frames. References are,
per row: inline ids that are no holes, chunk list, out-of-line target, out-of-line xattrs; children; listed chunks that
are no holes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, compress
from typing import Any, NamedTuple

from shared.errors import HostileError
from shared.tree import HOLE
from siteagent.store.columns import (
    BLOBS,
    FIXED,
    INTEGERS,
    Column,
    Columns,
    blobs,
    damaged,
    encode_columns,
    fixed,
    integers,
    split_items,
)
from siteagent.store.entry import Entry
from siteagent.store.entrycheck import LIMITS, require_order, require_references
from siteagent.store.nameruns import decode_names, encode_names
from siteagent.store.names import NAME_BYTES, SegmentName

VERSION = 1
ENTRIES, ENTRY_INDEX, CHUNKS, CHUNK_INDEX, VALUE = 1, 2, 3, 4, 5
HEADER_BYTES = 12
LEVELS_MAX = 8
ROWS_MAX = 1 << 16
EXTRAS_MAX = 1 << 19
"""Values in columns that are not known, in one page: empty columns cost nothing to store, and much to hold."""
INLINE_CHUNKS_MAX = 16
INLINE_VALUE_MAX = 1024
_ID = 32
_KNOWN_ENTRIES = frozenset((*range(1, 15), *range(20, 26)))
_KNOWN_ROWS = frozenset((1, 2, 3, 4))
_KNOWN_SIDE = frozenset(range(1, 6))
_FURTHER = 3
_IDS, _LENGTHS, _TREE, _EXTRA = (Entry._fields.index(name) for name in ("ids", "lengths", "tree", "extra"))
_FIELDS = range(2, Entry._fields.index("segments"))


class Child(NamedTuple):
    """A row of an index page: a page below, what it covers, and its segment."""

    last_key: bytes
    page_id: bytes
    entries: int
    size_bytes: int
    segment: SegmentName


def _header(kind: int, level: int, rows: int, folders: int = 0) -> bytes:
    return bytes((VERSION, kind, level, 0)) + rows.to_bytes(4, "little") + folders.to_bytes(4, "little")


def read_header(page: bytes | memoryview, kinds: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Parse a page's header: (kind, level, rows, folders); raises DamagedError or HostileError."""
    if len(page) < HEADER_BYTES:
        raise damaged("a page is too short")
    kind, level = page[1], page[2]
    rows, folders = int.from_bytes(page[4:8], "little"), int.from_bytes(page[8:12], "little")
    if page[0] != VERSION or kind not in kinds or rows > ROWS_MAX or folders > rows or level > LEVELS_MAX:
        raise HostileError(f"a page of kind {kind}, version {page[0]}, level {level} is not what belongs here",
                           next_step="run `farkeep verify --read-data`; a newer Farkeep may know this page")
    return kind, level, rows, folders


def encode_side(segments: Sequence[SegmentName], further: Iterable[SegmentName] = ()) -> bytes:
    """The side record of a page with these references, which needs `further` segments besides theirs."""
    ordinals: dict[SegmentName, int] = {}
    numbers = [ordinals.setdefault(name, len(ordinals)) for name in segments]
    columns = [(1, FIXED, 1, fixed(NAME_BYTES, b"".join(ordinals))), (2, INTEGERS, 1, integers(numbers))]
    if others := set(further) - set(ordinals):
        columns += encode_names(_FURTHER, others)
    return len(segments).to_bytes(4, "little") + encode_columns(columns)


def decode_side(data: bytes, references: int) -> list[SegmentName]:
    """The segment of every reference of a page."""
    if len(data) < 4 or int.from_bytes(data[:4], "little") != references:
        raise damaged("a page's side record is about another page")
    columns = Columns(memoryview(data)[4:], _KNOWN_SIDE)
    names = split_items(columns.fixed(1, NAME_BYTES), NAME_BYTES)
    numbers = columns.integers(2, references)
    if numbers and not 0 <= min(numbers) <= max(numbers) < len(names):
        raise damaged("a page's side record points beyond its end")
    return [names[number] for number in numbers]


def side_segments(data: bytes) -> list[SegmentName]:
    """All segments of a side record, each once."""
    columns = Columns(memoryview(data)[4:], _KNOWN_SIDE)
    names = split_items(columns.fixed(1, NAME_BYTES), NAME_BYTES)
    return [*names, *decode_names(columns, _FURTHER)] if _FURTHER in columns else names


def encode_entries(rows: Sequence[Entry]) -> bytes:
    """An entry page."""
    fields = list(zip(*rows, strict=True))
    runs: list[tuple[bytes, int]] = []
    for folder in fields[0]:
        if runs and runs[-1][0] == folder:
            runs[-1] = (folder, runs[-1][1] + 1)
        else:
            runs.append((folder, 1))
    columns = [
        (1, BLOBS, 1, blobs([folder for folder, _ in runs])), (2, INTEGERS, 1, integers([run for _, run in runs])),
        (3, BLOBS, 1, blobs(fields[1])),
    ]  # fmt: skip
    for number in _FIELDS:
        columns += _field_columns(number, fields[number])
    if any(fields[_EXTRA]):
        columns += _extra_columns(fields[_EXTRA])
    return _header(ENTRIES, 0, len(rows), len(runs)) + encode_columns(columns)


def _field_columns(number: int, values: Sequence[Any]) -> list[Column]:
    """The columns of one field of `Entry` (folders, names, segments and extras are not encoded here)."""
    if number < _IDS:
        return [(number + 2, INTEGERS, 0, integers(values))]
    if number == _IDS:
        return [(20, INTEGERS, 1, integers([len(joined) // _ID for joined in values])),
                (21, FIXED, 1, fixed(_ID, b"".join(values)))]  # fmt: skip
    if number == _LENGTHS:
        return [(22, INTEGERS, 1, integers([length for row in values for length in row]))]
    return [(number + 8, BLOBS, int(number == _TREE), blobs(values))]


def encode_patched(page: EntryPage, patches: Mapping[int, Entry]) -> bytes:
    """`page` with other rows of the same keys in some places: columns in which they do not differ stay as they are."""
    fields, columns = page.fields(), list[Column]()
    for number in _FIELDS:
        old = fields[number]
        new = [(place, entry[number]) for place, entry in patches.items() if entry[number] != old[place]]
        if new:
            values = list(old)
            for place, value in new:
                values[place] = value
            columns += _field_columns(number, values)
    return page.replaced(columns)


def _extra_columns(extras: Sequence[tuple[tuple[int, int, int | bytes], ...]]) -> list[Column]:
    kinds = {column: kind for row in extras for column, kind, _ in row}
    result = []
    for column, kind in kinds.items():
        values = [next((value for number, _, value in row if number == column), None) for row in extras]
        if kind == INTEGERS:
            result.append((column, kind, 0, integers([value if isinstance(value, int) else 0 for value in values])))
        else:
            data = blobs([value if isinstance(value, bytes) else b"" for value in values])
            result.append((column, BLOBS, 0, data))
    return result


class EntryPage:
    """A decoded entry page: columns as lists, entries made on demand."""

    def __init__(self, page: bytes | memoryview, side: bytes) -> None:
        """Decode and check; raises DamagedError or HostileError."""
        _, _, count, folder_count = read_header(page, (ENTRIES,))
        self._columns = columns = Columns(memoryview(page)[HEADER_BYTES:], _KNOWN_ENTRIES)
        self.side = side
        self.count = count
        self.names = columns.blobs(3, count)
        runs = columns.integers(2, folder_count)
        if sum(runs) != count or (runs and min(runs) < 1):
            raise damaged("a page's folders do not cover its entries")
        ends = list(accumulate(runs))
        self.folders = [
            (folder, end - run, end)
            for folder, run, end in zip(columns.blobs(1, folder_count), runs, ends, strict=True)
        ]  # fmt: skip
        require_order(self.folders, self.names)
        self._page = page
        self._rows: list[Entry] | None = None
        self._fields: list[Sequence[Any]] | None = None
        self._numbers: dict[int, list[int]] = {}

    def numbers(self, column: int) -> list[int]:
        """One integer column."""
        known = self._numbers.get(column)
        if known is None:
            known = self._numbers[column] = self._columns.integers_within(column, self.count, *LIMITS[column])
        return known

    @property
    def is_plain(self) -> bool:
        """True when every column is known to this version."""
        return not self._columns.unknown(_KNOWN_ENTRIES)

    def replaced(self, columns: Iterable[Column]) -> bytes:
        """The bytes of this page with other columns in the place of some."""
        return bytes(self._page[:HEADER_BYTES]) + self._columns.replaced(columns)

    def row(self, place: int) -> Entry:
        """One entry."""
        return Entry._make([column[place] for column in self.fields()])

    def identities(self) -> list[tuple[int, int, int, int, int] | None]:
        """(st_mode, size, mtime, ctime, inode) per entry; None where the entry must be read again in any case."""
        rows: list[tuple[int, int, int, int, int] | None] = list(
            zip(*(self.numbers(column) for column in (5, 8, 9, 10, 11)), strict=True)
        )
        flags = self.numbers(14)
        return [None if flag else row for row, flag in zip(rows, flags, strict=True)] if any(flags) else rows

    def rows(self) -> list[Entry]:
        """All entries."""
        if self._rows is None:
            self._rows = list(map(Entry._make, zip(*self.fields(), strict=True)))
        return self._rows

    def some_rows(self, wants: Callable[[int, int, tuple[SegmentName, ...]], bool]) -> list[tuple[int, Entry]]:
        """(place, entry) of those whose (type, link group, segments) are wanted; the others are not put together."""
        lists = self.fields()
        keep = list(map(wants, lists[2], lists[10], lists[18]))
        return list(zip(compress(range(self.count), keep),
                        map(Entry._make, zip(*(compress(column, keep) for column in lists), strict=True)),
                        strict=True))  # fmt: skip

    def fields(self) -> list[Sequence[Any]]:
        """One list per field of an entry, in the order of `Entry`; not to be changed."""
        if self._fields is None:
            self._fields = self._decoded_fields()
        return self._fields

    def _decoded_fields(self) -> list[Sequence[Any]]:
        columns, count = self._columns, self.count
        folders = [folder for folder, start, end in self.folders for _ in range(start, end)]
        counts = columns.integers(20, count)
        ids = _cut_ids(columns.fixed(21, _ID), counts)
        lengths = _cut_lengths(columns, counts)
        trees, targets, xattrs = columns.blobs(23, count), columns.blobs(24, count), columns.blobs(25, count)
        require_references(ids, lengths, trees, targets, xattrs)
        segments = _cut_segments(self.side, ids, trees, targets, xattrs)
        numbers = [self.numbers(column) for column in range(4, 15)]
        return [folders, self.names, *numbers, ids, lengths, trees, targets, xattrs, segments, self._extras()]

    def _extras(self) -> list[tuple[tuple[int, int, int | bytes], ...]]:
        unknown = self._columns.unknown(_KNOWN_ENTRIES)
        if not unknown:
            return [()] * self.count
        if len(unknown) * self.count > EXTRAS_MAX:
            raise HostileError("a page holds more values of unknown meaning than any writer makes",
                               next_step="run `farkeep verify --read-data`; a newer Farkeep may know this page")
        lists = [
            [(column, kind, value) for value in (self._columns.integers(column, self.count) if kind == INTEGERS
                                                 else self._columns.blobs(column, self.count))]
            for column, kind in unknown
        ]  # fmt: skip
        return [tuple(row) for row in zip(*lists, strict=True)]


def _cut_ids(joined: bytes, counts: list[int]) -> list[bytes]:
    if (counts and not 0 <= min(counts) <= max(counts) <= INLINE_CHUNKS_MAX) or sum(counts) * _ID != len(joined):
        raise damaged("a page's chunk ids do not match its entries")
    ends = list(accumulate(counts))
    return [joined[(end - n) * _ID : end * _ID] for end, n in zip(ends, counts, strict=True)]


def _cut_lengths(columns: Columns, counts: list[int]) -> list[tuple[int, ...]]:
    several = [n if n > 1 else 0 for n in counts]
    flat = columns.integers(22, sum(several))
    ends = list(accumulate(several))
    return [tuple(flat[end - n : end]) for end, n in zip(ends, several, strict=True)]


def _cut_segments(side: bytes, *parts: list[bytes]) -> list[tuple[SegmentName, ...]]:
    ids, trees, targets, xattrs = parts
    counts = [_references(joined) for joined in ids]
    for column in (trees, targets, xattrs):
        if any(column):
            counts = [n + (value[:1] == b"\1" if column is not trees else bool(value))
                      for n, value in zip(counts, column, strict=True)]  # fmt: skip
    flat = decode_side(side, sum(counts))
    if len(flat) == len(counts) and set(counts) == {1}:
        return [(name,) for name in flat]
    ends = list(accumulate(counts))
    return [tuple(flat[end - n : end]) for end, n in zip(ends, counts, strict=True)]


def _references(joined: bytes) -> int:
    """How many of some joined chunk ids are no holes."""
    if len(joined) == _ID:
        return int(joined != HOLE)
    return sum(1 for piece in split_items(joined, _ID) if piece != HOLE)


def encode_index(kind: int, level: int, rows: Sequence[Child]) -> bytes:
    """An index page over entry pages or chunk lists."""
    columns = [
        (2, FIXED, 1, fixed(_ID, b"".join(row.page_id for row in rows))),
        (4, INTEGERS, 1, integers([row.size_bytes for row in rows])),
    ]
    if kind == ENTRY_INDEX:
        columns.append((1, BLOBS, 1, blobs([row.last_key for row in rows])))
        columns.append((3, INTEGERS, 1, integers([row.entries for row in rows])))
    return _header(kind, level, len(rows)) + encode_columns(columns)


def decode_index(page: bytes | memoryview, side: bytes) -> tuple[int, int, list[Child]]:
    """An index page: (kind, level, children)."""
    kind, level, count, _ = read_header(page, (ENTRY_INDEX, CHUNK_INDEX))
    columns = Columns(memoryview(page)[HEADER_BYTES:], _KNOWN_ROWS)
    ids = split_items(columns.fixed(2, _ID), _ID)
    keys = columns.blobs(1, count) if kind == ENTRY_INDEX else [b""] * count
    entries = columns.integers(3, count) if kind == ENTRY_INDEX else [0] * count
    if level < 1 or len(ids) != count:
        raise damaged("an index page contradicts itself")
    rows = zip(keys, ids, entries, columns.integers(4, count), decode_side(side, count), strict=True)
    return kind, level, [Child(*row) for row in rows]


def encode_chunks(ids: Sequence[bytes], lengths: Sequence[int]) -> bytes:
    """A chunk list page."""
    return _header(CHUNKS, 0, len(ids)) + encode_columns(
        [(1, FIXED, 1, fixed(_ID, b"".join(ids))), (2, INTEGERS, 1, integers(lengths))]
    )


def decode_chunks(page: bytes | memoryview, side: bytes) -> list[tuple[bytes, int, SegmentName]]:
    """A chunk list page: (chunk id, length, segment) per chunk; holes have no segment (empty bytes)."""
    _, _, count, _ = read_header(page, (CHUNKS,))
    columns = Columns(memoryview(page)[HEADER_BYTES:], _KNOWN_ROWS)
    ids, lengths = split_items(columns.fixed(1, _ID), _ID), columns.integers(2, count)
    if len(ids) != count or (lengths and min(lengths) < 1):
        raise damaged("a chunk list contradicts itself")
    segments = iter(decode_side(side, sum(1 for chunk_id in ids if chunk_id != HOLE)))
    return [
        (chunk_id, length, b"" if chunk_id == HOLE else next(segments))
        for chunk_id, length in zip(ids, lengths, strict=True)
    ]


def encode_value(value: bytes) -> bytes:
    """A value kept out of line."""
    return _header(VALUE, 0, 0) + value


def decode_value(page: bytes | memoryview) -> bytes:
    """The value of a value page."""
    read_header(page, (VALUE,))
    return bytes(page[HEADER_BYTES:])
