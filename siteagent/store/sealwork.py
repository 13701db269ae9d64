"""The computing part of storing a segment: compress, encode the table, seal, digest; and checking what was read back.

It touches no disk, so it runs as well in a thread as in a process of its own (siteagent.store.sealprocess).
"""

from __future__ import annotations

from msgspec import Struct

from shared.epochkeys import EpochKeys
from shared.errors import DamagedError
from shared.sealing import keyed_id
from siteagent.store.frame import RAW, compress_frame, expand_frame
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


def seal_load(sealer: Sealer, load: Load, plain: memoryview, id_key: bytes) -> Sealed:
    """Compress and seal; raises DamagedError when a chunk is not any more what its id was made of."""
    codec, stored = compress_frame(plain, len(load.lengths))
    if codec != RAW:
        # After compressing: what changed the chunks before or meanwhile shows. Raw ones are compared when read back.
        _require_ids(load, plain, id_key, f"segment {load.number}")
    frame = Frame(codec, len(plain), len(stored))
    segment = sealer.seal(load.kind, load.number, _table_of(load, frame), [stored])
    return Sealed(segment, segment.digest(), frame)


def _table_of(load: Load, frame: Frame) -> bytes:
    return encode_table(Table([frame], load.ids, [0] * len(load.lengths), load.lengths, load.sides))


def _require_ids(load: Load, plain: memoryview, id_key: bytes, subject: str) -> None:
    offset = 0
    for place, length in enumerate(load.lengths):
        if keyed_id(id_key, plain[offset : offset + length]) != load.ids[place * 32 : place * 32 + 32]:
            raise _changed("a chunk changed between reading and storing", subject)
        offset += length


def _changed(what: str, subject: str) -> DamagedError:
    return DamagedError(f"{what}: memory or disk is at fault", subject=subject,
                        next_step="test this machine's memory, then back up again")


def check_opens(data: bytes | memoryview, subject: str, keys: EpochKeys, table: bytes) -> tuple[Header, memoryview]:
    """Open what was read back, compare t, and the table with what it should be; returns the header and the frames.

    Raises DamagedError when memory or disk did not keep what was written.
    """
    view = memoryview(data)
    header = parse_header(view[:HEADER_BYTES], subject)
    found, body = open_segment(header, view[HEADER_BYTES:], keys)
    if found != table:
        raise _changed("a segment's table changed between making and storing it", shown_segment(header.name))
    return header, body


def check_stored(data: bytes | memoryview, load: Load, frame: Frame, keys: EpochKeys, id_key: bytes) -> None:
    """Like `check_opens`; of one segment in 16, and of all that are not compressed, hash every chunk again as well."""
    subject = f"segment {load.number}"
    header, body = check_opens(data, subject, keys, _table_of(load, frame))
    if load.number % REHASH_EVERY and frame.codec != RAW:
        return
    plain = memoryview(expand_frame(frame.codec, body[: frame.stored_bytes], frame.plain_bytes, subject))
    _require_ids(load, plain, id_key, shown_segment(header.name))
