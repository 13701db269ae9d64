"""What a pack holds: by its trailer, or, when that does not read, by walking from segment to segment."""

from __future__ import annotations

from collections.abc import Container, Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from shared.errors import FarkeepError
from shared.merkle import digest_of
from siteagent.store.names import SegmentName
from siteagent.store.pack import HEADER_BYTES, Cited, PackHeader, Reads, Row, read_trailer
from siteagent.store.scrub import ScrubKeys, check_head, check_whole
from siteagent.store.segment import HEADER_BYTES as SEGMENT_HEADER_BYTES
from siteagent.store.segment import MAGIC, parse_header
from siteagent.store.table import Table

_WINDOW_BYTES = 1 << 20
_FALSE_STARTS_MAX = 1 << 14
"""A pack of 64 MiB holds a false magic by chance once in a hundred; a hostile one may be full of them."""


class Contents(Struct):
    """The segments of one pack that can be had. `damage`: why its trailer was not used (empty: it was);
    `left_out`: what is wrong with each segment of the trailer that cannot be had."""

    pack_id: bytes
    rows: list[tuple[Row, Table]] = field(default_factory=list)
    damage: str = ""
    left_out: dict[SegmentName, str] = field(default_factory=dict)

    def chunk_rows(self) -> Iterator[tuple[SegmentName, bytes, list[int]]]:
        """Name, joined chunk ids and depth of each chunk per segment, as the index takes them."""
        for row, table in self.rows:
            yield row.name, table.ids, [table.frames[frame].depth for frame in table.chunk_frames]


def pack_contents(pack: Reads, pack_id: bytes, subject: str, keys: ScrubKeys,
                  retired: Container[SegmentName] = frozenset()) -> Contents:
    """The segments of a pack but for the retired ones: each has a header that reads and a table that opens.

    Those found without the trailer are opened whole, for nothing else tells where they end.
    """
    contents = Contents(pack_id)
    try:
        about, rows = read_trailer(pack, subject)
    except FarkeepError as error:
        contents.damage = error.message
        contents.rows = [pair for pair in walk_pack(pack, pack_id, subject, keys) if pair[0].name not in retired]
        return contents
    for row in rows:
        if row.name in retired:
            continue
        try:
            contents.rows.append((row, check_head(pack, about, row, keys)))
        except FarkeepError as error:
            contents.left_out[row.name] = error.message
    return contents


def walk_pack(pack: Reads, pack_id: bytes, subject: str, keys: ScrubKeys) -> list[tuple[Row, Table]]:
    """The segments that open whole, found by their own headers; what lies between them is skipped."""
    found: list[tuple[Row, Table]] = []
    at, false_starts = HEADER_BYTES, 0
    while at + SEGMENT_HEADER_BYTES < pack.size_bytes and false_starts < _FALSE_STARTS_MAX:
        taken = _take(pack, pack_id, subject, at, keys)
        if taken is None:
            false_starts += 1
            at = _next_magic(pack, at + 1)
        else:
            found.append(taken)
            at += taken[0].length
    return found


def _take(pack: Reads, pack_id: bytes, subject: str, at: int, keys: ScrubKeys) -> tuple[Row, Table] | None:
    try:
        header = parse_header(pack.read_at(at, SEGMENT_HEADER_BYTES), subject)
        if at + header.length > pack.size_bytes:
            return None
        row = Row(header.name, at, header.length, header.table_length, b"")
        about = PackHeader(header.kind, header.site, pack_id, Cited(bytes(32), 0, bytes(32)))
        # The table first: it is small, and what is no segment ends here.
        check_head(pack, about, row, keys)
        row = replace(row, digest=digest_of([pack.read_at(at, header.length)]))
        return row, check_whole(pack, about, row, keys)
    except FarkeepError:
        return None


def _next_magic(pack: Reads, at: int) -> int:
    """Where the next segment may begin; the end of the pack when nowhere."""
    while at < pack.size_bytes:
        window = pack.read_at(at, _WINDOW_BYTES + len(MAGIC) - 1)
        place = window.find(MAGIC)
        if place >= 0:
            return at + place
        if len(window) <= _WINDOW_BYTES:
            break
        at += _WINDOW_BYTES
    return pack.size_bytes
