"""Packs: header, trailer and root; what is not exactly as written is refused, and nothing points outside."""

from __future__ import annotations

import struct

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DamagedError, HostileError, NewerFormatError
from siteagent.store.names import segment_name
from siteagent.store.pack import (
    END_MAGIC,
    FOOTER_BYTES,
    HEADER_BYTES,
    SEGMENTS_MAX,
    TRAILER_BYTES_MAX,
    Cited,
    PackHeader,
    Row,
    encode_trailer,
    pack_root,
    parse_pack_header,
    read_trailer,
)
from siteagent.store.segment import SEGMENT_BYTES_MAX
from tests.support.stores import MemoryPack

HEADER = PackHeader(1, b"site" * 4, b"pack" * 4, Cited(b"e" * 32, 9, b"h" * 32))
RUN = b"run-of-16-bytes!"


def _rows(*lengths: int) -> list[Row]:
    rows, offset = [], HEADER_BYTES
    for number, length in enumerate(lengths, 1):
        rows.append(Row(segment_name(RUN, number), offset, length, 20, bytes((number,)) * 32))
        offset += length
    return rows


def _pack(rows: list[Row], body_bytes: int | None = None) -> MemoryPack:
    size = sum(row.length for row in rows) if body_bytes is None else body_bytes
    return MemoryPack(bytearray(HEADER.encode() + bytes(size) + encode_trailer(HEADER, rows)))


def test_header_and_trailer_come_back() -> None:
    rows = _rows(300, 400, 500)
    assert read_trailer(_pack(rows), "pack") == (HEADER, rows)
    assert parse_pack_header(HEADER.encode(), "pack") == HEADER


def test_golden_bytes() -> None:
    assert HEADER.encode().hex() == (
        "464b706b" "01010000" + (b"site" * 4).hex() + (b"pack" * 4).hex() + "65" * 32 + "0900000000000000" + "68" * 32
        + "00" * 16
    )  # fmt: skip
    rows = _rows(300, 400)
    trailer = blake3(encode_trailer(HEADER, rows)).hexdigest()
    assert trailer == "965b4590c0771376415627f1875412775c128f3479b2747c0d5ecce3be1d7515"
    assert pack_root(rows).hex() == "b9a125313cf1149778e5d624196b83d5cfdd0bea6a1b8c687447c97faff338ca"


def test_every_changed_byte_of_header_trailer_and_footer_is_noticed() -> None:
    rows = _rows(300, 400)
    pack = _pack(rows)
    places = [*range(HEADER_BYTES), *range(HEADER_BYTES + 700, pack.size_bytes)]
    for at in places:
        spoilt = MemoryPack(bytearray(pack.data))
        spoilt.data[at] ^= 1
        with pytest.raises((DamagedError, HostileError)):
            read_trailer(spoilt, "pack")


@given(st.integers(1, 2000))
def test_a_cut_pack_has_no_trailer(missing: int) -> None:
    pack = _pack(_rows(300, 400))
    with pytest.raises((DamagedError, HostileError)):
        read_trailer(MemoryPack(pack.data[: max(0, pack.size_bytes - missing)]), "pack")


@pytest.mark.parametrize(
    "row",
    [
        Row(segment_name(RUN, 1), HEADER_BYTES - 1, 300, 20, bytes(32)),
        Row(segment_name(RUN, 1), HEADER_BYTES, 1001, 20, bytes(32)),
        Row(segment_name(RUN, 1), HEADER_BYTES + 701, 300, 20, bytes(32)),
        Row(segment_name(RUN, 1), HEADER_BYTES, 300, -1, bytes(32)),
        Row(segment_name(RUN, 1), HEADER_BYTES, 300, 2**40, bytes(32)),
        Row(segment_name(RUN, 1), HEADER_BYTES, 300, 125, bytes(32)),
        Row(segment_name(RUN, 1), HEADER_BYTES, -300, 20, bytes(32)),
    ],
)
def test_a_trailer_that_points_outside_or_states_no_segment_is_damage(row: Row) -> None:
    """The trailer's digest is right: only the bounds stand between these numbers and a read of that size."""
    with pytest.raises(DamagedError, match="outside"):
        read_trailer(_pack([row], 1000), "pack")


def test_a_row_longer_than_any_segment_is_damage() -> None:
    row = Row(segment_name(RUN, 1), HEADER_BYTES, SEGMENT_BYTES_MAX + 1, 20, bytes(32))
    with pytest.raises(DamagedError, match="outside"):
        read_trailer(_pack([row], SEGMENT_BYTES_MAX + 1), "pack")


def test_absurd_lengths_in_the_footer_are_refused_before_anything_is_read() -> None:
    pack = _pack(_rows(300))
    for length, count in ((2**32 - 1, 1), (100, 2**32 - 1), (pack.size_bytes, 1)):
        footer = struct.pack("<II", length, count) + bytes(32) + END_MAGIC
        with pytest.raises((HostileError, DamagedError)):
            read_trailer(MemoryPack(pack.data[:-FOOTER_BYTES] + footer), "pack")


class _Vast:
    """A file of a terabyte that ends in a footer; it tells how much was read of it."""

    size_bytes = 1 << 40

    def __init__(self, footer: bytes) -> None:
        self._footer, self.read_bytes = footer, 0

    def read_at(self, offset: int, length: int) -> bytes:
        """The footer, or zeros."""
        self.read_bytes += length
        return self._footer if offset == self.size_bytes - FOOTER_BYTES else bytes(length)


@pytest.mark.parametrize(("length", "count"), [(2**32 - 1, 1), (TRAILER_BYTES_MAX + 1, 1), (100, SEGMENTS_MAX + 1)])
def test_a_vast_file_does_not_make_absurd_lengths_sane(length: int, count: int) -> None:
    pack = _Vast(struct.pack("<II", length, count) + bytes(32) + END_MAGIC)
    with pytest.raises(HostileError, match="absurd"):
        read_trailer(pack, "pack")
    assert pack.read_bytes == FOOTER_BYTES


def test_a_newer_pack_is_refused() -> None:
    data = HEADER.encode()
    with pytest.raises(NewerFormatError, match="newer"):
        parse_pack_header(data[:4] + b"\2" + data[5:], "pack")


def test_the_root_depends_on_names_lengths_digests_and_order() -> None:
    rows = _rows(300, 400, 500)
    others = [
        rows[::-1],
        rows[:2],
        [Row(rows[0].name, 128, 301, 20, rows[0].digest), *rows[1:]],
        [Row(rows[0].name, 128, 300, 20, bytes(32)), *rows[1:]],
        [Row(segment_name(RUN, 9), 128, 300, 20, rows[0].digest), *rows[1:]],
    ]
    assert len({pack_root(rows), *map(pack_root, others)}) == 6
