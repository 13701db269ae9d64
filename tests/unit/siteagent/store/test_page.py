"""Pages: every value of an entry comes back, pages are compared as bytes, and no bytes get past the checks."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DamagedError, HostileError
from shared.tree import HOLE
from siteagent.store.columns import BLOBS, INTEGERS, encode_columns, fixed, integers
from siteagent.store.entry import Entry
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.page import (
    CHUNK_INDEX,
    CHUNKS,
    ENTRY_INDEX,
    HEADER_BYTES,
    ROWS_MAX,
    Child,
    EntryPage,
    decode_chunks,
    decode_index,
    decode_side,
    decode_value,
    encode_chunks,
    encode_entries,
    encode_index,
    encode_side,
    encode_value,
    read_header,
    side_segments,
)
from tests.support.stores import RUN, entry

SEGMENTS = st.builds(segment_name, st.just(RUN), st.integers(0, 5))
IDS = st.one_of(st.just(HOLE), st.binary(min_size=32, max_size=32))
TIMES = st.integers(min_value=-(2**70), max_value=2**70)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    ids = draw(st.lists(IDS, max_size=16))
    tree = b"" if ids else draw(st.sampled_from([b"", b"\1" + b"t" * 32]))
    target = draw(st.sampled_from([b"", b"\0inline", b"\1" + b"\5\0\0\0" + b"v" * 32]))
    xattrs = draw(st.sampled_from([b"", b"\0x", b"\1" + b"\6\0\0\0" + b"w" * 32]))
    count = sum(1 for one in ids if one != HOLE) + bool(tree) + (target[:1] == b"\1") + (xattrs[:1] == b"\1")
    lengths = tuple(draw(st.lists(st.integers(1, 2**50), min_size=len(ids), max_size=len(ids))))
    numbers = draw(st.tuples(st.integers(1, 6), *[st.integers(0, 2**32 - 1)] * 3, st.integers(0, 2**62), TIMES, TIMES,
                             *[st.integers(0, 2**64 - 1)] * 3, st.integers(0, 2**32 - 1)))  # fmt: skip
    return Entry._make((
        draw(st.sampled_from([b"", b"a", b"a\0b"])), draw(st.binary(max_size=9)), *numbers, b"".join(ids),
        lengths if len(ids) > 1 else (), tree, target, xattrs,
        tuple(draw(st.lists(SEGMENTS, min_size=count, max_size=count))),
        draw(st.sampled_from([(), ((41, BLOBS, b"message id"),), ((50, INTEGERS, -7),)])),
    ))  # fmt: skip


def pages(max_size: int) -> st.SearchStrategy[list[Entry]]:
    """Rows of one page: their keys rise."""
    rows = st.lists(entries(), min_size=1, max_size=max_size, unique_by=lambda row: (row.folder, row.name))
    return rows.map(lambda found: sorted(found, key=lambda row: row.key))


def _encoded(rows: list[Entry], further: set[SegmentName] | None = None) -> tuple[bytes, bytes]:
    return encode_entries(rows), encode_side([name for row in rows for name in row.segments], further or set())


@given(pages(12))
def test_entries_come_back(rows: list[Entry]) -> None:
    page, side = _encoded(rows)
    decoded = EntryPage(page, side).rows()
    columns = {(column, kind) for row in rows for column, kind, _ in row.extra}
    expected = [row._replace(extra=_filled(row, columns)) for row in rows]
    assert [row._replace(extra=tuple(sorted(row.extra))) for row in decoded] == expected
    assert encode_entries(decoded) == encode_entries(expected)


def _filled(row: Entry, columns: set[tuple[int, int]]) -> tuple[tuple[int, int, int | bytes], ...]:
    """A column that any entry of a page has, all have: with nothing in it."""
    own: dict[int, int | bytes] = {column: value for column, _, value in row.extra}
    empty: dict[int, int | bytes] = {INTEGERS: 0, BLOBS: b""}
    return tuple((column, kind, own.get(column, empty[kind])) for column, kind in sorted(columns))


def test_golden_page() -> None:
    """The bytes of pages are for ever."""
    rows = [
        entry(b"", b"", kind=2, size=4096), entry(b"", b"a", kind=2, size=4096),
        entry(b"a", b"b.txt", size=5, mtime_ns=-1)._replace(link_group=77),
        entry(b"a", b"sparse")._replace(ids=HOLE + b"i" * 32, lengths=(4096, 5), size=4101),
        entry(b"a", b"link", kind=3, size=0)._replace(target=b"\0b.txt"),
    ]  # fmt: skip
    page, side = _encoded(rows, {segment_name(RUN, 3)})
    children = [Child(b"a\0\0b", b"p" * 32, 3, 4097, segment_name(RUN, 1))]
    found = [page, side, encode_index(ENTRY_INDEX, 1, children), encode_index(CHUNK_INDEX, 2, children),
             encode_chunks([HOLE, b"c" * 32], [9, 10])]  # fmt: skip
    assert [blake3(data).hexdigest() for data in found] == [
        "1f2ff6b28ef2c00f976953f5137a0458972c3447ef08988133c42e52c71f9fa9",
        "2dd41a68455601521da0cf5c0e045b6abe704ef1db22f1ab9b5ce8a935426753",
        "1f9a1b73a90b5438a1e950fae78ba3742729e0d2f94241382003f37240f3cdaa",
        "4d3023e1aef1a1ca519a102bc0fda3bfb1da6fe4f10862a5234adb5e7c2eadd0",
        "413eee0b33bbabc6595fb6b255fe76b9d30a6a816f92df4100466a08645ea50e",
    ]
    assert encode_value(b"v").hex() == "01050000" "00000000" "00000000" "76"


def test_identities_leave_out_entries_with_a_mark() -> None:
    rows = [entry(b"", b"a"), entry(b"", b"b")._replace(flags=1)]
    assert EntryPage(*_encoded(rows)).identities() == [(0o100644, 5, 1, 1, 9), None]


@given(st.lists(SEGMENTS, max_size=30), st.frozensets(SEGMENTS))
def test_side_records_come_back(references: list[SegmentName], further: frozenset[SegmentName]) -> None:
    side = encode_side(references, further)
    assert decode_side(side, len(references)) == references
    needed = side_segments(side)
    assert sorted(needed) == sorted(set(references) | further)


def test_a_side_record_cannot_point_beyond_or_before_its_names() -> None:
    for number in (1, -1, 2**40):
        data = (1).to_bytes(4, "little") + encode_columns([
            (1, 3, 1, fixed(20, bytes(20))), (2, 1, 1, integers([number])),
        ])  # fmt: skip
        with pytest.raises(DamagedError, match="beyond"):
            decode_side(data, 1)
    with pytest.raises(DamagedError, match="another page"):
        decode_side(encode_side([]), 1)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.binary(min_size=32, max_size=32),
                          st.integers(0, 2**40), st.integers(0, 2**60), SEGMENTS), min_size=1, max_size=9))
def test_index_pages_come_back(rows: list[tuple[bytes, bytes, int, int, SegmentName]]) -> None:
    children = [Child(*row) for row in rows]
    side = encode_side([child.segment for child in children])
    assert decode_index(encode_index(ENTRY_INDEX, 3, children), side) == (ENTRY_INDEX, 3, children)
    plain = [child._replace(last_key=b"", entries=0) for child in children]
    assert decode_index(encode_index(CHUNK_INDEX, 1, children), side) == (CHUNK_INDEX, 1, plain)


@given(st.lists(st.tuples(IDS, st.integers(1, 2**50)), min_size=1, max_size=9))
def test_chunk_lists_come_back(rows: list[tuple[bytes, int]]) -> None:
    segment = segment_name(RUN, 1)
    side = encode_side([segment for chunk_id, _ in rows if chunk_id != HOLE])
    page = encode_chunks([chunk_id for chunk_id, _ in rows], [length for _, length in rows])
    assert decode_chunks(page, side) == [(chunk_id, n, b"" if chunk_id == HOLE else segment) for chunk_id, n in rows]


def test_values_come_back() -> None:
    assert decode_value(encode_value(b"some xattrs")) == b"some xattrs"


def test_a_page_in_the_wrong_place_or_with_absurd_counts_is_refused() -> None:
    page, _ = _encoded([entry(b"", b"a")])
    for spoilt in (
        b"\2" + page[1:], page[:1] + b"\7" + page[2:], page[:2] + b"\x09" + page[3:],
        page[:4] + (ROWS_MAX + 1).to_bytes(4, "little") + page[8:], page[:8] + b"\2\0\0\0" + page[12:],
    ):  # fmt: skip
        with pytest.raises(HostileError):
            EntryPage(spoilt, b"")
    with pytest.raises(DamagedError, match="too short"):
        read_header(page[: HEADER_BYTES - 1], (CHUNKS,))
    with pytest.raises(HostileError):
        decode_value(page)


@given(pages(3), st.binary(max_size=30), st.integers(0, 5000), st.booleans())
def test_changed_bytes_give_a_typed_error_or_entries(rows: list[Entry], noise: bytes, at: int, in_side: bool) -> None:
    page, side = _encoded(rows)
    target = side if in_side else page
    at %= len(target)
    spoilt = target[:at] + noise + target[at + len(noise) :]
    try:
        found = EntryPage(page if in_side else spoilt, spoilt if in_side else side).rows()
    except (DamagedError, HostileError):
        return
    assert [row.key for row in found] == sorted({row.key for row in found})
