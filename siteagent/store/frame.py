"""Frames: chunks compressed together, the unit of compression.

Codecs (part of the format): 0 raw, 1 zstd, 2 zstd against a raw-content dictionary made of base chunks (a delta frame).
A frame is stored raw when eight 4 KiB samples across it do not shrink, or when the whole does not.

zstd's own checksum stands in each frame: what memory did to compressed bytes before they were sealed is found whenever
they are expanded.

How hard to compress is no part of the format: chunks cut from large files get zstd's fast strategy with a table of
256 KiB, small files level 3 (ARCHITECTURE.md has what either costs and saves).
"""

from __future__ import annotations

import threading

import zstandard

from shared.codec import decompress
from shared.errors import HostileError

RAW, ZSTD, ZSTD_DELTA = 0, 1, 2
FRAME_BYTES_MAX = 1 << 20
_LARGE_CHUNK_BYTES = 32 << 10
_SAMPLE_BYTES = 4096
_SAMPLES = 8
_SHRINKS_BELOW = 0.97

_local = threading.local()


_SAMPLE, _SMALL_FILES, _LARGE_FILES = range(3)


def _make_compressor(use: int) -> zstandard.ZstdCompressor:
    if use == _LARGE_FILES:
        fast = zstandard.ZstdCompressionParameters(
            window_log=20, chain_log=13, hash_log=16, search_log=1, min_match=6, target_length=0,
            strategy=zstandard.STRATEGY_FAST, write_checksum=True,
        )  # fmt: skip
        return zstandard.ZstdCompressor(compression_params=fast)
    return zstandard.ZstdCompressor(level=3 if use == _SMALL_FILES else 1, write_checksum=use == _SMALL_FILES)


def _compressor(use: int) -> zstandard.ZstdCompressor:
    made: dict[int, zstandard.ZstdCompressor] | None = getattr(_local, "compressors", None)
    if made is None:
        made = _local.compressors = {}
    if use not in made:
        made[use] = _make_compressor(use)
    return made[use]


def _looks_incompressible(plain: memoryview) -> bool:
    size = len(plain)
    if size < 2 * _SAMPLES * _SAMPLE_BYTES:
        return False
    step = (size - _SAMPLE_BYTES) // (_SAMPLES - 1)
    sample = b"".join([plain[at : at + _SAMPLE_BYTES] for at in range(0, step * _SAMPLES, step)])
    return len(_compressor(_SAMPLE).compress(sample)) > len(sample) * _SHRINKS_BELOW


def compress_frame(plain: memoryview, chunks: int) -> tuple[int, bytes | memoryview]:
    """Compress the joined chunks of a frame (`chunks` tells how many); returns (codec, stored bytes)."""
    if _looks_incompressible(plain):
        return RAW, plain
    packed = _compressor(_LARGE_FILES if len(plain) >= chunks * _LARGE_CHUNK_BYTES else _SMALL_FILES).compress(plain)
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
