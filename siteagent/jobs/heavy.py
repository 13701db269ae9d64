"""Heavy deltas: frames that are still used and keep bytes on the disk that nothing else needs.

The snapshot that a version was a delta of is swept sooner or later; what the delta rests on stays for its sake alone.
Several frames may share such bytes: each is charged with its part. A heavy frame may rest on the same stretch of the
file in an older snapshot that stays, as it would in a home that never had the others, or be stored plain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from shared.tree import HOLE
from siteagent.store.catalog import Catalog, read_entries, read_index
from siteagent.store.delta import decode_base
from siteagent.store.entry import Entry
from siteagent.store.liveness import Liveness
from siteagent.store.names import SegmentName
from siteagent.store.oldversion import MARGINS, NO_MARGINS, OldVersion, Span
from siteagent.store.page import Child, side_segments
from siteagent.store.reader import SegmentReader

FrameKey = tuple[SegmentName, int]
_Unit = tuple[SegmentName, int]
HELD_BYTES_MIN = 1024
"""Less is not worth writing a frame again for."""
FRAMES_MAX = 1 << 16
_OLDER_MAX = 3


class Heavy(Struct, frozen=True):
    """`held`: bytes each heavy frame is charged with; `spans`: what it may rest on instead, best first."""

    held: dict[FrameKey, int]
    spans: dict[FrameKey, list[Span]]


def held_bytes(reader: SegmentReader, live: Liveness) -> dict[FrameKey, int]:
    """The heavy frames and what each of them is charged with."""
    units = {key: _Units(reader, live).of(key) for key in _delta_frames(live)}
    count = Counter(unit for found in units.values() for unit in found)
    held = {key: sum(_stored_bytes(reader, unit) // count[unit] for unit in found) for key, found in units.items()}
    return {key: size for key, size in held.items() if size >= HELD_BYTES_MIN}


def _delta_frames(live: Liveness) -> Iterator[FrameKey]:
    keys = ((name, number) for name, bits in live.deltas.items() for number in range(bits.bit_length())
            if bits >> number & 1)  # fmt: skip
    for key, _ in zip(keys, range(FRAMES_MAX), strict=False):
        yield key


class _Units:
    """The chunks below one frame that no snapshot uses by itself, down to the next that one uses."""

    def __init__(self, reader: SegmentReader, live: Liveness) -> None:
        self._reader, self._live = reader, live
        self._found: set[_Unit] = set()

    def of(self, key: FrameKey) -> set[_Unit]:
        """Look below a frame."""
        name, number = key
        self._below(name, number)
        return self._found

    def _below(self, name: SegmentName, number: int) -> None:
        table = self._reader.table(name).table
        row = table.frames[number]
        if not row.bases:
            return
        for chunk in decode_base(row.bases, table.bases, row.depth).chunks:
            opened, place = self._reader.locate(chunk.segment, chunk.chunk_id)
            unit = opened.header.name, place
            bits = self._live.live.get(unit[0])
            if bits is not None and not bits >> place & 1 and unit not in self._found:
                self._found.add(unit)
                self._below(unit[0], opened.table.chunk_frames[place])


def _stored_bytes(reader: SegmentReader, unit: _Unit) -> int:
    """About what a chunk takes on the disk: its part of its frame."""
    table = reader.table(unit[0]).table
    row = table.frames[table.chunk_frames[unit[1]]]
    return row.stored_bytes * table.lengths[unit[1]] // max(1, row.plain_bytes)


def heavy_frames(reader: SegmentReader, live: Liveness, series: Sequence[Sequence[Catalog]]) -> Heavy:
    """Find the heavy frames. `series`: the catalogs of each NAME that stay, oldest first.

    Raises DamagedError or HostileError when a page does not read.
    """
    held = held_bytes(reader, live)
    if not held:
        return Heavy({}, {})
    search = _Search(reader, held)
    for catalogs in series:
        for number, catalog in enumerate(catalogs):
            search.look(catalog, catalogs[max(0, number - _OLDER_MAX) : number][::-1])
    return Heavy(held, search.spans)


class _Search:
    """Looks for the places of heavy frames in files, snapshot by snapshot; the oldest one counts."""

    def __init__(self, reader: SegmentReader, held: dict[FrameKey, int]) -> None:
        self._reader, self._held = reader, held
        self._segments = {name for name, _ in held}
        self._watched = self._segments | reader.successors.before(self._segments)
        self._pages: dict[SegmentName, int] = {}
        self._placed: set[FrameKey] = set()
        self.spans: dict[FrameKey, list[Span]] = {}

    def look(self, catalog: Catalog, older: Sequence[Catalog]) -> None:
        """Look through one catalog; `older`: those before it of the same NAME, nearest first."""
        if catalog.root.page_id:
            row = Child(b"", catalog.root.page_id, 0, 0, catalog.root.segment)
            self._look_below(catalog, row, catalog.root.level, older)

    def _look_below(self, catalog: Catalog, row: Child, level: int, older: Sequence[Catalog]) -> None:
        if self._was_here(row):
            return
        if level:
            for child in read_index(self._reader, row, level):
                self._look_below(catalog, child, level - 1, older)
        elif not self._watched.isdisjoint(side_segments(self._reader.side(row.segment, row.page_id))):
            for entry in read_entries(self._reader, row).rows():
                if entry.tree or not self._watched.isdisjoint(entry.segments):
                    self._file(catalog, entry, older)

    def _was_here(self, row: Child) -> bool:
        """True for a page that an older snapshot has, too; remembers it."""
        opened, place = self._reader.locate(row.segment, row.page_id)
        known, bit = self._pages.get(opened.header.name, 0), 1 << place
        self._pages[opened.header.name] = known | bit
        return bool(known & bit)

    def _file(self, catalog: Catalog, entry: Entry, older: Sequence[Catalog]) -> None:
        places = {key: place for key, place in self._places(catalog, entry).items() if key not in self._placed}
        self._placed.update(places)
        for version, before, after in self._versions(entry, older) if places else ():
            for key, (low, high) in places.items():
                if (span := version.span(low - before, high + after)).chunks:
                    self.spans.setdefault(key, []).append(span)

    def _versions(self, entry: Entry, older: Sequence[Catalog]) -> Iterator[tuple[OldVersion, int, int]]:
        """Older versions of a file, and how many bytes before and after a place to look at in them."""
        for catalog in older:
            earlier = catalog.find(entry.folder, entry.name)
            if earlier is not None and (earlier.ids or earlier.tree):
                yield OldVersion(catalog, earlier), *(NO_MARGINS if earlier.size == entry.size else MARGINS)

    def _places(self, catalog: Catalog, entry: Entry) -> dict[FrameKey, tuple[int, int]]:
        """Which bytes of a file each heavy frame holds."""
        found: dict[FrameKey, tuple[int, int]] = {}
        at = 0
        for piece in catalog.pieces(entry):
            if piece.chunk_id != HOLE and piece.segment in self._watched:
                key = self._key(piece.segment, piece.chunk_id)
                if key in self._held:
                    low, high = found.get(key, (at, at))
                    found[key] = min(low, at), max(high, at + piece.length)
            at += piece.length
        return found

    def _key(self, segment: SegmentName, chunk_id: bytes) -> FrameKey:
        opened, place = self._reader.locate(segment, chunk_id)
        return opened.header.name, opened.table.chunk_frames[place]
