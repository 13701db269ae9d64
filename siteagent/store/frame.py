"""Frames: chunks compressed together, the unit of compression.

Codecs (part of the format): 0 raw, 1 zstd, 2 zstd against a raw-content dictionary made of base chunks (a delta frame).
A frame is stored raw when eight 4 KiB samples across it do not shrink, or when the whole does not.
"""

from __future__ import annotations

import threading

import zstandard

from shared.codec import decompress
from shared.errors import HostileError

RAW, ZSTD, ZSTD_DELTA = 0, 1, 2
FRAME_BYTES_MAX = 1 << 20
LEVEL = 3
_SAMPLE_BYTES = 4096
_SAMPLES = 8
_SHRINKS_BELOW = 0.97

_local = threading.local()


def _compressor(level: int) -> zstandard.ZstdCompressor:
    made: dict[int, zstandard.ZstdCompressor] | None = getattr(_local, "compressors", None)
    if made is None:
        made = _local.compressors = {}
    if level not in made:
        made[level] = zstandard.ZstdCompressor(level=level)
    return made[level]


def _looks_incompressible(plain: memoryview) -> bool:
    size = len(plain)
    if size < 2 * _SAMPLES * _SAMPLE_BYTES:
        return False
    step = (size - _SAMPLE_BYTES) // (_SAMPLES - 1)
    sample = b"".join([plain[at : at + _SAMPLE_BYTES] for at in range(0, step * _SAMPLES, step)])
    return len(_compressor(1).compress(sample)) > len(sample) * _SHRINKS_BELOW


def compress_frame(plain: memoryview) -> tuple[int, bytes | memoryview]:
    """Compress the joined chunks of a frame; returns (codec, stored bytes)."""
    if _looks_incompressible(plain):
        return RAW, plain
    packed = _compressor(LEVEL).compress(plain)
    if len(packed) >= len(plain):
        return RAW, plain
    return ZSTD, packed


def expand_frame(codec: int, stored: memoryview, plain_bytes: int, subject: str) -> bytes | memoryview:
    """Give back the joined chunks of a frame that rests on no base.

    Raises DamagedError when the bytes do not decompress to exactly `plain_bytes`, HostileError on absurd sizes.
    """
    if plain_bytes > FRAME_BYTES_MAX:
        raise HostileError(f"a frame of {plain_bytes} bytes is over the limit of {FRAME_BYTES_MAX}", subject=subject,
                           next_step="do not trust this pack; restore it from a partner")
    if codec == RAW and len(stored) == plain_bytes:
        return stored
    if codec == ZSTD:
        return decompress(stored, plain_bytes, subject=subject)
    raise HostileError(f"a frame has codec {codec}, which this version does not know here", subject=subject,
                       next_step="open this home with a newer Farkeep")
