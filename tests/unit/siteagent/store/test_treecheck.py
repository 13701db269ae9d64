"""Checking catalogs: pages that decode but lie are told from sound ones, and the blame falls on the page's segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from shared.errors import DamagedError
from shared.tree import FOLDER, HOLE
from siteagent.store.catalog import Catalog, Root
from siteagent.store.catalogbuilder import CatalogBuilder
from siteagent.store.chunklist import ListBuilder, Piece
from siteagent.store.entry import Entry
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.opened import OpenTable
from siteagent.store.page import ENTRY_INDEX, encode_entries, encode_index, encode_side
from siteagent.store.reader import SegmentReader
from siteagent.store.successors import Successors
from siteagent.store.table import Frame, Table
from siteagent.store.trace import Stretch, Trace
from siteagent.store.treecheck import Needs, TreeCheck
from tests.support.homes import incompressible
from tests.support.stores import BOUNDARY_KEY, RUN, PageMemory, entry

DATA = segment_name(RUN, 500)
FAR = segment_name(RUN, 501)
ELSEWHERE = "a piece of it is not in the segment that should hold it"
SUMS = "its pieces do not add up to its size"


class Memory(PageMemory):
    """Pages, and the tables of data segments; some segments do not read."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: dict[SegmentName, dict[bytes, int]] = {}
        self.unreadable: set[SegmentName] = set()
        self._tables: dict[SegmentName, OpenTable] = {}

    successors = Successors()

    def table(self, name: SegmentName) -> OpenTable:
        """The table of a data segment."""
        self._require_readable(name)
        if name not in self._tables:
            chunks = self.chunks.get(name, {})
            total = sum(chunks.values())
            table = Table([Frame(0, total, total)], b"".join(chunks), [0] * len(chunks), list(chunks.values()))
            self._tables[name] = OpenTable(cast(Any, None), table)
        return self._tables[name]

    def chunk(self, name: SegmentName, chunk_id: bytes) -> memoryview:
        self._require_readable(name)
        return super().chunk(name, chunk_id)

    def side(self, name: SegmentName, page_id: bytes) -> bytes:
        self._require_readable(name)
        return super().side(name, page_id)

    def _require_readable(self, name: SegmentName) -> None:
        if name in self.unreadable:
            raise DamagedError("it does not read", subject=name.hex())

    def keep(self, one: Entry) -> Entry:
        """Have the chunk of a small file."""
        for segment in one.segments:
            self.chunks.setdefault(segment, {})[one.ids] = one.size
        return one


def _checked(memory: Memory, root: Root) -> tuple[TreeCheck, Needs]:
    check = TreeCheck(cast(SegmentReader, memory))
    return check, check.check(root)


def _files(memory: Memory, count: int) -> list[Entry]:
    return [memory.keep(entry(b"dir", b"%05d" % number, segment=DATA)) for number in range(count)]


def _list(memory: Memory, pieces: list[Piece]) -> tuple[bytes, SegmentName, set[SegmentName]]:
    builder = ListBuilder(memory, BOUNDARY_KEY)
    for piece in pieces:
        builder.add(piece)
        if piece.segment:
            memory.chunks.setdefault(piece.segment, {})[piece.chunk_id] = piece.length
    return *builder.finish(), builder.segments


def _large(memory: Memory, count: int = 300) -> tuple[Entry, set[SegmentName]]:
    ids = incompressible("large", 32 * count)
    pieces = [Piece(ids[32 * n : 32 * n + 32], 10, segment_name(RUN, 600 + n // 50)) for n in range(count)]
    tree, segment, needs = _list(memory, [*pieces, Piece(HOLE, 7, b"")])
    return entry(b"dir", b"large", size=10 * count + 7)._replace(ids=b"", tree=tree, segments=(segment,)), needs


def _build(memory: Memory, entries: list[Entry], needs: Callable[[Entry], set[SegmentName]] = lambda _: set()) -> Root:
    builder = CatalogBuilder(memory, BOUNDARY_KEY, needs)
    for one in entries:
        builder.add(one)
    return builder.finish()


def test_a_sound_catalog_passes_and_its_needs_are_known() -> None:
    memory = Memory()
    large, below = _large(memory)
    root = _build(memory, [*_files(memory, 2000), large], lambda _: below)
    assert root.level == 1
    check, needs = _checked(memory, root)
    assert check.result.damaged == {}
    assert check.result.wrong == {}
    assert needs.is_whole
    assert needs.segments == {DATA, *memory.places.values(), *below}


def test_shared_pages_are_read_once() -> None:
    memory = Memory()
    root = _build(memory, _files(memory, 3000))
    check, needs = _checked(memory, root)
    leaves = len(list(Catalog(memory, root).leaves()))
    memory.reads = 0
    assert check.check(root).segments == needs.segments
    assert memory.reads == 1
    assert leaves > 5


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda one: one._replace(ids=b"x" * 32), ELSEWHERE),
        (lambda one: one._replace(size=one.size + 1), ELSEWHERE),
        (lambda one: one._replace(ids=b"", segments=()), SUMS),
        (lambda one: one._replace(ids=HOLE + HOLE, lengths=(1, 1), segments=()), SUMS),
    ],
)
def test_an_entry_that_contradicts_the_store_is_named(spoil: Callable[[Entry], Entry], what: str) -> None:
    memory = Memory()
    files = _files(memory, 5)
    files[3] = spoil(files[3])
    root = _build(memory, files)
    check, _ = _checked(memory, root)
    assert check.result.wrong == {b"/dir/00003": what}
    assert set(check.result.damaged) == {root.segment}


def test_a_page_that_does_not_name_what_its_lists_need_is_wrong() -> None:
    memory = Memory()
    large, below = _large(memory)
    check, _ = _checked(memory, _build(memory, [large], lambda _: below - {max(below)}))
    assert check.result.wrong == {b"/dir/large": "its page does not name all segments it needs"}


def test_a_list_that_does_not_add_up_is_wrong() -> None:
    memory = Memory()
    large, below = _large(memory)
    check, _ = _checked(memory, _build(memory, [large._replace(size=5)], lambda _: below))
    assert check.result.wrong == {b"/dir/large": "its pieces do not add up to its size"}


def test_a_list_with_a_chunk_that_is_not_there_is_blamed_on_its_page() -> None:
    memory = Memory()
    large, below = _large(memory)
    memory.chunks[segment_name(RUN, 603)].popitem()
    check, _ = _checked(memory, _build(memory, [large], lambda _: below))
    assert list(check.result.damaged.values()) == [
        "a chunk list names a piece that is not in the segment that should hold it"
    ]


@pytest.mark.parametrize("order", ["twice", "down"])
def test_pages_out_of_order_are_wrong(order: str) -> None:
    memory = Memory()
    one, two = _files(memory, 2)
    rows = [one, one] if order == "twice" else [two, one]
    page_id, segment = memory.put_page(encode_entries(rows), encode_side([DATA, DATA]))
    check, needs = _checked(memory, Root(page_id, segment, 0))
    assert check.result.damaged == {segment: "the names of a page are out of order, or one is there twice"}
    assert not needs.is_whole


@pytest.mark.parametrize("spoil", ["sums", "key", "level"])
def test_an_index_that_lies_about_its_pages_is_wrong(spoil: str) -> None:
    memory = Memory()
    leaves = list(Catalog(memory, _build(memory, _files(memory, 2000))).leaves())
    rows = [leaf.row for leaf in leaves]
    if spoil == "sums":
        rows[1] = rows[1]._replace(entries=rows[1].entries + 1)
    elif spoil == "key":
        rows[1] = rows[1]._replace(last_key=rows[1].last_key + b"x")
    page = encode_index(ENTRY_INDEX, 2 if spoil == "level" else 1, rows)
    page_id, segment = memory.put_page(page, encode_side([row.segment for row in rows]))
    check, _ = _checked(memory, Root(page_id, segment, 1))
    assert len(check.result.damaged) == 1


def test_an_unreadable_page_leaves_the_rest_checked() -> None:
    memory = Memory()
    root = _build(memory, _files(memory, 8000))
    leaves = list(Catalog(memory, root).leaves())
    lost = leaves[20].row.segment
    memory.unreadable.add(lost)
    check, needs = _checked(memory, root)
    assert set(check.result.damaged) == {lost}
    assert not needs.is_whole
    assert needs.segments == {DATA, *memory.places.values()}


def test_what_cannot_be_listed_is_told_by_the_keys_around_it() -> None:
    memory = Memory()
    entries = [entry(b"", b"dir", kind=FOLDER), *_files(memory, 8000)]
    root = _build(memory, entries)
    leaves = list(Catalog(memory, root).leaves())
    lost = leaves[20].row.segment
    inside = [number for number, leaf in enumerate(leaves) if leaf.row.segment == lost]
    memory.unreadable.add(lost)
    trace = Trace(memory, {lost})
    trace.follow(root)
    found = trace.found[lost]
    assert found.stretches == {
        Stretch(b"/dir", leaves[n - 1].page.rows()[-1].path if n else b"", leaves[n].page.rows()[-1].path)
        for n in inside
    }
    assert found.paths == {leaves[n].page.rows()[-1].path for n in inside}


def test_paths_rest_on_data_values_and_lists() -> None:
    memory = Memory()
    large, below = _large(memory)
    builder = CatalogBuilder(memory, BOUNDARY_KEY, lambda _: below)
    value, (value_segment,) = builder.stored_value(b"v" * 2000)
    link = entry(b"dir", b"link", kind=3, size=0)._replace(target=value, segments=(value_segment,))
    plain = memory.keep(entry(b"dir", b"plain", segment=FAR))
    for one in (large, link, plain):
        builder.add(one)
    root = builder.finish()
    for name, paths in (
        (FAR, {b"/dir/plain"}), (segment_name(RUN, 603), {b"/dir/large"}),
        (value_segment, {b"/dir/link", b"/dir/large", b"/dir/plain"}),
    ):  # fmt: skip
        trace = Trace(memory, {name})
        trace.follow(root)
        assert trace.found[name].paths == paths
