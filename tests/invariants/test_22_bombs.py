"""Decoders are bounded: bombs made by hand, a few bytes that ask for gigabytes, minutes or endless depth, are refused
by a typed error for at most 256 MiB of memory and one second of processor time each."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
import zstandard

from shared import codec, keyfile
from shared.errors import DamagedError, FarkeepError, HostileError, UsageError
from shared.facts import PacksStored
from shared.sealing import digest
from shared.tree import HOLE
from siteagent.cli import sizes
from siteagent.ledger.state import State
from siteagent.sources.pathpattern import PathPattern
from siteagent.sources.selection import PatternSelection, Wanted
from siteagent.sources.xattrs import decode_xattrs
from siteagent.store import columns, delta, frame, nameruns, pack, page, reach, table
from siteagent.store.catalog import Catalog, Root
from siteagent.store.chunklist import list_segments, read_leaves
from siteagent.store.columns import BLOBS, FIXED, INTEGERS, encode_columns
from siteagent.store.names import segment_name
from siteagent.store.successors import Successors
from tests.support.bounds import TooMuch, bounded
from tests.support.material import key_material
from tests.support.stores import CITED, MemoryPack
from tests.support.tally import Tally

TYPED = (DamagedError, HostileError, UsageError)
RUN = b"r" * 16


def _zeros(size_bytes: int, level: int = 1) -> bytes:
    """A zstd frame of zeros: a thousandth of a per cent of what it expands to."""
    compressor = zstandard.ZstdCompressor(level=level).compressobj(size=size_bytes)
    block = bytes(1 << 22)
    return b"".join([*(compressor.compress(block) for _ in range(size_bytes // len(block))), compressor.flush()])


def _stated(size_bytes: int, window_log: int) -> bytes:
    """The head of a zstd frame that states a size and a window, and an empty last block (RFC 8878, section 3.1.1)."""
    head = struct.pack("<IBB", 0xFD2FB528, 0b11000000, (window_log - 10) << 3)
    return head + size_bytes.to_bytes(8, "little") + b"\x01\x00\x00"


def _columns(*rows: tuple[int, int, int, bytes]) -> bytes:
    return encode_columns(list(rows))


def _flat(value: bytes = b"") -> bytes:
    """An integer column of no width: any number of equal values in two bytes."""
    return bytes((0, len(value))) + value


def _flat_table(frames: int, chunks: int) -> bytes:
    rows = [(number, INTEGERS, 1, _flat()) for number in (1, 2, 3, 4, 11, 12)]
    rows.append((5, BLOBS, 1, (2).to_bytes(4, "little") + _flat()))
    rows.append((10, FIXED, 1, (32).to_bytes(2, "little")))
    return bytes((1, 0)) + frames.to_bytes(2, "little") + chunks.to_bytes(4, "little") + encode_columns(rows)


def _large_frame_table(plain_bytes: int) -> bytes:
    return table.encode_table(table.Table([table.Frame(1, plain_bytes, 10)], b"i" * 32, [0], [plain_bytes]))


def _entries(rows: int, folders: int, unknown: int) -> bytes:
    """An entry page of nothing but equal values, with columns that no version knows."""
    empty = (2).to_bytes(4, "little") + _flat()
    known = [(number, INTEGERS, 0, _flat()) for number in (*range(4, 15), 20, 22)]
    known += [(number, BLOBS, 0, empty) for number in (1, 3, 23, 24, 25)]
    known += [(2, INTEGERS, 1, _flat(bytes((1,)))), (21, FIXED, 1, (32).to_bytes(2, "little"))]
    known += [(number, INTEGERS, 0, _flat()) for number in range(60, 60 + unknown)]
    head = bytes((1, page.ENTRIES, 0, 0)) + rows.to_bytes(4, "little") + folders.to_bytes(4, "little")
    return head + encode_columns(known)


def _runs(count: int, bits: bytes, low: int = 0) -> bytes:
    rows = range(count)
    return encode_columns([(1, FIXED, 1, columns.fixed(16, b"".join(segment_name(b"%012d" % n, 0) for n in rows))),
                           (2, INTEGERS, 1, columns.integers([low] * count)),
                           (3, BLOBS, 1, columns.blobs([bits] * count))])  # fmt: skip


def _trailer(length: int, count: int) -> MemoryPack:
    header = pack.PackHeader(1, b"s" * 16, b"p" * 16, CITED)
    sound = pack.encode_trailer(header, [])
    return MemoryPack(bytearray(header.encode() + sound[: -pack.FOOTER_BYTES]
                                + struct.pack("<II", length, count) + sound[-36:]))  # fmt: skip


def _key_file(memory_kib: int, passes: int) -> bytes:
    data = bytearray(key_material("keyfile-passphrase.bin"))
    data[26:34] = struct.pack(">II", memory_kib, passes)
    return bytes(data[:-16]) + digest(bytes(data[:-16]))[:16]


def _pages_of(rows: int, folders: int, unknown: int) -> Callable[[], object]:
    return lambda: page.EntryPage(_entries(rows, folders, unknown), page.encode_side([])).rows()


GIBIBYTE = _zeros(1 << 30)
BOMBS: dict[str, Callable[[], object]] = {
    "zstd: a gibibyte of zeros, honestly stated": lambda: frame.expand_frame(1, memoryview(GIBIBYTE), 1 << 30, "bomb"),
    "zstd: a gibibyte of zeros, a lower size told": lambda: frame.expand_frame(1, memoryview(GIBIBYTE), 1000, "bomb"),
    "zstd: terabytes stated": lambda: codec.decompress(_stated(1 << 42, 20), 1 << 42, subject="bomb"),
    "zstd: terabytes stated, a part wanted":
        lambda: codec.decompress_head(_stated(1 << 42, 20), 1 << 42, 1 << 41, subject="bomb"),
    "zstd: a window of gigabytes": lambda: codec.decompress_head(_stated(1000, 31), 1000, 10, subject="bomb"),
    "delta: a gibibyte of zeros": lambda: delta.expand_delta(GIBIBYTE, 1 << 30, b"dictionary", "bomb"),
    "delta: a gibibyte of zeros, a lower size told":
        lambda: delta.expand_delta(GIBIBYTE, 1000, b"dictionary", "bomb"),
    "delta: terabytes stated": lambda: delta.expand_delta(_stated(1 << 42, 20), 1 << 42, b"dictionary", "bomb"),
    "delta: a dictionary of 64 chunks of a mebibyte":
        lambda: delta.dictionary_of(delta.Base((delta.BaseChunk(b"s" * 20, b"c" * 32),) * 64), [bytes(1 << 20)] * 64),
    "table: 2^32 chunks": lambda: table.decode_table(_flat_table(1, (1 << 32) - 1)),
    "table: all chunks and frames that may be, empty": lambda: table.decode_table(_flat_table(4096, 1 << 17)),
    "table: a frame of terabytes": lambda: table.decode_table(_large_frame_table(1 << 42)),
    "columns: a count of 65535": lambda: columns.Columns(memoryview(b"\xff\xff" + bytes(600)), frozenset()),
    "columns: 8 000 of them, all empty":
        lambda: columns.Columns(memoryview(encode_columns([(n, INTEGERS, 0, b"") for n in range(8000)])), frozenset()),
    "page: 2^32 rows": lambda: page.EntryPage(_entries((1 << 32) - 1, 1, 0), b""),
    "page: all rows that may be, nothing in them": _pages_of(1 << 16, 1 << 16, 0),
    "page: all rows that may be, 40 unknown columns": _pages_of(1 << 16, 1 << 16, 40),
    "pack: lying counts": lambda: pack.read_trailer(_trailer(1 << 31, (1 << 32) - 1), "bomb"),
    "pack: counts that just may be": lambda: pack.read_trailer(_trailer(90, 1 << 18), "bomb"),
    "names: every number of every run": lambda: list(nameruns.unpack_names(_runs(64, b"\xff" * (1 << 16)))),
    "names: beyond the last number": lambda: list(nameruns.unpack_names(_runs(1, b"\xff" * 9, (1 << 32) - 8))),
    "side: every number of every run": lambda: page.side_segments(bytes(4) + _sides(64, b"\xff" * (1 << 16))),
    "reach: every number of every run": lambda: reach.decode_reach(_reach(64, b"\xff" * (1 << 16)), "bomb"),
    "msgpack: 100 000 arrays in each other":
        lambda: codec.decode(b"\x91" * 100_000, PacksStored, limit_bytes=1 << 22, subject="bomb"),
    "msgpack: 100 000 arrays where anything may stand":
        lambda: codec.decode(b"\x81\xa5packs" + b"\x91" * 100_000, State, limit_bytes=1 << 22, subject="bomb"),
    "msgpack: 2^32 elements":
        lambda: codec.decode(b"\xdd\xff\xff\xff\xff", PacksStored, limit_bytes=1 << 22, subject="bomb"),
    "xattrs: empty ones without end": lambda: decode_xattrs(b"".join(
        b"\x03\0\0\0\0\0" + n.to_bytes(3, "big") for n in range(1 << 17))),
    "key file: a gibibyte of memory":
        lambda: keyfile.decode_key_file(_key_file(1 << 20, 1), subject="bomb", passphrase=b"x"),
    "key file: endless passes":
        lambda: keyfile.decode_key_file(_key_file(8192, 1 << 30), subject="bomb", passphrase=b"x"),
    "size: beyond every number": lambda: sizes.parse_size("9" * 400 + "P"),
    "share: 5 000 digits": lambda: sizes.parse_share("1/" + "9" * 5000, "share"),
}
HARMLESS = {"table: all chunks and frames that may be, empty", "page: all rows that may be, nothing in them"}
"""Bounded although it is decoded, or refused: either will do."""


def _sides(count: int, bits: bytes) -> bytes:
    runs = columns.Columns(memoryview(_runs(count, bits)), frozenset((1, 2, 3)))
    return encode_columns([(1, FIXED, 1, columns.fixed(20, b"")), (2, INTEGERS, 1, columns.integers([])),
                           (3, FIXED, 1, bytes(runs.raw(1))), (4, INTEGERS, 1, bytes(runs.raw(2))),
                           (5, BLOBS, 1, bytes(runs.raw(3)))])  # fmt: skip


def _reach(count: int, bits: bytes) -> bytes:
    runs = columns.Columns(memoryview(_runs(count, bits)), frozenset((1, 2, 3)))
    names = [(1, FIXED, 1, bytes(runs.raw(1))), (2, INTEGERS, 1, bytes(runs.raw(2))), (3, BLOBS, 1, bytes(runs.raw(3)))]
    return reach.encode_reach(reach.Reach(b"s" * 16, b"n" * 16, b"", 0, 0, frozenset(), frozenset()))[:64] + \
        _digested(encode_columns([*names, *nameruns.encode_names(4, [])]))


def _digested(columns_bytes: bytes) -> bytes:
    from blake3 import blake3

    head = reach.encode_reach(reach.Reach(b"s" * 16, b"n" * 16, b"", 0, 0, frozenset(), frozenset()))[:64]
    return columns_bytes + blake3(head + columns_bytes).digest()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_for_little(name: str, tally: Tally) -> None:
    with bounded():
        try:
            BOMBS[name]()
        except TYPED as error:
            assert error.message and error.next_step
        else:
            assert name in HARMLESS, "it was taken for good"
    tally("bombs", 1)


STARS = ["*a" * 12 + "b", "*" * 40 + "b", "**/a/" * 12 + "b", "a" + "?*" * 15 + "b", "[!x]*" * 14 + "b"]
LONG_NAMES = [b"a" * 255, b"a/" * 1000 + b"c", b"ab" * 127]


@pytest.mark.parametrize("pattern", STARS)
def test_no_pattern_takes_long_whatever_the_names(pattern: str, tally: Tally) -> None:
    """Patterns and names of the kind that make an ordinary regular expression try every way to match."""
    for name in LONG_NAMES:
        folder, _, last = name.rpartition(b"/")
        is_match = name.endswith(b"ab") and "/" not in pattern
        with bounded():
            assert bool(list(PathPattern(pattern).places(folder.replace(b"/", b"\0"), [last], 0, 1))) == is_match
        with bounded():
            assert is_match == PatternSelection(Wanted((pattern,)), [b"/srv"]).excludes(
                b"/srv", b"/srv/" + name, is_folder=False, size_bytes=1)  # fmt: skip
    tally("patterns against names", 2 * len(LONG_NAMES))


@pytest.mark.parametrize("row", [
    pack.Row(b"n" * 20, 1 << 40, 1000, 100, b"d" * 32), pack.Row(b"n" * 20, 128, 1 << 31, 100, b"d" * 32),
    pack.Row(b"n" * 20, 128, 300, 1 << 31, b"d" * 32), pack.Row(b"n" * 20, 0, 300, 30, b"d" * 32),
    pack.Row(b"n" * 20, -5, 300, 30, b"d" * 32), pack.Row(b"n" * 20, 128, 300, -1, b"d" * 32),
])  # fmt: skip
def test_a_trailer_that_points_elsewhere_is_refused(row: pack.Row, tally: Tally) -> None:
    header = pack.PackHeader(1, b"s" * 16, b"p" * 16, CITED)
    data = bytearray(header.encode() + bytes(1000) + pack.encode_trailer(header, [row]))
    with bounded(), pytest.raises(TYPED):
        pack.read_trailer(MemoryPack(data), "bomb")
    tally("bombs", 1)


class _Pages:
    """Pages by id, whatever they hold: a source of catalogs that no writer makes."""

    def __init__(self, pages: dict[bytes, tuple[bytes, bytes]]) -> None:
        self._pages = pages

    def chunk(self, name: bytes, chunk_id: bytes) -> memoryview:
        """A page."""
        return memoryview(self._pages[chunk_id][0])

    def side(self, name: bytes, page_id: bytes) -> bytes:
        """Its side record."""
        return self._pages[page_id][1]

    def frame_closure(self, name: bytes, chunk_id: bytes) -> frozenset[bytes]:
        """Nothing."""
        return frozenset()


def _index(kind: int, level: int, children: list[tuple[bytes, int]]) -> tuple[bytes, bytes]:
    rows = [page.Child(b"%08d" % n, page_id, 1, size, SEGMENT) for n, (page_id, size) in enumerate(children)]
    return page.encode_index(kind, level, rows), page.encode_side([SEGMENT] * len(rows))


SEGMENT = segment_name(RUN, 1)
SELF = b"i" * 32


@pytest.mark.parametrize("level", [1, 2, 8, 9, 200, 255])
def test_a_catalog_that_holds_itself_or_is_too_deep_is_refused(level: int) -> None:
    source = _Pages({SELF: _index(page.ENTRY_INDEX, min(level, 8), [(SELF, 1)])})
    with bounded(), pytest.raises(FarkeepError):
        list(Catalog(source, Root(SELF, SEGMENT, level)).entries())


@pytest.mark.parametrize("level", [1, 2, 8, 9, 200, 255])
def test_a_chunk_list_that_holds_itself_or_is_too_deep_is_refused(level: int) -> None:
    source = _Pages({SELF: _index(page.CHUNK_INDEX, min(level, 8), [(SELF, 1)])})
    # What lies at level 0 is not opened to list segments: there is nothing below it.
    for walk in (read_leaves, list_segments) if level > 1 else (read_leaves,):
        with bounded(), pytest.raises(FarkeepError):
            list(walk(source, bytes((level,)) + SELF, SEGMENT))


def test_a_chunk_list_of_the_same_empty_page_a_billion_times_over_is_read_at_once() -> None:
    """Each of eight levels names the one below a thousand times: all but the first stand for no bytes."""
    leaf = page.encode_chunks([HOLE], [1]), page.encode_side([])
    pages = {bytes((0,)) * 32: leaf}
    for level in range(1, 9):
        below = bytes((level - 1,)) * 32
        pages[bytes((level,)) * 32] = _index(page.CHUNK_INDEX, level, [(below, 1), *[(below, 0)] * 1000])
    with bounded():
        leaves = list(read_leaves(_Pages(pages), bytes((8,)) + bytes((8,)) * 32, SEGMENT))
        assert [leaf.pieces[0].length for leaf in leaves] == [1]
        assert list_segments(_Pages(pages), bytes((8,)) + bytes((8,)) * 32, SEGMENT) == {SEGMENT}


def test_successors_in_a_circle_come_to_an_end() -> None:
    names = [nameruns.pack_names([segment_name(RUN, number)]) for number in range(200)]
    circle = [(names[(number + 1) % 200], names[number]) for number in range(200)]
    with bounded():
        assert Successors(lambda: circle).of(segment_name(RUN, 0)) is not None


def test_reaches_in_a_circle_are_refused() -> None:
    one = reach.Reach(b"s" * 16, b"1" * 16, b"2" * 16, 5, 0, frozenset(), frozenset())
    two = reach.Reach(b"s" * 16, b"2" * 16, b"1" * 16, 4, 0, frozenset(), frozenset())
    with bounded(), pytest.raises(FarkeepError):
        reach.apply(one, lambda snapshot: {one.snapshot: one, two.snapshot: two}[snapshot])


def test_the_bounds_themselves_hold() -> None:
    """A message that takes too much is noticed, by memory and by time."""
    with pytest.raises(TooMuch, match="memory"), bounded():
        bytearray(2 << 30)
    with pytest.raises(TooMuch, match="time"), bounded(0.05):
        while True:
            pass
