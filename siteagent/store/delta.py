"""Deltas: chunks compressed against earlier ones, so that a small edit costs little more than the bytes it changed.

A delta frame (codec 2) is zstd with a raw-content dictionary. The dictionary is made of *base chunks*: their plaintexts
joined in order, without `head_trim` bytes at the front and `tail_trim` at the end. A base is always in an earlier run,
of the same dedup domain, and plain or of a lower depth.

Base list of a frame, as it stands in the table of its segment (numbers little endian):
```
offset size
0      1    number of base chunks, 1 to 64
1      33   per base chunk: ordinal of its segment among the segment's bases u8, chunk id
...    4    head trim
...    4    tail trim
```
"""

from __future__ import annotations

from collections.abc import Sequence

import zstandard
from backports import zstd
from msgspec import Struct

from shared.errors import DamagedError, HostileError
from siteagent.store.frame import FRAME_BYTES_MAX
from siteagent.store.names import SegmentName
from siteagent.store.table import ID_BYTES

BASE_CHUNKS_MAX = 64
DICTIONARY_BYTES_MAX = 1 << 20
_DICTIONARY_BYTES_MIN = 8
"""What zstd asks of one."""
RUN_BYTES_MAX = 512 << 10
_ROW_BYTES = 1 + ID_BYTES
_TRIMS_BYTES = 8
_WINDOW_LOG_MAX = 21
_LEVEL, _SMALL_LEVEL, _SMALL_BYTES = 3, 6, 32 << 10
_SAMPLE_BYTES = 8 << 10
_DENSE_SHARE, _WINS_OUTRIGHT, _WINS_BESIDE_PLAIN = 0.2, 10, 0.6


class BaseChunk(Struct, frozen=True, array_like=True):
    """One chunk of a dictionary and where it lies."""

    segment: SegmentName
    chunk_id: bytes


class Base(Struct, frozen=True):
    """What a delta frame rests on. `depth` is that of its deepest chunk (0: all are plain)."""

    chunks: tuple[BaseChunk, ...]
    head_trim: int = 0
    tail_trim: int = 0
    depth: int = 0

    def segments(self) -> set[SegmentName]:
        """The segments of its chunks."""
        return {chunk.segment for chunk in self.chunks}


def encode_base(base: Base, segments: Sequence[SegmentName]) -> bytes:
    """The base list of a frame in a segment with these base segments."""
    rows = [bytes((segments.index(chunk.segment),)) + chunk.chunk_id for chunk in base.chunks]
    trims = base.head_trim.to_bytes(4, "little") + base.tail_trim.to_bytes(4, "little")
    return bytes((len(rows),)) + b"".join(rows) + trims


def decode_base(data: bytes, segments: Sequence[SegmentName], depth: int) -> Base:
    """Read a frame's base list (`depth` is the frame's); raises DamagedError."""
    count = data[0] if data else 0
    if not 0 < count <= BASE_CHUNKS_MAX or len(data) != 1 + count * _ROW_BYTES + _TRIMS_BYTES:
        raise _damaged("a delta frame's list of bases is not what was written")
    rows = [data[at : at + _ROW_BYTES] for at in range(1, len(data) - _TRIMS_BYTES, _ROW_BYTES)]
    if max(row[0] for row in rows) >= len(segments):
        raise _damaged("a delta frame rests on a segment that its own does not name")
    trims = [int.from_bytes(data[at : at + 4], "little") for at in (len(data) - 8, len(data) - 4)]
    return Base(tuple(BaseChunk(segments[row[0]], row[1:]) for row in rows), trims[0], trims[1], max(0, depth - 1))


def dictionary_of(base: Base, plains: Sequence[bytes | memoryview]) -> memoryview:
    """The dictionary made of the plaintexts of a base's chunks; raises DamagedError, HostileError when absurd."""
    size_bytes = sum(map(len, plains))
    if base.head_trim + base.tail_trim >= size_bytes:
        raise _damaged("a delta frame trims its bases to nothing")
    if size_bytes - base.head_trim - base.tail_trim > DICTIONARY_BYTES_MAX:
        raise HostileError("a delta frame rests on more bytes than the format allows",
                           next_step="do not trust this pack; restore it from a partner")
    parts, skipped = [], base.head_trim
    left = size_bytes - base.head_trim - base.tail_trim
    for plain in plains:
        part = memoryview(plain)[min(skipped, len(plain)) :][:left]
        skipped -= min(skipped, len(plain))
        left -= len(part)
        parts.append(part)
    return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def compress_delta(plain: bytes | memoryview, dictionary: bytes | memoryview, *,
                   is_dense: bool = False) -> bytes | None:
    """The delta of `plain`, or None when it does not clearly win over compressing `plain` alone.

    `is_dense`: it is known not to shrink to a fifth alone (catalog pages). What is returned was expanded again and
    compared.
    """
    if len(dictionary) < _DICTIONARY_BYTES_MIN:
        return None
    size_bytes, parameter = len(plain), zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: _LEVEL if size_bytes > _SMALL_BYTES else _SMALL_LEVEL,
        parameter.window_log: min(_WINDOW_LOG_MAX, max(10, (size_bytes + len(dictionary)).bit_length())),
        parameter.checksum_flag: 1,
    }
    # A prefix is the same to a decoder as a dictionary, and is prepared for one use: three times as fast.
    prefix = zstd.ZstdDict(dictionary, is_raw=True).as_prefix
    packed = zstd.compress(plain, options=options, zstd_dict=prefix)
    if not _wins(packed, plain, is_dense=is_dense):
        return None
    if expand_delta(packed, size_bytes, dictionary, "a delta frame just made") != plain:
        raise DamagedError("a delta does not give back what it was made of: memory is at fault",
                           next_step="test this machine's memory, then back up again")
    return packed


def _wins(packed: bytes, plain: bytes | memoryview, *, is_dense: bool) -> bool:
    """True when a delta is clearly smaller than `plain` compressed alone: a sample tells in most cases."""
    alone = zstandard.ZstdCompressor(level=1)
    if len(packed) * _WINS_OUTRIGHT <= len(plain):
        sample = plain[len(plain) // 2 :][:_SAMPLE_BYTES]
        if is_dense or len(alone.compress(sample)) >= len(sample) * _DENSE_SHARE:
            return True
    return len(packed) <= min(len(alone.compress(plain)), len(plain)) * _WINS_BESIDE_PLAIN


def expand_delta(packed: bytes | memoryview, plain_bytes: int, dictionary: bytes | memoryview, subject: str) -> bytes:
    """Give back the joined chunks of a delta frame; raises DamagedError when that is not exactly `plain_bytes`.

    Raises HostileError when that is more than a frame may hold.
    """
    if not 0 <= plain_bytes <= FRAME_BYTES_MAX:
        raise HostileError(f"a delta frame of {plain_bytes} bytes is over the limit of {FRAME_BYTES_MAX}",
                           subject=subject, next_step="do not trust this pack; restore it from a partner")
    known = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    expander = zstandard.ZstdDecompressor(dict_data=known, max_window_size=1 << _WINDOW_LOG_MAX)
    try:
        if zstandard.get_frame_parameters(packed).content_size != plain_bytes:
            raise _damaged("a delta frame has another size than its table says", subject)
        plain = expander.decompress(packed, max_output_size=plain_bytes)
    except zstandard.ZstdError as error:
        raise _damaged("a delta frame does not expand", subject) from error
    if len(plain) != plain_bytes:
        raise _damaged("a delta frame has another size than its table says", subject)
    return plain


def _damaged(what: str, subject: str = "") -> DamagedError:
    return DamagedError(what, subject=subject, next_step="run `farkeep verify --read-data`")
