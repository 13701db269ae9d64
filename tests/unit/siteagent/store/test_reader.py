"""Reading segments: located by the index, which may lie; checked against the seals; damage is remembered."""

from __future__ import annotations

import itertools
import threading

import pytest

from shared.errors import DamagedError, FarkeepError, HostileError
from shared.keyring import Keyring
from siteagent.store import reader as reader_module
from siteagent.store.delta import Base, BaseChunk, encode_base
from siteagent.store.frame import RAW, ZSTD_DELTA
from siteagent.store.index import Spot
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.pack import Row
from siteagent.store.reader import SegmentReader
from siteagent.store.segment import DATA, Sealer
from siteagent.store.table import Frame, Table, encode_table
from tests.support.homes import incompressible
from tests.support.stores import RUN, MemoryPack, MemoryPacks, keyring, make_pack, seal_chunks

PACK = b"pack" * 4
CHUNKS = {number: [incompressible(f"{number} {part}", 500 + part) for part in range(3)] for number in range(1, 31)}


class Spots:
    """A table of places."""

    def __init__(self) -> None:
        self.known: dict[SegmentName, Spot] = {}

    def spot(self, segment: SegmentName) -> Spot | None:
        return self.known.get(segment)


class CountingPacks(MemoryPacks):
    """Counts reads."""

    reads = 0

    def open(self, pack_id: bytes) -> MemoryPack:
        self.reads += 1
        return super().open(pack_id)


@pytest.fixture(scope="module")
def keys() -> Keyring:
    return keyring()


@pytest.fixture
def store(keys: Keyring) -> tuple[CountingPacks, Spots, list[Row], SegmentReader]:
    segments = [seal_chunks(keys, number, chunks) for number, chunks in CHUNKS.items()]
    pack, _, rows = make_pack(keys, PACK, segments)
    packs, spots = CountingPacks(), Spots()
    packs.kept[PACK] = pack
    spots.known = {row.name: Spot(PACK, row.offset, row.length, row.table_length) for row in rows}
    return packs, spots, rows, SegmentReader(packs, spots, keys)


Store = tuple[CountingPacks, Spots, list[Row], SegmentReader]


def _chunk_ids(reader: SegmentReader, name: SegmentName) -> list[bytes]:
    return list(reader.table(name).places)


def test_every_chunk_comes_back(store: Store) -> None:
    _, _, rows, reader = store
    for row, chunks in zip(rows, CHUNKS.values(), strict=True):
        assert [bytes(reader.chunk(row.name, chunk_id)) for chunk_id in _chunk_ids(reader, row.name)] == chunks
    assert reader.damaged == set()


def test_near_reads_come_from_memory(store: Store) -> None:
    packs, _, rows, reader = store
    ids = _chunk_ids(reader, rows[0].name)
    for chunk_id in ids * 3:
        reader.chunk(rows[0].name, chunk_id)
    assert packs.reads == 2


def test_memory_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, rows, reader = store
    monkeypatch.setattr(reader_module, "_FRAMES_MAX_BYTES", 4000)
    for row in rows:
        reader.chunk(row.name, _chunk_ids(reader, row.name)[0])
    kept = sum(len(plain) for plain in reader._frames.values())
    assert kept == reader._frames_bytes <= reader_module._FRAMES_MAX_BYTES
    assert len(reader._frames) < len(rows)


def test_a_lying_index_never_gives_another_chunk(store: Store) -> None:
    _, spots, rows, reader = store
    truth = spots.known[rows[0].name]
    for lie in (
        spots.known[rows[1].name], Spot(PACK, truth.offset + 1, truth.length, truth.table_length),
        Spot(PACK, truth.offset, truth.length - 1, truth.table_length), Spot(b"x" * 16, 128, 1000, 544),
        Spot(PACK, truth.offset, truth.length, truth.table_length - 1), Spot(PACK, 1 << 40, truth.length, 544),
        Spot(PACK, truth.offset, truth.length + 4, truth.table_length),
    ):  # fmt: skip
        fresh = SegmentReader(store[0], spots, reader._keys)
        spots.known[rows[0].name] = lie
        with pytest.raises(FarkeepError):
            for chunk_id in _chunk_ids(fresh, rows[0].name):
                fresh.chunk(rows[0].name, chunk_id)
        assert fresh.damaged == {rows[0].name}


def test_a_segment_nobody_knows_is_missing(store: Store) -> None:
    reader = store[3]
    with pytest.raises(DamagedError, match="missing"):
        reader.table(segment_name(RUN, 999))
    with pytest.raises(DamagedError, match="not in the segment"):
        reader.chunk(segment_name(RUN, 1), b"x" * 32)
    with pytest.raises(DamagedError, match="not in the segment"):
        reader.side(segment_name(RUN, 1), _chunk_ids(reader, segment_name(RUN, 1))[0])


def test_damage_is_an_error_that_names_the_segment_and_is_remembered(store: Store) -> None:
    packs, _, rows, reader = store
    packs.kept[PACK].data[rows[4].offset + rows[4].length - 1] ^= 1
    ids = _chunk_ids(reader, rows[4].name)
    assert reader.damaged == set()
    with pytest.raises(DamagedError) as raised:
        reader.chunk(rows[4].name, ids[0])
    assert raised.value.subject == RUN.hex() + "-5"
    assert reader.damaged == {rows[4].name}
    with pytest.raises(DamagedError):
        reader.chunk(rows[4].name, ids[1])
    assert bytes(reader.chunk(rows[5].name, _chunk_ids(reader, rows[5].name)[0])) == CHUNKS[6][0]


def test_several_threads_read_the_same(store: Store) -> None:
    _, _, rows, reader = store
    wrong: list[object] = []

    def work(step: int) -> None:
        for number in range(200):
            row = rows[(number * step) % len(rows)]
            chunks = CHUNKS[1 + (number * step) % len(rows)]
            found = [bytes(reader.chunk(row.name, chunk_id)) for chunk_id in _chunk_ids(reader, row.name)]
            if found != chunks:
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(step,)) for step in (1, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def deltas_in_a_circle(keys: Keyring) -> tuple[SegmentReader, list[tuple[SegmentName, bytes]]]:
    """Two delta frames that say to be of depth 1, each resting on the chunk of the other."""
    names = [segment_name(RUN, number) for number in (1, 2)]
    ids = [bytes((number,)) * 32 for number in (1, 2)]
    sealer = Sealer(keys.site_id, keys.default_domain.id, keys.current, RUN)
    sealed = []
    for at in (0, 1):
        other = names[1 - at]
        base = Base((BaseChunk(other, ids[1 - at]),))
        frame = Frame(ZSTD_DELTA, 100, 20, 1, encode_base(base, (other,)))
        table = Table([frame], ids[at], [0], [100], [], (other,), tuple(names))
        sealed.append(sealer.seal(DATA, at + 1, encode_table(table), [bytes(20)], (other,)))
    pack, _, rows = make_pack(keys, PACK, sealed)
    packs, spots = CountingPacks(), Spots()
    packs.kept[PACK] = pack
    spots.known = {row.name: Spot(PACK, row.offset, row.length, row.table_length) for row in rows}
    return SegmentReader(packs, spots, keys), list(zip(names, ids, strict=True))


def test_deltas_that_rest_on_each_other_are_refused(keys: Keyring) -> None:
    reader, chunks = deltas_in_a_circle(keys)
    for name, chunk_id in chunks:
        with pytest.raises(HostileError, match="no shallower"):
            reader.chunk(name, chunk_id)
        with pytest.raises(HostileError, match="no shallower"):
            reader.frame_closure(name, chunk_id)


def _two_segments_of_two_frames(keys: Keyring) -> tuple[SegmentReader, list[tuple[SegmentName, bytes, bytes]]]:
    """(segment, id, plaintext) of five chunks in each of two segments: frames take turns 0, 0, 1, 1, 0."""
    sealer = Sealer(keys.site_id, keys.default_domain.id, keys.current, RUN)
    sealed, known, turns = [], [], (0, 0, 1, 1, 0)
    for number in (1, 2):
        chunks = [incompressible(f"frames {number} {part}", 40 + part) for part in range(5)]
        ids = [bytes((number, part)) * 16 for part in range(5)]
        bodies: list[bytes | memoryview] = [
            b"".join(chunk for chunk, turn in zip(chunks, turns, strict=True) if turn == frame) for frame in (0, 1)
        ]
        frames = [Frame(RAW, len(body), len(body)) for body in bodies]
        table = Table(frames, b"".join(ids), list(turns), [len(chunk) for chunk in chunks])
        sealed.append(sealer.seal(DATA, number, encode_table(table), bodies))
        known += [(segment_name(RUN, number), *both) for both in zip(ids, chunks, strict=True)]
    pack, _, rows = make_pack(keys, PACK, sealed)
    packs, spots = CountingPacks(), Spots()
    packs.kept[PACK] = pack
    spots.known = {row.name: Spot(PACK, row.offset, row.length, row.table_length) for row in rows}
    return SegmentReader(packs, spots, keys), known


def test_the_chunks_of_a_base_come_back_in_order_whatever_they_are(keys: Keyring) -> None:
    reader, known = _two_segments_of_two_frames(keys)
    for chosen in itertools.chain(*(itertools.product(known[:6], repeat=count) for count in (1, 2, 3))):
        base = Base(tuple(BaseChunk(name, chunk_id) for name, chunk_id, _ in chosen))
        assert b"".join(reader.base_plains(base)) == b"".join(plain for _, _, plain in chosen)


def test_what_lies_side_by_side_in_a_frame_is_one_piece(keys: Keyring) -> None:
    reader, known = _two_segments_of_two_frames(keys)

    def pieces(*places: int) -> list[int]:
        chunks = tuple(BaseChunk(*known[place][:2]) for place in places)
        return [len(piece) for piece in reader.base_plains(Base(chunks))]

    assert pieces(0, 1, 2, 3) == [40 + 41, 42 + 43]
    assert pieces(3, 4) == [43, 44]
    assert pieces(1, 0) == [41, 40]
    assert pieces(4, 5, 6) == [44, 40 + 41]
