"""Writing: what is stored reads back, what is there is not stored again, and nothing rests on damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shared.errors import DamagedError, FarkeepError
from shared.facts import PackRef
from shared.keyring import Keyring
from siteagent.disk.disk import Buffer
from siteagent.store import packwriter
from siteagent.store.delta import BASE_CHUNKS_MAX, BaseChunk
from siteagent.store.frame import FRAME_BYTES_MAX
from siteagent.store.index import Index
from siteagent.store.leases import Leases
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.pack import pack_root, read_trailer
from siteagent.store.page import encode_side, encode_value
from siteagent.store.reader import SegmentReader
from siteagent.store.scrub import check_whole
from siteagent.store.stream import CHUNKS_MAX
from siteagent.store.table import CLOSURE_MAX
from siteagent.store.writer import RunKeys, StoreWriter
from tests.support.determined import LabelledRandomness
from tests.support.homes import incompressible
from tests.support.stores import CITED, MemoryPacks, MemorySink, keyring


class Store:
    """Packs in memory, an index on the disk, one writer after the other."""

    def __init__(self, folder: Path) -> None:
        self.keys: Keyring = keyring()
        self.packs, self.index = MemoryPacks(), Index(str(folder / "index"))
        self.reader = SegmentReader(self.packs, self.index, self.keys)
        self.leases, self.randomness = Leases(), LabelledRandomness("writer")

    def writer(self, unusable: frozenset[SegmentName] = frozenset(), pack_bytes: int = 64 << 20) -> StoreWriter:
        lease = self.leases.register("test")
        lease.unusable |= unusable
        run_keys = RunKeys(self.keys.site_id, self.keys.current, self.keys.default_domain)
        return StoreWriter(self.packs, self.index, self.reader, run_keys, lease, lambda: CITED, self.randomness,
                           workers=2, may_start_processes=False, pack_bytes=pack_bytes)  # fmt: skip

    def store(self, chunks: list[bytes], unusable: frozenset[SegmentName] = frozenset()) -> list[SegmentName]:
        writer = self.writer(unusable)
        try:
            names = [writer.put(memoryview(chunk))[1] for chunk in chunks]
            writer.finish()
        finally:
            writer.close()
        return names


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.index.close()


CHUNKS = [incompressible(f"chunk {n}", 1 + 7000 * n) for n in range(40)]


def test_what_is_put_reads_back_and_its_packs_hold(store: Store) -> None:
    writer = store.writer(pack_bytes=1 << 20)
    placed = [writer.put(memoryview(chunk)) for chunk in CHUNKS]
    packs = writer.finish()
    writer.close()
    assert [bytes(store.reader.chunk(segment, chunk_id)) for chunk_id, segment in placed] == CHUNKS
    assert writer.bytes_new == sum(map(len, CHUNKS))
    assert len(packs) >= 3
    assert sorted(pack.id for pack in packs) == store.packs.finished()
    for pack in packs:
        _check(store, pack)
    assert writer.stored_bytes == sum(pack.size_bytes for pack in packs)


def _check(store: Store, pack: PackRef) -> None:
    opened = store.packs.open(pack.id)
    header, rows = read_trailer(opened, "pack")
    assert (opened.size_bytes, len(rows), pack_root(rows)) == (pack.size_bytes, pack.segments, pack.root)
    assert header.cited == CITED
    for row in rows:
        check_whole(opened, header, row, store.keys)


def test_a_chunk_is_stored_once_in_a_run_and_once_for_all(store: Store) -> None:
    first = store.store([*CHUNKS, *CHUNKS])
    assert first[: len(CHUNKS)] == first[len(CHUNKS) :]
    packs = store.packs.finished()
    assert store.store(CHUNKS) == first[: len(CHUNKS)]
    assert store.packs.finished() == packs


def test_nothing_new_rests_on_a_segment_that_must_not_be_used(store: Store) -> None:
    names = store.store(CHUNKS)
    again = store.store(CHUNKS, frozenset({names[0]}))
    assert names[0] not in again
    assert [one == other for one, other in zip(names, again, strict=True)].count(False) == names.count(names[0])


def test_an_index_that_points_to_nothing_is_not_believed(store: Store) -> None:
    names = store.store(CHUNKS)
    for pack_id in store.packs.finished():
        store.packs.delete(pack_id)
    store.reader = SegmentReader(store.packs, store.index, store.keys)
    again = store.store(CHUNKS)
    assert set(again).isdisjoint(names)
    ids = store.reader.table(again[0]).places
    assert all(bytes(store.reader.chunk(again[0], chunk_id)) in CHUNKS for chunk_id in ids)


def test_a_segment_that_did_not_read_is_not_used_again(store: Store) -> None:
    names = store.store(CHUNKS[:3])
    store.reader.damaged.add(names[0])
    assert set(store.store(CHUNKS[:3])).isdisjoint(names)


def test_no_delta_rests_on_what_must_not_be_used_nor_beyond_the_bounds(store: Store,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    (name,) = set(store.store(CHUNKS[:3]))
    chunk = BaseChunk(name, next(iter(store.reader.table(name).places)))
    writers = [store.writer(), store.writer(frozenset({name}))]
    try:
        found = writers[0].base_of([chunk])
        assert found is not None and found.closure == {name}
        assert writers[1].base_of([chunk]) is None
        assert writers[0].base_of([chunk] * (BASE_CHUNKS_MAX + 1)) is None
        below = frozenset(segment_name(b"b" * 16, number) for number in range(CLOSURE_MAX))
        with monkeypatch.context() as patch:
            patch.setattr(SegmentReader, "frame_closure", lambda *_: below)
            assert writers[0].base_of([chunk]) is None
        store.reader.damaged.add(name)
        assert writers[0].base_of([chunk]) is None
    finally:
        for writer in writers:
            writer.close()


def _put_pages(store: Store, pages: list[tuple[bytes, bytes]]) -> list[tuple[bytes, SegmentName]]:
    writer = store.writer()
    try:
        placed = [writer.put_page(page, side) for page, side in pages]
        writer.finish()
    finally:
        writer.close()
    return placed


def test_a_page_is_used_again_only_with_the_same_side_record(store: Store) -> None:
    """Equal pages may rest on different segments: the id of a page does not tell where its chunks lie."""
    page = encode_value(b"a page")
    old_side, new_side = (encode_side([segment_name(b"r" * 16, number)]) for number in (1, 2))
    ((page_id, first),) = _put_pages(store, [(page, old_side)])
    assert _put_pages(store, [(page, old_side)]) == [(page_id, first)]
    ((_, second),) = _put_pages(store, [(page, new_side)])
    assert second != first
    assert store.reader.side(first, page_id) == old_side
    assert store.reader.side(second, page_id) == new_side


def test_segments_do_not_grow_beyond_a_frame_nor_beyond_a_table(store: Store) -> None:
    writer = store.writer()
    tiny = [writer.put(memoryview(b"%d" % n))[1] for n in range(CHUNKS_MAX + 10)]
    large = [writer.put(memoryview(incompressible(f"l{n}", FRAME_BYTES_MAX // 2 + 1)))[1] for n in range(3)]
    further = {segment_name(bytes((n % 256,)) * 16, 300 * n) for n in range(30_000)}
    sides = [writer.put_page(encode_value(b"%d" % n), encode_side((), further))[1] for n in range(6)]
    writer.finish()
    writer.close()
    assert len(set(tiny)) == 2
    assert len(set(large)) == 3
    assert len(set(sides)) > 1
    assert all(store.reader.segment(name).head.header.table_length < 4 << 20 for name in {*tiny, *large, *sides})


def test_a_piece_that_fits_no_segment_is_refused(store: Store) -> None:
    writer = store.writer()
    with pytest.raises(FarkeepError):
        writer.put(memoryview(bytes(FRAME_BYTES_MAX + 1)))
    writer.close()


def test_what_reads_back_wrong_ends_the_job_and_no_pack_remains(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemorySink, "spoil", b"XXXX")
    writer = store.writer(pack_bytes=200_000)
    with pytest.raises(DamagedError):
        for chunk in CHUNKS:
            writer.put(memoryview(chunk))
        writer.finish()
    writer.close()
    assert store.packs.finished() == []
    assert store.packs.unfinished() == []
    assert store.index.packs() == set()


def test_a_pack_with_a_failed_write_is_given_up_by_whoever_finishes_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failing thread raises; another one that fills the pack must neither wait for it nor keep the pack."""
    writer = packwriter.PackWriter(store.packs, store.index, store.keys.site_id, 1, lambda: CITED, store.randomness,
                                   pack_bytes=1000)  # fmt: skip
    stored = [packwriter.StoredSegment(segment_name(b"r" * 16, n), bytes(32), b"i" * 32, [0]) for n in (1, 2)]
    append = MemorySink.append

    def failing(self: MemorySink, buffers: Sequence[Buffer]) -> int:
        if buffers[0] == b"bad":
            raise DamagedError("the disk refused a write")
        return append(self, buffers)

    monkeypatch.setattr(MemorySink, "append", failing)
    with pytest.raises(DamagedError):
        writer.add(stored[0], [b"bad", b"", b""], lambda _: None)
    writer.add(stored[1], [b"good", b"", bytes(2000)], lambda _: None)
    assert writer.take() == []
    assert store.packs.finished() == []


def test_what_was_found_is_looked_for_again_when_less_may_be_used(store: Store) -> None:
    """What this run stored itself stays."""
    (old,) = store.store([b"stored before"])
    writer = store.writer()
    chunk_id, found = writer.put(memoryview(b"stored before"))
    new_id, new = writer.put(memoryview(b"new in this run"))
    assert found == old
    assert writer.may_keep(old)
    writer._lease.unusable |= {old}
    writer.look_again()
    assert not writer.may_keep(old)
    assert writer.find(chunk_id) is None
    assert writer.find(new_id) == new
    writer.close()
