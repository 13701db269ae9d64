"""Frames: compressed when it pays, raw when it does not, and never longer than they say."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DamagedError, HostileError
from siteagent.store.frame import FRAME_BYTES_MAX, RAW, ZSTD, ZSTD_DELTA, compress_frame, expand_frame
from tests.support.homes import incompressible


@given(st.binary(max_size=5000), st.sampled_from([1, 100_000]), st.sampled_from([1, 40]))
def test_a_frame_comes_back(piece: bytes, chunks: int, times: int) -> None:
    plain = piece * times
    codec, stored = compress_frame(memoryview(plain), chunks)
    assert bytes(expand_frame(codec, memoryview(stored), len(plain), "frame")) == plain
    assert len(stored) <= len(plain)


def test_text_is_compressed_and_noise_is_not() -> None:
    text, noise = b"the same words again " * 20_000, incompressible("noise", 400_000)
    for chunks in (1, 1000):
        codec, stored = compress_frame(memoryview(text), chunks)
        assert codec == ZSTD
        assert len(stored) < len(text) // 20
        assert compress_frame(memoryview(noise), chunks) == (RAW, memoryview(noise))


def test_a_frame_that_is_half_noise_is_compressed() -> None:
    mixed = incompressible("half", 200_000) + bytes(200_000)
    codec, stored = compress_frame(memoryview(mixed), 7)
    assert codec == ZSTD
    assert len(stored) < 250_000


def test_a_bomb_is_refused_before_it_grows() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(256 << 20))
    assert len(bomb) < 100_000
    with pytest.raises(HostileError):
        expand_frame(ZSTD, memoryview(bomb), 256 << 20, "bomb")
    with pytest.raises(DamagedError):
        expand_frame(ZSTD, memoryview(bomb), FRAME_BYTES_MAX, "bomb")


def test_a_frame_is_no_larger_than_the_format_allows() -> None:
    for size_bytes, codec in ((FRAME_BYTES_MAX, ZSTD), (FRAME_BYTES_MAX + 1, ZSTD), (FRAME_BYTES_MAX + 1, RAW)):
        plain = bytes(size_bytes)
        stored = memoryview(zstandard.ZstdCompressor().compress(plain) if codec == ZSTD else plain)
        if size_bytes == FRAME_BYTES_MAX:
            assert expand_frame(codec, stored, size_bytes, "frame") == plain
            continue
        with pytest.raises(HostileError, match="over the limit"):
            expand_frame(codec, stored, size_bytes, "frame")


def test_a_stream_without_a_stated_size_is_refused() -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    data = compressor.compress(b"a" * 1000) + compressor.flush()
    with pytest.raises(DamagedError):
        expand_frame(ZSTD, memoryview(data), 1000, "frame")


@pytest.mark.parametrize(("codec", "size"), [(RAW, 4), (RAW, 6), (ZSTD, 5), (ZSTD_DELTA, 5), (77, 5)])
def test_what_is_no_such_frame_is_refused(codec: int, size: int) -> None:
    with pytest.raises((DamagedError, HostileError)):
        expand_frame(codec, memoryview(b"12345"), size, "frame")
