"""Segment tables: round trip, golden bytes, and refusal of tables that contradict themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.errors import DamagedError, HostileError
from siteagent.store.names import segment_name
from siteagent.store.table import CHUNKS_MAX, FRAMES_MAX, Frame, Table, decode_table, encode_table

RUN = bytes(16)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    frames = draw(st.lists(st.lists(st.integers(0, 1 << 17), min_size=1, max_size=6), max_size=4))
    lengths = [length for frame in frames for length in frame]
    depths = [draw(st.integers(0, 4)) for _ in frames]
    rows = [Frame(draw(st.integers(0, 2)), sum(frame), draw(st.integers(0, 1 << 20)), depth, b"bases" if depth else b"")
            for frame, depth in zip(frames, depths, strict=True)]
    ids = draw(st.binary(min_size=32 * len(lengths), max_size=32 * len(lengths)))
    numbers = [number for number, frame in enumerate(frames) for _ in frame]
    sides = draw(st.sampled_from([[], [b"side"] * len(lengths)]))
    bases = tuple(segment_name(RUN, number) for number in range(draw(st.integers(0, 8))))
    return Table(rows, ids, numbers, lengths, sides, bases, bases)


@given(tables())
def test_a_table_comes_back(table: Table) -> None:
    assert decode_table(encode_table(table)) == table


def test_golden_bytes() -> None:
    table = Table([Frame(1, 30, 12)], bytes(32) + b"\1" * 32, [0, 0], [10, 20])
    assert encode_table(table).hex() == (
        "01000100" "02000000" "0800" "0100010103000000" "0200010103000000" "0300010103000000" "0400010102000000"
        "0500020106000000" "0a00030142000000" "0b00010102000000" "0c00010105000000"
        "000101" "00011e" "00010c" "0000" "020000000000" "2000" + "00" * 32 + "01" * 32 + "0000" "01010a000a"
    )  # fmt: skip


def test_offsets_follow_from_lengths_frame_by_frame() -> None:
    table = Table([Frame(0, 30, 30), Frame(0, 7, 5)], bytes(96), [0, 1, 0], [10, 7, 20])
    assert table.offsets() == [0, 0, 10]
    assert table.frame_starts() == [0, 30, 35]
    assert Table([Frame(0, 30, 30)], bytes(64), [0, 0], [10, 20]).offsets() == [0, 10]
    assert table.chunk_id(2) == bytes(32)
    assert len(table) == 3


GOOD = Table([Frame(1, 30, 12)], bytes(64), [0, 0], [10, 20])


@pytest.mark.parametrize(
    "table",
    [
        replace(GOOD, ids=bytes(32)),
        replace(GOOD, chunk_frames=[0, 1]),
        replace(GOOD, chunk_frames=[0, -1]),
        replace(GOOD, lengths=[10, 21]),
        replace(GOOD, lengths=[-10, 40]),
        replace(GOOD, frames=[Frame(1, 30, -1)]),
        replace(GOOD, frames=[Frame(1, 30, 12, 5, b"bases")]),
        replace(GOOD, frames=[Frame(1, 30, 12, 1)]),
        replace(GOOD, frames=[Frame(1, 30, 12, 0, b"bases")]),
        replace(GOOD, bases=(segment_name(RUN, 1),), closure=(segment_name(RUN, 2),)),
        replace(GOOD, frames=[Frame(1, 30, 12, -1)]),
        replace(GOOD, frames=[Frame(1, 30, 12), Frame(1, 1, 1)]),
        replace(GOOD, bases=tuple(segment_name(RUN, n) for n in range(9))),
        replace(GOOD, bases=(segment_name(RUN, 1),), closure=tuple(segment_name(RUN, n) for n in range(17))),
    ],
)
def test_a_table_that_contradicts_itself_is_damage(table: Table) -> None:
    with pytest.raises(DamagedError):
        decode_table(encode_table(table))


def test_absurd_counts_are_refused_before_anything_is_made() -> None:
    good = encode_table(GOOD)
    for frames, chunks in ((FRAMES_MAX + 1, 2), (1, CHUNKS_MAX + 1), (1, 2**32 - 1)):
        data = good[:2] + frames.to_bytes(2, "little") + chunks.to_bytes(4, "little") + good[8:]
        with pytest.raises(HostileError):
            decode_table(data)
    with pytest.raises(DamagedError):
        decode_table(good[:7])
    with pytest.raises(DamagedError, match="version"):
        decode_table(b"\2" + good[1:])


@given(st.binary(max_size=120), st.integers(0, 200))
def test_changed_bytes_give_a_typed_error_or_a_table(noise: bytes, at: int) -> None:
    good = encode_table(GOOD)
    data = good[: at % len(good)] + noise + good[at % len(good) + len(noise) :]
    try:
        table = decode_table(data)
    except (DamagedError, HostileError):
        return
    assert decode_table(encode_table(table)) == table
    assert len(table.ids) == 32 * len(table.lengths) == 32 * len(table.chunk_frames)
    assert sum(table.lengths) == sum(frame.plain_bytes for frame in table.frames)
    assert set(table.chunk_frames) <= set(range(len(table.frames)))
