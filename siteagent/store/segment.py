"""Segments: up to 1 MiB of frames sealed once; the unit of storage, sealing, replication and deletion.

```
offset size  clear header, 176 bytes (little endian; the whole header is associated data of both seals)
0      4     magic "FKsg"
4      1     format version, 1
5      1     kind: 1 data, 2 catalog; reserved: 3 parity, 4 sealed by an agent
6      1     sealing algorithm: 1 = BLAKE3 derive-key, AES-256-GCM
7      1     codec of the segment: 1 = table of frames and chunks, then frames
8      16    site
24     16    dedup domain
40     4     key epoch
44     16    run
60     4     number within the run
64     4     length of the sealed table, its 16-byte tag included
68     4     length of the sealed body, its 16-byte tag included
72     4     number of base segments (delta frames); 0 when none
76     4     reserved, 0
80     32    t = keyed BLAKE3 (mark key of the key epoch) over header[0:80] || table || body, both padded, unsealed
112    32    digest of bases = BLAKE3 over the names of the base segments, in order; zeros when none
144    32    reserved, 0
176    ...   sealed table, then sealed body
```
Table and body are sealed with AES-256-GCM, nonce = number as 12 bytes (big endian), under
BLAKE3 derive-key("farkeep 2026 segment body v1" | "... segment table v1", seal key || run || number || kind || t).
A run is random and a number never repeats within it, so no (key, nonce) pair does either, whatever disk is put back.

Padded plaintexts: table = u32 true length, table, zeros; body = frames, zeros (Padme, floor 512 bytes each).
Digest of a segment: Merkle root (shared.merkle) over the 64 KiB leaves of header || sealed table || sealed body.
"""

from __future__ import annotations

import struct

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from shared.epochkeys import EpochKeys
from shared.errors import DamagedError, HostileError, NewerFormatError
from shared.merkle import digest_of
from shared.padding import padded_size
from siteagent.store.names import SegmentName, segment_name, shown_segment

MAGIC = b"FKsg"
VERSION = 1
DATA, CATALOG = 1, 2
KIND_NAMES = {DATA: "data", CATALOG: "catalog"}
HEADER_BYTES = 176
TABLE_BYTES_MAX = 4 << 20
BODY_BYTES_MAX = (1 << 20) + (1 << 17)
SEGMENT_BYTES_MAX = HEADER_BYTES + TABLE_BYTES_MAX + BODY_BYTES_MAX
_SEALING, _CODEC = 1, 1
_TAG_BYTES = 16
_NO_BASES = bytes(32)
_HEAD = struct.Struct("<4sBBBB16s16sI16sIIIII")
_BODY_CONTEXT = "farkeep 2026 segment body v1"
_TABLE_CONTEXT = "farkeep 2026 segment table v1"


class Header(Struct, frozen=True):
    """The clear header of a segment, parsed."""

    kind: int
    site: bytes
    domain: bytes
    key_epoch: int
    run: bytes
    number: int
    table_length: int
    body_length: int
    bases: int
    mark: bytes
    raw: bytes

    @property
    def bases_digest(self) -> bytes:
        """What the names of the base segments must hash to."""
        return self.raw[112:144]

    @property
    def name(self) -> SegmentName:
        """The segment's name."""
        return segment_name(self.run, self.number)

    @property
    def length(self) -> int:
        """Length of the whole segment in bytes."""
        return HEADER_BYTES + self.table_length + self.body_length


def parse_header(data: bytes | memoryview, subject: str) -> Header:
    """Parse a clear header; raises DamagedError or HostileError."""
    raw = bytes(data[:HEADER_BYTES])
    if len(raw) < HEADER_BYTES or raw[:4] != MAGIC:
        raise _damaged("no segment begins here", subject)
    _, version, kind, sealing, codec, site, domain, epoch, run, number, table, body, bases, _ = _HEAD.unpack(raw[:80])
    if version > VERSION or sealing != _SEALING or codec != _CODEC:
        raise NewerFormatError(f"a segment has format {version}/{sealing}/{codec}, newer than this version knows",
                               subject=subject, next_step="update Farkeep on this machine")
    if table > TABLE_BYTES_MAX or body > BODY_BYTES_MAX or min(table, body) < _TAG_BYTES:
        raise HostileError("a segment states absurd lengths", subject=subject,
                           next_step="do not trust this pack; restore it from a partner")
    return Header(kind, site, domain, epoch, run, number, table, body, bases, raw[80:112], raw)


def bases_digest(bases: tuple[SegmentName, ...]) -> bytes:
    """The digest of base segments as it stands in a header."""
    return blake3(b"".join(bases)).digest() if bases else _NO_BASES


def _damaged(what: str, subject: str) -> DamagedError:
    return DamagedError(what, subject=subject, next_step="run `farkeep verify --read-data`, then `farkeep repair`")


def _cipher(context: str, keys: EpochKeys, head: bytes, mark: bytes) -> AESGCM:
    material = keys.seal_key + head[44:64] + head[5:6] + mark
    return AESGCM(blake3(material, derive_key_context=context).digest())


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _padded(data: bytes) -> bytes:
    return data.ljust(padded_size(len(data)), b"\0")


class SealedSegment(Struct, frozen=True):
    """A segment ready to be stored: `parts` are header, sealed table, sealed body."""

    name: SegmentName
    parts: tuple[bytes, bytes, bytes]

    @property
    def length(self) -> int:
        """Length in bytes."""
        return sum(map(len, self.parts))

    def digest(self) -> bytes:
        """The segment's Merkle root."""
        return digest_of(self.parts)


class Sealer:
    """Seals the segments of one run for one site and dedup domain under one key epoch."""

    def __init__(self, site: bytes, domain: bytes, keys: EpochKeys, run: bytes) -> None:
        self._site, self._domain, self._keys, self.run = site, domain, keys, run

    def seal(self, kind: int, number: int, table: bytes, frames: list[bytes | memoryview],
             bases: tuple[SegmentName, ...] = ()) -> SealedSegment:
        """Seal a table and its frames as segment `number` of the run."""
        plain_table = _padded(len(table).to_bytes(4, "little") + table)
        size_bytes = sum(map(len, frames))
        plain_body = b"".join([*frames, bytes(padded_size(size_bytes) - size_bytes)])
        head = _HEAD.pack(MAGIC, VERSION, kind, _SEALING, _CODEC, self._site, self._domain, self._keys.number,
                          self.run, number, len(plain_table) + _TAG_BYTES, len(plain_body) + _TAG_BYTES,
                          len(bases), 0)
        mark = _mark(self._keys, head, plain_table, plain_body)
        header = head + mark + bases_digest(bases) + bytes(32)
        nonce = _nonce(number)
        sealed_table = _cipher(_TABLE_CONTEXT, self._keys, head, mark).encrypt(nonce, plain_table, header)
        sealed_body = _cipher(_BODY_CONTEXT, self._keys, head, mark).encrypt(nonce, plain_body, header)
        return SealedSegment(segment_name(self.run, number), (header, sealed_table, sealed_body))


def _mark(keys: EpochKeys, head: bytes, table: bytes | memoryview, body: bytes | memoryview) -> bytes:
    hasher = blake3(head, key=keys.mark_key)
    hasher.update(table)
    hasher.update(body)
    return hasher.digest()


def open_table(header: Header, sealed: bytes | memoryview, keys: EpochKeys) -> bytes:
    """Open the sealed table alone and strip its padding; raises DamagedError."""
    return _stripped(_open(_TABLE_CONTEXT, header, sealed, keys), header)


def open_segment(header: Header, sealed: memoryview, keys: EpochKeys) -> tuple[bytes, memoryview]:
    """Open table and body (`sealed` = everything after the header) and compare t; returns (table, padded frames)."""
    table = _open(_TABLE_CONTEXT, header, sealed[: header.table_length], keys)
    body = _open(_BODY_CONTEXT, header, sealed[header.table_length :], keys)
    if _mark(keys, header.raw[:80], table, body) != header.mark:
        raise _damaged("a segment opens, but is not what was sealed", shown_segment(header.name))
    return _stripped(table, header), memoryview(body)


def open_body(header: Header, sealed: bytes | memoryview, keys: EpochKeys) -> memoryview:
    """Open the body alone (its table was opened before); raises DamagedError."""
    return memoryview(_open(_BODY_CONTEXT, header, sealed, keys))


def _open(context: str, header: Header, sealed: bytes | memoryview, keys: EpochKeys) -> bytes:
    try:
        return _cipher(context, keys, header.raw, header.mark).decrypt(_nonce(header.number), sealed, header.raw)
    except InvalidTag:
        raise _damaged("a segment does not open: its bytes or its header changed", shown_segment(header.name)) from None


def _stripped(plain: bytes, header: Header) -> bytes:
    length = int.from_bytes(plain[:4], "little")
    if length > len(plain) - 4:
        raise _damaged("a segment's table states a length beyond its end", shown_segment(header.name))
    return plain[4 : 4 + length]
