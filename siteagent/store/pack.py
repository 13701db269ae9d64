"""Packs: files of up to about 64 MiB of segments with a trailer that makes them self-describing.

```
offset size  header, 128 bytes
0      4     magic "FKpk"
4      1     format version, 1
5      1     kind of its segments: 1 data, 2 catalog (never mixed)
6      2     reserved, 0
8      16    site
24     16    pack id (random)
40     32    log epoch of the head this pack was written after
72     8     sequence of that head
80     32    hash of that head
112    16    reserved, 0
128    ...   segments (siteagent.store.segment), back to back
...    ...   trailer: columns 1 names (20 fixed), 2 offsets, 3 lengths, 4 lengths of sealed tables, 5 digests (32 fixed)
last 44      footer: trailer length u32, number of segments u32, BLAKE3 of header || trailer (32), magic "FKpe"
```
Pack root = Merkle root whose leaves are the digests of name || length (u32) || digest of each segment, in order.
Header and trailer are clear: a holder without keys can list, scrub and prove a pack. Both survive any hole punched.
"""

from __future__ import annotations

import struct
from typing import Protocol

from blake3 import blake3
from msgspec import Struct

from shared.errors import DamagedError, HostileError, NewerFormatError
from shared.merkle import leaf_digest, root_of
from siteagent.store.columns import FIXED, INTEGERS, Columns, encode_columns, fixed, integers, split_items
from siteagent.store.names import NAME_BYTES, SegmentName
from siteagent.store.segment import HEADER_BYTES as SEGMENT_HEADER_BYTES
from siteagent.store.segment import SEGMENT_BYTES_MAX

MAGIC, END_MAGIC = b"FKpk", b"FKpe"
VERSION = 1
HEADER_BYTES = 128
FOOTER_BYTES = 44
PACK_BYTES = 64 << 20
SEGMENTS_MAX = 1 << 18
TRAILER_BYTES_MAX = 32 << 20
_HEAD = struct.Struct("<4sBBH16s16s32sQ32s16s")
_KNOWN = frozenset((1, 2, 3, 4, 5))


class Cited(Struct, frozen=True):
    """The log head that something was written after: log epoch, sequence and hash."""

    log_epoch: bytes
    sequence: int
    hash: bytes


class PackHeader(Struct, frozen=True):
    """A pack's clear header, parsed."""

    kind: int
    site: bytes
    pack_id: bytes
    cited: Cited

    def encode(self) -> bytes:
        """The 128 bytes at the start of the file."""
        return _HEAD.pack(MAGIC, VERSION, self.kind, 0, self.site, self.pack_id, self.cited.log_epoch,
                          self.cited.sequence, self.cited.hash, bytes(16))


class Row(Struct, frozen=True):
    """One segment in a pack's trailer."""

    name: SegmentName
    offset: int
    length: int
    table_length: int
    digest: bytes


class Reads(Protocol):
    """Anything that bytes of a pack can be read from."""

    size_bytes: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes at `offset`."""


def parse_pack_header(data: bytes, subject: str) -> PackHeader:
    """Parse a pack's header; raises DamagedError or HostileError."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        raise _damaged("a pack has no header", subject)
    _, version, kind, _, site, pack_id, log_epoch, sequence, head_hash, _ = _HEAD.unpack(data[:HEADER_BYTES])
    if version > VERSION:
        raise NewerFormatError(f"a pack has format {version}, newer than this version knows", subject=subject,
                               next_step="update Farkeep on this machine")
    return PackHeader(kind, site, pack_id, Cited(log_epoch, sequence, head_hash))


def pack_root(rows: list[Row]) -> bytes:
    """Merkle root over a pack's segments."""
    return root_of([leaf_digest(row.name + row.length.to_bytes(4, "little") + row.digest) for row in rows])


def encode_trailer(header: PackHeader, rows: list[Row]) -> bytes:
    """The trailer and footer for these segments."""
    trailer = encode_columns([
        (1, FIXED, 1, fixed(NAME_BYTES, b"".join(row.name for row in rows))),
        (2, INTEGERS, 1, integers([row.offset for row in rows])),
        (3, INTEGERS, 1, integers([row.length for row in rows])),
        (4, INTEGERS, 1, integers([row.table_length for row in rows])),
        (5, FIXED, 1, fixed(32, b"".join(row.digest for row in rows))),
    ])  # fmt: skip
    check = blake3(header.encode() + trailer).digest()
    return trailer + struct.pack("<II", len(trailer), len(rows)) + check + END_MAGIC


def read_trailer(pack: Reads, subject: str) -> tuple[PackHeader, list[Row]]:
    """Read and check a pack's header and trailer; raises DamagedError or HostileError."""
    footer = pack.read_at(max(0, pack.size_bytes - FOOTER_BYTES), FOOTER_BYTES)
    if len(footer) < FOOTER_BYTES or footer[-4:] != END_MAGIC:
        raise _damaged("a pack has no trailer: it was cut off or never finished", subject)
    length, count = struct.unpack("<II", footer[:8])
    start = pack.size_bytes - FOOTER_BYTES - length
    if length > TRAILER_BYTES_MAX or count > SEGMENTS_MAX or start < HEADER_BYTES:
        raise HostileError("a pack's trailer states absurd lengths", subject=subject,
                           next_step="do not trust this pack; restore it from a partner")
    head, trailer = pack.read_at(0, HEADER_BYTES), pack.read_at(start, length)
    header = parse_pack_header(head, subject)
    if blake3(head + trailer).digest() != footer[8:40]:
        raise _damaged("a pack's trailer is not what was written", subject)
    rows = _rows(Columns(memoryview(trailer), _KNOWN), count)
    if any(row.offset < HEADER_BYTES or row.offset + row.length > start or not _is_sized(row) for row in rows):
        raise _damaged("a pack's trailer points outside the pack", subject)
    return header, rows


def _is_sized(row: Row) -> bool:
    """True when the lengths are those of a segment: what is read by them later stays small."""
    return 0 <= row.table_length <= row.length - SEGMENT_HEADER_BYTES and row.length <= SEGMENT_BYTES_MAX


def _rows(columns: Columns, count: int) -> list[Row]:
    names = split_items(columns.fixed(1, NAME_BYTES), NAME_BYTES)
    digests = split_items(columns.fixed(5, 32), 32)
    numbers = [columns.integers(column, count) for column in (2, 3, 4)]
    if len(names) != count or len(digests) != count:
        raise _damaged("a pack's trailer contradicts itself", "")
    return [Row(*row) for row in zip(names, *numbers, digests, strict=True)]


def _damaged(what: str, subject: str) -> DamagedError:
    return DamagedError(what, subject=subject, next_step="run `farkeep verify --read-data`")
