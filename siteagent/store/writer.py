"""Writing chunks and pages in one run: de-duplicated, gathered into segments, handed to the pipeline.

A segment's name is known as soon as its first chunk is placed, before it is sealed; nothing that names it is
acknowledged before `finish` has made its pack durable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice

from shared.epochkeys import EpochKeys
from shared.errors import ExhaustedError, FarkeepError
from shared.facts import PackRef
from shared.keyring import DomainKeys
from shared.randomness import Randomness
from shared.sealing import keyed_id
from shared.secret import Secret
from siteagent.store.frame import FRAME_BYTES_MAX
from siteagent.store.index import Index
from siteagent.store.leases import Lease
from siteagent.store.names import RUN_BYTES, SegmentName, segment_name
from siteagent.store.pack import PACK_BYTES, Cited
from siteagent.store.packs import Packs
from siteagent.store.packwriter import PackWriter
from siteagent.store.pipeline import Filled, Pipeline, SealingKeys
from siteagent.store.reader import SegmentReader
from siteagent.store.segment import CATALOG, DATA

_PLACED_MAX = 300_000
CHUNKS_PER_SEGMENT = 8192
SIDE_BYTES_PER_SEGMENT = 1 << 20
"""So that tables stay small: a segment of tiny files, or of pages that need many segments, is handed over early."""


class RunKeys(Secret, frozen=True):
    """What one run seals and names with."""

    site: bytes
    epoch: EpochKeys
    domain: DomainKeys


class _Stream:
    """The slot of one kind of segment that is being filled."""

    def __init__(self, kind: int, pipeline: Pipeline, next_number: Callable[[], int], run: bytes) -> None:
        self._kind, self._pipeline, self._next_number, self._run = kind, pipeline, next_number, run
        self._filled: Filled | None = None
        self._name: SegmentName = b""
        self._side_bytes = 0

    def put(self, chunk_id: bytes, data: memoryview | bytes, side: bytes | None = None) -> SegmentName:
        """Take a chunk (or page, with its side record); returns its segment."""
        size, filled = len(data), self._filled
        if filled is not None and (filled.size_bytes + size > FRAME_BYTES_MAX or len(filled.ids) >= CHUNKS_PER_SEGMENT
                                   or self._side_bytes >= SIDE_BYTES_PER_SEGMENT):
            self.flush()
            filled = None
        if filled is None:
            if size > FRAME_BYTES_MAX:
                raise ExhaustedError(f"a piece of {size} bytes does not fit a segment", next_step="report this")
            number = self._next_number()
            filled = self._filled = Filled(self._kind, number, self._pipeline.slot(), 0, [], [])
            self._name, self._side_bytes = segment_name(self._run, number), 0
        start = filled.size_bytes
        filled.slot.plain[start : start + size] = data
        filled.size_bytes = start + size
        filled.ids.append(chunk_id)
        filled.lengths.append(size)
        if side is not None:
            filled.sides.append(side)
            self._side_bytes += len(side)
        return self._name

    def flush(self) -> None:
        """Hand the slot over, if there is anything in it."""
        filled, self._filled = self._filled, None
        if filled is not None:
            self._pipeline.submit(filled)


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
        self._pipeline = Pipeline(self.run, sealing, self._writers, workers, may_start_processes)
        self._number = 0
        self._number_lock = threading.Lock()
        self._data = _Stream(DATA, self._pipeline, self._next_number, self.run)
        self._pages = _Stream(CATALOG, self._pipeline, self._next_number, self.run)
        self._placed: dict[bytes, SegmentName] = {}
        self._is_first, self._has_forgotten = index.is_empty(), False
        self._is_closed = False
        self.bytes_new = 0

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
        if said is None or not self._lease.may_reuse(said.segment) or said.segment in self._reader.damaged:
            return None
        try:
            opened = self._reader.table(said.segment)
        except FarkeepError:
            return None
        place = opened.places.get(chunk_id)
        if place is None or (side is not None and opened.table.sides[place : place + 1] != [side]):
            return None
        return self._remember(chunk_id, said.segment)

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

    def put_page(self, page: bytes, side: bytes) -> tuple[bytes, SegmentName]:
        """Store a catalog page with its side record unless it is there; returns its id and segment."""
        page_id = keyed_id(self._page_key, page)
        name = self._placed.get(page_id) or self._stored(page_id, side)
        if name is None:
            name = self._remember(page_id, self._pages.put(page_id, page, side))
        return page_id, name

    def put_copy(self, chunk_id: bytes, data: memoryview, side: bytes | None = None) -> SegmentName:
        """Store a chunk, or a page with its side record, whatever else holds it; returns its segment."""
        return self._data.put(chunk_id, data) if side is None else self._pages.put(chunk_id, data, side)

    def finish(self) -> list[PackRef]:
        """Store everything that was kept, durably; returns the packs finished since the last call."""
        self._data.flush()
        self._pages.flush()
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
