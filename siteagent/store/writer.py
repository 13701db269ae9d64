"""Writing chunks and pages in one run: de-duplicated, gathered into segments, handed to the pipeline.

A segment's name is known as soon as its first chunk is placed, before it is sealed; nothing that names it is
acknowledged before `finish` has made its pack durable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import islice

from msgspec import Struct

from shared.epochkeys import EpochKeys
from shared.errors import DamagedError, FarkeepError, HostileError
from shared.facts import PackRef
from shared.keyring import DomainKeys
from shared.randomness import Randomness
from shared.sealing import keyed_id
from shared.secret import Secret
from siteagent.store.delta import BASE_CHUNKS_MAX, Base, BaseChunk, compress_delta, dictionary_of
from siteagent.store.deltahelpers import DeltaHelpers
from siteagent.store.deltastream import DeltaStream
from siteagent.store.deltawork import DeltaLoad, Encoding
from siteagent.store.index import Index
from siteagent.store.leases import Lease
from siteagent.store.names import RUN_BYTES, SegmentName, run_of
from siteagent.store.pack import PACK_BYTES, Cited
from siteagent.store.packs import Packs
from siteagent.store.packwriter import PackWriter
from siteagent.store.pipeline import Pipeline, SealingKeys
from siteagent.store.reader import SegmentReader
from siteagent.store.segment import CATALOG, DATA
from siteagent.store.stream import Stream
from siteagent.store.table import BASES_MAX, CLOSURE_MAX

_PLACED_MAX = 300_000


class RunKeys(Secret, frozen=True):
    """What one run seals and names with."""

    site: bytes
    epoch: EpochKeys
    domain: DomainKeys


class FoundBase(Struct, frozen=True):
    """A base that may be used, and all segments that it needs."""

    base: Base
    closure: set[SegmentName]


class StoreWriter:
    """One run's way into the store. Filled by one thread."""

    def __init__(self, packs: Packs, index: Index, reader: SegmentReader, keys: RunKeys, lease: Lease,
                 cited: Callable[[], Cited], randomness: Randomness, workers: int = 0,
                 may_start_processes: bool = True, pack_bytes: int = PACK_BYTES) -> None:
        self.run = randomness.bits(RUN_BYTES)
        self._keys, self._index, self._reader, self._lease = keys, index, reader, lease
        self._chunk_key, self._page_key = keys.domain.chunk_id_key, keys.domain.page_id_key
        self._writers = {
            kind: PackWriter(packs, index, keys.site, kind, cited, randomness, pack_bytes) for kind in (DATA, CATALOG)
        }  # fmt: skip
        sealing = SealingKeys(keys.site, keys.domain.id, keys.epoch, {DATA: self._chunk_key, CATALOG: self._page_key})
        self._pipeline = Pipeline(self.run, sealing, self._writers, reader.base_plains, workers, may_start_processes)
        self._number = 0
        self._number_lock = threading.Lock()
        self._data = Stream(DATA, self._pipeline, self._next_number, self.run)
        self._pages = Stream(CATALOG, self._pipeline, self._next_number, self.run)
        self._data_deltas = DeltaStream(DATA, self._pipeline, self._next_number, self.run)
        self._page_deltas = DeltaStream(CATALOG, self._pipeline, self._next_number, self.run)
        self._usable: dict[SegmentName, bool] = {}
        self._placed: dict[bytes, SegmentName] = {}
        self._is_first, self._has_forgotten = index.is_empty(), False
        self._is_closed = False
        self.bytes_new = 0
        self.base_depth = 0
        """How deep a base may be in this run (see siteagent.capture.ancestry)."""

    def _next_number(self) -> int:
        with self._number_lock:
            self._number += 1
            return self._number

    @property
    def chunk_key(self) -> bytes:
        """The key of chunk ids in this run's dedup domain."""
        return self._chunk_key

    def find(self, chunk_id: bytes) -> SegmentName | None:
        """The segment that holds a chunk or page, or None when it must be stored.

        A hit of the index is believed only after the segment's sealed table has confirmed it and only when nothing
        of that segment is condemned or known to be damaged.
        """
        return self._placed.get(chunk_id) or self._stored(chunk_id)

    def _stored(self, chunk_id: bytes, side: bytes | None = None) -> SegmentName | None:
        """The segment of an earlier run that holds a chunk, or a page with exactly this side record.

        A page's id does not tell where its references lie; its side record does. With another one it would lead to
        segments that this run does not rely on, damaged or condemned ones among them.
        """
        if self._is_first and not self._has_forgotten:
            return None
        said = self._index.find(chunk_id)
        if said is None or not self._may_refer_to(said.segment):
            return None
        try:
            opened = self._reader.table(said.segment)
        except FarkeepError:
            return None
        place = opened.places.get(chunk_id)
        if place is None or (side is not None and opened.table.sides[place : place + 1] != [side]):
            return None
        return self._remember(chunk_id, said.segment)

    def _may_refer_to(self, segment: SegmentName) -> bool:
        """True when nothing of a segment that the index found is condemned, closed, retired or known to be damaged."""
        return all(map(self._lease.may_reuse, self._whole(segment))) and segment not in self._reader.damaged

    def may_keep(self, segment: SegmentName) -> bool:
        """True when what a kept snapshot names may be named again: nothing of it is condemned or known to be damaged.

        What was superseded is found in its successors.
        """
        known = self._usable.get(segment)
        if known is None:
            needed = self._reader.successors.closed(self._whole(segment))
            known = self._usable[segment] = self._lease.unusable.isdisjoint(needed)
        return known and segment not in self._reader.damaged

    def look_again(self) -> None:
        """Forget what earlier runs hold: less of it may be used than before."""
        self._usable.clear()
        self._placed = {chunk_id: name for chunk_id, name in self._placed.items() if run_of(name) == self.run}

    def _whole(self, segment: SegmentName) -> tuple[SegmentName, ...]:
        """A segment and all that its deltas rest on; the reader notes it as damaged when that cannot be read."""
        try:
            return (segment, *self._reader.closure(segment))
        except FarkeepError:
            return (segment,)

    def _remember(self, chunk_id: bytes, segment: SegmentName) -> SegmentName:
        """Keep the newest places in memory; older ones are found through the index."""
        placed = self._placed
        if len(placed) >= _PLACED_MAX:
            self._has_forgotten = True
            for old in list(islice(placed, _PLACED_MAX // 4)):
                del placed[old]
        placed[chunk_id] = segment
        return segment

    def put(self, data: memoryview) -> tuple[bytes, SegmentName]:
        """Store a chunk unless it is there; returns its id and segment."""
        chunk_id = keyed_id(self._chunk_key, data)
        return chunk_id, self.find(chunk_id) or self.put_new(chunk_id, data)

    def put_new(self, chunk_id: bytes, data: memoryview) -> SegmentName:
        """Store a chunk that `find` did not find."""
        self.bytes_new += len(data)
        return self._remember(chunk_id, self._data.put(chunk_id, data))

    def base_of(self, chunks: Sequence[BaseChunk], head_trim: int = 0, tail_trim: int = 0) -> FoundBase | None:
        """The base made of these chunks with all that it rests on.

        None when there is one that must not be used, does not read or rests too deep, or when a bound would be passed.
        """
        with suppress(DamagedError, HostileError):
            return self._base_of(chunks, head_trim, tail_trim)
        return None

    def _base_of(self, chunks: Sequence[BaseChunk], head_trim: int, tail_trim: int) -> FoundBase | None:
        closure: set[SegmentName] = set()
        depth = 0
        for chunk in chunks:
            if run_of(chunk.segment) == self.run or not self.may_keep(chunk.segment):
                return None
            depth = max(depth, self._reader.depth(chunk.segment, chunk.chunk_id))
            if depth > self.base_depth:
                return None
            closure |= {chunk.segment, *self._reader.frame_closure(chunk.segment, chunk.chunk_id)}
        base = Base(tuple(chunks), head_trim, tail_trim, depth)
        is_allowed = 0 < len(chunks) <= BASE_CHUNKS_MAX and len(closure) <= CLOSURE_MAX
        return FoundBase(base, closure) if is_allowed and len(base.segments()) <= BASES_MAX else None

    def lend_deltas(self, helpers: DeltaHelpers) -> None:
        """Have deltas made by other processes; they are ended with this writer."""
        self._pipeline.delta_helpers = helpers

    def encode(self, load: DeltaLoad) -> Encoding:
        """Have chunks compressed against a base."""
        return self._pipeline.encode(load)

    def put_delta(self, ids: Sequence[bytes], lengths: Sequence[int], packed: bytes, found: FoundBase) -> SegmentName:
        """Store the new chunks of a delta frame; returns their segment."""
        self.bytes_new += sum(lengths)
        name = self._data_deltas.put(ids, lengths, packed, found.base, found.closure)
        for chunk_id in ids:
            self._remember(chunk_id, name)
        return name

    def has_deltas(self, segment: SegmentName) -> bool:
        """True when a segment holds delta frames."""
        if run_of(segment) == self.run:
            return segment in self._data_deltas.closures or segment in self._page_deltas.closures
        return bool(self._reader.closure(segment))

    def closure(self, segment: SegmentName, chunk_id: bytes) -> Collection[SegmentName]:
        """What a chunk or page that this run stored or found rests on, closed; empty for plain ones."""
        if run_of(segment) != self.run:
            return self._reader.frame_closure(segment, chunk_id)
        return self._data_deltas.closures.get(segment) or self._page_deltas.closures.get(segment) or ()

    def put_page(self, page: bytes, side: bytes, earlier: BaseChunk | None = None) -> tuple[bytes, SegmentName]:
        """Store a catalog page with its side record unless it is there; returns its id and segment.

        `earlier`: the page that stood in its place in the previous snapshot.
        """
        page_id = keyed_id(self._page_key, page)
        name = self._placed.get(page_id) or self._stored(page_id, side)
        if name is None:
            name = self._remember(page_id, self._put_page_delta(page_id, page, side, earlier)
                                  or self._pages.put(page_id, page, side))
        return page_id, name

    def _put_page_delta(self, page_id: bytes, page: bytes, side: bytes,
                        earlier: BaseChunk | None) -> SegmentName | None:
        """Store a page as delta of an earlier one; None when that is not possible or does not win."""
        try:
            found = self.shallow_base(earlier) if earlier is not None else None
            if found is None:
                return None
            packed = compress_delta(page, dictionary_of(found.base, self._reader.base_plains(found.base)),
                                    is_dense=True)
        except (DamagedError, HostileError):
            return None
        if packed is None:
            return None
        return self._page_deltas.put([page_id], [len(page)], packed, found.base, found.closure, side)

    def shallow_base(self, earlier: BaseChunk, depth_max: int | None = None) -> FoundBase | None:
        """The nearest of an earlier whole chunk and those it rests on that is no deeper than `depth_max`.

        Raises DamagedError or HostileError.
        """
        depth_max = self.base_depth if depth_max is None else depth_max
        while self._reader.depth(earlier.segment, earlier.chunk_id) > depth_max:
            below = self._reader.base_of(earlier.segment, earlier.chunk_id)
            if below is None or len(below.chunks) != 1 or below.head_trim or below.tail_trim:
                return None
            earlier = below.chunks[0]
        return self.base_of([earlier])

    def put_copy(self, chunk_id: bytes, data: memoryview, side: bytes | None = None) -> SegmentName:
        """Store a chunk, or a page with its side record, whatever else holds it; returns its segment."""
        return self._data.put(chunk_id, data) if side is None else self._pages.put(chunk_id, data, side)

    def put_delta_copy(self, ids: Sequence[bytes], lengths: Sequence[int], packed: bytes, found: FoundBase,
                       side: bytes | None = None) -> SegmentName:
        """Store a delta frame with chunks, or with a page and its side record, whatever else holds them."""
        deltas = self._data_deltas if side is None else self._page_deltas
        return deltas.put(ids, lengths, packed, found.base, found.closure, side)

    def finish(self) -> list[PackRef]:
        """Store everything that was kept, durably; returns the packs finished since the last call."""
        for stream in (self._data, self._pages, self._data_deltas, self._page_deltas):
            stream.flush()
        self._pipeline.drain()
        for writer in self._writers.values():
            writer.flush()
        return self.take()

    def take(self) -> list[PackRef]:
        """The packs that are durable and were not handed out yet."""
        return [pack for writer in self._writers.values() for pack in writer.take()]

    @property
    def stored_bytes(self) -> int:
        """Bytes of the packs finished so far."""
        return sum(writer.stored_bytes for writer in self._writers.values())

    @property
    def incompressible_bytes(self) -> int:
        """Plaintext bytes stored raw because they do not shrink."""
        return self._pipeline.incompressible_bytes

    def close(self) -> None:
        """End the workers; packs not finished are given up. Harmless when called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._pipeline.close()
        for writer in self._writers.values():
            writer.discard()
