"""Parts of a store for tests: keys, pages kept in memory, packs kept in memory, and small catalogs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from shared.errors import DamagedError
from shared.keyring import Keyring
from shared.tree import FILE, FOLDER, child_folder, key_of
from siteagent.disk.disk import Buffer
from siteagent.store.catalog import Catalog, Leaf, Root
from siteagent.store.catalogbuilder import CatalogBuilder
from siteagent.store.delta import BaseChunk
from siteagent.store.entry import Entry
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.pack import Cited, PackHeader, Row, encode_trailer
from siteagent.store.segment import DATA, SealedSegment, Sealer
from siteagent.store.table import Frame, Table, encode_table
from tests.support.determined import LabelledRandomness, StandingClock

BOUNDARY_KEY = bytes(range(32))
RUN = b"one run of tests"
CITED = Cited(bytes(32), 7, bytes(range(32)))


def keyring(label: str = "a store for tests") -> Keyring:
    """A site's keys that follow from a label."""
    randomness = LabelledRandomness(label)
    return Keyring.create(randomness.bits(32), None, randomness, StandingClock())


@dataclass
class PageMemory:
    """Pages in memory, about sixteen to a segment: a sink and a source at once. `stored` counts pages put anew."""

    run: bytes = RUN
    pages: dict[bytes, bytes] = field(default_factory=dict)
    sides: dict[bytes, bytes] = field(default_factory=dict)
    places: dict[bytes, SegmentName] = field(default_factory=dict)
    reads: int = 0
    earlier: list[bytes] = field(default_factory=list)
    closures: dict[bytes, frozenset[SegmentName]] = field(default_factory=dict)

    def put_page(self, page: bytes, side: bytes, earlier: BaseChunk | None = None) -> tuple[bytes, SegmentName]:
        """Keep a page."""
        if earlier is not None:
            self.earlier.append(earlier.chunk_id)
        page_id = blake3(page).digest()
        self.pages[page_id] = page
        self.sides.setdefault(page_id, side)
        segment = self.places.setdefault(page_id, segment_name(self.run, 1 + len(self.places) // 16))
        return page_id, segment

    def chunk(self, name: SegmentName, chunk_id: bytes) -> memoryview:
        """A page."""
        self.reads += 1
        self._require(name, chunk_id)
        return memoryview(self.pages[chunk_id])

    def side(self, name: SegmentName, page_id: bytes) -> bytes:
        """Its side record."""
        self._require(name, page_id)
        return self.sides[page_id]

    def has_deltas(self, segment: SegmentName) -> bool:
        """True when something in a segment rests on others."""
        return any(self.places.get(chunk_id) in (segment, None) for chunk_id in self.closures)

    def closure(self, segment: SegmentName, chunk_id: bytes) -> frozenset[SegmentName]:
        """What a chunk or page rests on, as `closures` says."""
        del segment
        return self.closures.get(chunk_id, frozenset())

    frame_closure = closure

    def _require(self, name: SegmentName, page_id: bytes) -> None:
        if self.places.get(page_id) != name:
            raise DamagedError("no such page", subject=page_id.hex())


def entry(folder: bytes, name: bytes, *, kind: int = FILE, size: int = 5, mtime_ns: int = 1,
          segment: SegmentName = b"") -> Entry:
    """An entry with little in it; a file has one chunk that follows from its name."""
    ids = blake3(folder + b"/" + name).digest() if kind == FILE and size else b""
    segments = (segment or segment_name(RUN, 1000 + len(name)),) if ids else ()
    return Entry(folder, name, kind, 0o100644, 1, 2, size, mtime_ns, mtime_ns, 9, 0, 0, 0, ids, (), b"", b"", b"",
                 segments)  # fmt: skip


def tree_entries(paths: Iterable[tuple[bytes, ...]]) -> list[Entry]:
    """Entries for files at these paths (tuples of components) and all folders above them, in catalog order."""
    found: dict[bytes, Entry] = {key_of(b"", b""): entry(b"", b"", kind=FOLDER)}
    files = sorted(set(paths), key=len, reverse=True)
    for path in files:
        folder = b""
        for depth, name in enumerate(path):
            is_last = depth == len(path) - 1
            key = key_of(folder, name)
            if not (is_last and key in found):
                found[key] = entry(folder, name, kind=FILE if is_last else FOLDER)
            folder = child_folder(folder, name)
    return [found[key] for key in sorted(found)]


def build(entries: Sequence[Entry], memory: PageMemory) -> Root:
    """A catalog of entries, made from nothing."""
    builder = CatalogBuilder(memory, BOUNDARY_KEY, lambda _: set())
    for one in entries:
        builder.add(one)
    return builder.finish()


def rebuild(old: Root, entries: Sequence[Entry], memory: PageMemory) -> tuple[Root, int]:
    """A catalog of entries, made beside an older one as a capture does; and the number of pages taken over whole."""
    builder = CatalogBuilder(memory, BOUNDARY_KEY, lambda _: set())
    known: dict[bytes, tuple[Leaf, int, Entry]] = {}
    for leaf in Catalog(memory, old).leaves():
        for place, row in enumerate(leaf.page.rows()):
            known[row.key] = leaf, place, row
    for one in entries:
        leaf_place = known.get(one.key)
        if leaf_place is not None and leaf_place[2] == one:
            builder.add_unchanged(leaf_place[0], leaf_place[1], leaf_place[1] + 1)
        else:
            builder.add(one)
    return builder.finish(), builder.pages_reused


class MemoryPack:
    """The bytes of a pack, readable like a file."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self.size_bytes = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        """A range."""
        return bytes(self.data[offset : offset + length])

    def close(self) -> None:
        """Nothing to close."""


def seal_chunks(keys: Keyring, number: int, chunks: Sequence[bytes], *, kind: int = DATA, run: bytes = RUN,
                ids: Sequence[bytes] | None = None) -> SealedSegment:
    """A segment of raw chunks with their right ids, or with those given."""
    domain = keys.default_domain
    key = domain.chunk_id_key if kind == DATA else domain.page_id_key
    plain = b"".join(chunks)
    names = ids if ids is not None else [blake3(chunk, key=key).digest() for chunk in chunks]
    table = Table([Frame(0, len(plain), len(plain))], b"".join(names), [0] * len(chunks), [len(c) for c in chunks])
    sealer = Sealer(keys.site_id, domain.id, keys.current, run)
    return sealer.seal(kind, number, encode_table(table), [plain])


def make_pack(keys: Keyring, pack_id: bytes, segments: Sequence[SealedSegment], *, kind: int = DATA,
              has_trailer: bool = True) -> tuple[MemoryPack, PackHeader, list[Row]]:
    """A pack of these segments."""
    header = PackHeader(kind, keys.site_id, pack_id, CITED)
    data, rows = bytearray(header.encode()), []
    for segment in segments:
        rows.append(Row(segment.name, len(data), segment.length, len(segment.parts[1]), segment.digest()))
        data += b"".join(segment.parts)
    if has_trailer:
        data += encode_trailer(header, rows)
    return MemoryPack(data), header, rows


class MemoryPacks:
    """Finished packs in memory."""

    def __init__(self) -> None:
        self.kept: dict[bytes, MemoryPack] = {}
        self.begun: dict[bytes, MemorySink] = {}
        self.aside: dict[bytes, MemoryPack] = {}

    def begin(self, pack_id: bytes) -> MemorySink:
        """Start a pack."""
        sink = self.begun[pack_id] = MemorySink(self, pack_id)
        return sink

    def open(self, pack_id: bytes) -> MemoryPack:
        """A finished pack."""
        if pack_id not in self.kept:
            raise DamagedError("a pack is missing", subject=pack_id.hex())
        return self.kept[pack_id]

    def finished(self) -> list[bytes]:
        """Ids."""
        return sorted(self.kept)

    def size(self, pack_id: bytes) -> int | None:
        """Length."""
        return self.kept[pack_id].size_bytes if pack_id in self.kept else None

    def unfinished(self) -> list[bytes]:
        """Ids."""
        return sorted(self.begun)

    def settle(self) -> None:
        """Nothing to sync."""

    def delete(self, pack_id: bytes) -> None:
        """Forget a pack."""
        self.kept.pop(pack_id, None)
        self.begun.pop(pack_id, None)

    def allocated(self, pack_id: bytes) -> int:
        """As long as it is: memory has no holes."""
        return self.size(pack_id) or 0

    def set_aside(self, pack_id: bytes) -> str:
        """Keep it out of the way."""
        self.aside[pack_id] = self.kept.pop(pack_id)
        return pack_id.hex()

    def can_punch(self, probe_id: bytes) -> bool:
        """As if."""
        return bool(probe_id)

    def punch(self, pack_id: bytes, offset: int, length: int) -> bool:
        """Zeros."""
        self.kept[pack_id].data[offset : offset + length] = bytes(length)
        return True


class MemorySink:
    """A pack being written into memory; `spoil` may change what is read back."""

    spoil: bytes = b""

    def __init__(self, packs: MemoryPacks, pack_id: bytes) -> None:
        self._packs, self._pack_id = packs, pack_id
        self._data = bytearray()

    def append(self, buffers: Sequence[Buffer]) -> int:
        """Write at the end."""
        start = len(self._data)
        for buffer in buffers:
            self._data += buffer
        return start

    def read_at(self, offset: int, length: int) -> bytes:
        """Read back."""
        data = bytes(self._data[offset : offset + length])
        return self.spoil + data[len(self.spoil) :]

    def finish(self) -> None:
        """Give it its name."""
        self._packs.begun.pop(self._pack_id, None)
        self._packs.kept[self._pack_id] = MemoryPack(self._data)

    def discard(self) -> None:
        """Give it up."""
        self._packs.begun.pop(self._pack_id, None)
