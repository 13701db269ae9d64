"""The computing part of storing a segment: compress, encode the table, seal, digest; and checking what was read back.

It touches no disk, so it runs as well in a thread as in a process of its own (siteagent.store.sealprocess).
"""

from __future__ import annotations

from msgspec import Struct

from shared.epochkeys import EpochKeys
from shared.errors import DamagedError
from shared.sealing import keyed_id
from siteagent.store.frame import compress_frame, expand_frame
from siteagent.store.names import shown_segment
from siteagent.store.segment import HEADER_BYTES, Header, SealedSegment, Sealer, open_segment, parse_header
from siteagent.store.table import Frame, Table, encode_table

REHASH_EVERY = 16


class Load(Struct, frozen=True):
    """What goes into one segment: chunks back to back in `plain`, with their ids and lengths (and side records)."""

    kind: int
    number: int
    ids: bytes
    lengths: list[int]
    sides: list[bytes]


class Sealed(Struct, frozen=True):
    """A segment ready to be stored, its digest, and how its only frame was stored."""

    segment: SealedSegment
    digest: bytes
    frame: Frame


def seal_load(sealer: Sealer, load: Load, plain: memoryview) -> Sealed:
    """Compress and seal."""
    codec, stored = compress_frame(plain, len(load.lengths))
    frame = Frame(codec, len(plain), len(stored))
    table = Table([frame], load.ids, [0] * len(load.lengths), load.lengths, load.sides)
    segment = sealer.seal(load.kind, load.number, encode_table(table), [stored])
    return Sealed(segment, segment.digest(), frame)


def check_opens(data: bytes | memoryview, subject: str, keys: EpochKeys) -> tuple[Header, memoryview]:
    """Open what was read back and compare t; returns the header and the frames.

    Raises DamagedError when memory or disk did not keep what was written.
    """
    view = memoryview(data)
    header = parse_header(view[:HEADER_BYTES], subject)
    return header, open_segment(header, view[HEADER_BYTES:], keys)[1]


def check_stored(data: bytes | memoryview, load: Load, frame: Frame, keys: EpochKeys, id_key: bytes) -> None:
    """Like `check_opens`; of one segment in 16, decompress and hash every chunk again as well."""
    subject = f"segment {load.number}"
    header, body = check_opens(data, subject, keys)
    if load.number % REHASH_EVERY:
        return
    plain, offset = memoryview(expand_frame(frame.codec, body[: frame.stored_bytes], frame.plain_bytes, subject)), 0
    for place, length in enumerate(load.lengths):
        if keyed_id(id_key, plain[offset : offset + length]) != load.ids[place * 32 : place * 32 + 32]:
            raise DamagedError("a chunk changed between reading and storing: memory or disk is at fault",
                               subject=shown_segment(header.name),
                               next_step="test this machine's memory, then back up again")
        offset += length
