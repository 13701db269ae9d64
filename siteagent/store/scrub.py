"""Checking stored segments against all that is said of them: pack trailer, clear header, seals, digest, chunk ids.

Two depths. The *head*: header and sealed table are read (about 1 % of a pack). The *whole*: every byte is read, the
digest compared, both seals opened, t compared, every frame decompressed and every chunk hashed again to its keyed id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from msgspec import Struct, field

from shared.epochkeys import EpochKeys
from shared.errors import DamagedError, FarkeepError, HostileError
from shared.keyring import DomainKeys
from shared.merkle import digest_of
from shared.sealing import keyed_id
from siteagent.store.frame import ZSTD_DELTA
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.nameset import NameSet
from siteagent.store.opened import OpenSegment, OpenTable
from siteagent.store.pack import PackHeader, Reads, Row
from siteagent.store.segment import (
    CATALOG,
    DATA,
    HEADER_BYTES,
    Header,
    bases_digest,
    open_segment,
    open_table,
    parse_header,
)
from siteagent.store.table import Table, decode_table

Expand = Callable[[OpenSegment, int], bytes | memoryview | None]
"""Gives the plaintext of a frame; None: its chunks are not to be hashed, since nobody can use them."""
WORKERS = 2
_WAITING_PER_WORKER = 3
"""Segments in work or done and not yet counted: with 1 MiB bodies and two workers about 20 MB."""


class ScrubKeys(Protocol):
    """What checking asks of a keyring."""

    def epoch(self, number: int) -> EpochKeys:
        """The keys of one key epoch."""

    def domain(self, domain_id: bytes) -> DomainKeys:
        """The keys of one dedup domain."""


def check_head(pack: Reads, about: PackHeader, row: Row, keys: ScrubKeys) -> Table:
    """Read a segment's header and sealed table; returns the table.

    Raises DamagedError, HostileError or RefusedError when anything is not as the pack's trailer says.
    """
    data = pack.read_at(row.offset, HEADER_BYTES + row.table_length)
    header = _header(data, about, row)
    return _checked_table(header, open_table(header, data[HEADER_BYTES:], keys.epoch(header.key_epoch)))


def _checked_table(header: Header, plain_table: bytes) -> Table:
    table = decode_table(plain_table)
    if (header.bases, header.bases_digest) != (len(table.bases), bases_digest(table.bases)):
        raise _damaged("a segment's header names other bases than its table", header.name)
    return table


def check_whole(pack: Reads, about: PackHeader, row: Row, keys: ScrubKeys, expand: Expand | None = None) -> Table:
    """Read a whole segment and prove every byte of it; returns the table. Raises like `check_head`.

    Without `expand` (what gives the plaintext of a delta frame) the chunks of delta frames are not hashed again.
    """
    data = pack.read_at(row.offset, row.length)
    header = _header(data, about, row)
    if digest_of([data]) != row.digest:
        raise _damaged("a segment's bytes are not those its pack's trailer has the digest of", row.name)
    plain_table, body = open_segment(header, memoryview(data)[HEADER_BYTES:], keys.epoch(header.key_epoch))
    table = _checked_table(header, plain_table)
    _check_chunks(OpenSegment(OpenTable(header, table), body), _id_key(header, keys), expand)
    return table


def _header(data: bytes, about: PackHeader, row: Row) -> Header:
    header = parse_header(data, shown_segment(row.name))
    if header.name != row.name:
        raise _damaged("another segment lies where this one should be", row.name)
    if (header.table_length, header.length) != (row.table_length, row.length):
        raise _damaged("a segment has other lengths than its pack's trailer says", row.name)
    if (header.kind, header.site) != (about.kind, about.site):
        raise _damaged("a segment lies in a pack of another kind or site", row.name)
    return header


def _id_key(header: Header, keys: ScrubKeys) -> bytes:
    if header.kind not in (DATA, CATALOG):
        raise HostileError(f"a segment has kind {header.kind}, which this version does not know",
                           subject=shown_segment(header.name), next_step="open this home with a newer Farkeep")
    domain = keys.domain(header.domain)
    return domain.chunk_id_key if header.kind == DATA else domain.page_id_key


def _check_chunks(segment: OpenSegment, id_key: bytes, expand: Expand | None) -> None:
    table = segment.head.table
    plain: memoryview | None = None
    opened = -1
    rows = zip(table.chunk_frames, segment.head.offsets, table.lengths, strict=True)
    for place, (frame, offset, length) in enumerate(rows):
        if expand is None and table.frames[frame].codec == ZSTD_DELTA:
            continue
        if frame != opened:
            found, opened = expand(segment, frame) if expand else segment.frame(frame), frame
            plain = None if found is None else memoryview(found)
        if plain is not None and keyed_id(id_key, plain[offset : offset + length]) != table.chunk_id(place):
            raise _damaged("a chunk is not what its id says", segment.head.header.name)


def _damaged(what: str, name: SegmentName) -> DamagedError:
    return DamagedError(what, subject=shown_segment(name), next_step="run `farkeep verify --read-data`")


class ScrubResult(Struct):
    """What was checked so far. `present`: segments that hold as far as they were read; `damaged`: what is wrong with
    each of the others; `proven`: those of the `suspects` that were read whole and hold."""

    segments: int = 0
    whole: int = 0
    bytes_read: int = 0
    present: NameSet = field(default_factory=NameSet)
    damaged: dict[SegmentName, str] = field(default_factory=dict)
    proven: set[SegmentName] = field(default_factory=set)


class Scrub:
    """Checks the segments of pack after pack with `workers` threads; close it.

    `is_whole` tells which segments are read whole, `suspects` are so in any case.
    """

    def __init__(self, keys: ScrubKeys, is_whole: Callable[[SegmentName], bool],
                 suspects: Iterable[SegmentName] = (), workers: int = WORKERS, expand: Expand | None = None) -> None:
        self._keys, self._is_whole, self._suspects, self._expand = keys, is_whole, frozenset(suspects), expand
        self._waiting_max = _WAITING_PER_WORKER * workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="scrub")
        self._waiting: deque[tuple[Row, Future[Table]]] = deque()
        self.result = ScrubResult()

    def pack(self, pack: Reads, about: PackHeader, rows: list[Row]) -> None:
        """Check the segments of one pack, in the order in which they lie."""
        for row in sorted(rows, key=lambda row: row.offset):
            if row.name in self._suspects or self._is_whole(row.name):
                self._waiting.append((row, self._submit(pack, about, row)))
                if len(self._waiting) > self._waiting_max:
                    self._settle()
            else:
                self._head(pack, about, row)
        while self._waiting:
            self._settle()

    def _submit(self, pack: Reads, about: PackHeader, row: Row) -> Future[Table]:
        return self._pool.submit(check_whole, pack, about, row, self._keys, self._expand)

    def _head(self, pack: Reads, about: PackHeader, row: Row) -> None:
        self.result.segments += 1
        self.result.bytes_read += HEADER_BYTES + row.table_length
        try:
            check_head(pack, about, row, self._keys)
        except FarkeepError as error:
            self.result.damaged[row.name] = error.message
        else:
            self.result.present.add(row.name)

    def _settle(self) -> None:
        row, future = self._waiting.popleft()
        self.result.segments += 1
        self.result.whole += 1
        self.result.bytes_read += row.length
        try:
            future.result()
        except FarkeepError as error:
            self.result.damaged[row.name] = error.message
        else:
            self.result.present.add(row.name)
            if row.name in self._suspects:
                self.result.proven.add(row.name)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)
