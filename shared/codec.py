"""Bounded encoding and decoding of records: MessagePack into declared structs, zstd within a stated size.

Decoding names the struct it wants; unknown fields are refused by structs declared with `forbid_unknown_fields`,
and no decoder here imports, constructs or calls anything named by the data.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec
import zstandard

from shared.errors import DamagedError, HostileError

T = TypeVar("T")
PLAIN_BYTES_MAX = 16 << 20
"""More than any frame of any format holds, and little enough to be had at any time."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}
_local = threading.local()


def _decompressor() -> zstandard.ZstdDecompressor:
    made: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if made is None:
        made = _local.decompressor = zstandard.ZstdDecompressor()
    return made


def encode(value: Any) -> bytes:
    """Canonical MessagePack of a struct (same value, same bytes)."""
    return _encoder.encode(value)


def decode(data: bytes | memoryview, shape: type[T], *, limit_bytes: int, subject: str) -> T:
    """Decode MessagePack into `shape`.

    Raises HostileError when `data` is longer than `limit_bytes`, DamagedError when it does not have that shape.
    """
    if len(data) > limit_bytes:
        raise HostileError(
            f"a record of {len(data)} bytes is longer than the limit of {limit_bytes}",
            subject=subject,
            next_step="do not trust where this record came from; run `farkeep verify`",
        )
    decoder = _decoders.get(shape)
    if decoder is None:
        decoder = _decoders[shape] = msgspec.msgpack.Decoder(shape)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DamagedError(
            f"a record cannot be decoded: {error}", subject=subject, next_step="run `farkeep verify`"
        ) from error


def decompress(data: bytes | memoryview, plain_size_bytes: int, *, subject: str) -> bytes:
    """Decompress one zstd frame that must give exactly `plain_size_bytes`.

    The size is checked in the frame's header before anything is allocated. Raises DamagedError on any difference,
    HostileError for more than PLAIN_BYTES_MAX.
    """
    _require_sane(plain_size_bytes, subject)
    try:
        if zstandard.frame_content_size(data) != plain_size_bytes:
            raise _wrong_size(subject)
        plain = _decompressor().decompress(data, max_output_size=plain_size_bytes)
    except zstandard.ZstdError as error:
        raise DamagedError(f"a frame does not decompress: {error}", subject=subject,
                           next_step="run `farkeep verify --read-data`") from error
    if len(plain) != plain_size_bytes:
        raise DamagedError("a frame decompresses to another size than its table says", subject=subject,
                           next_step="run `farkeep verify --read-data`")
    return plain


def decompress_head(data: bytes | memoryview, plain_size_bytes: int, wanted_bytes: int, *, subject: str) -> bytes:
    """The first `wanted_bytes` of a zstd frame that states `plain_size_bytes`; raises like `decompress`."""
    _require_sane(max(plain_size_bytes, wanted_bytes), subject)
    try:
        if zstandard.frame_content_size(data) != plain_size_bytes:
            raise _wrong_size(subject)
        with _decompressor().stream_reader(data) as stream:
            plain = stream.read(wanted_bytes)
    except zstandard.ZstdError as error:
        raise DamagedError(f"a frame does not decompress: {error}", subject=subject,
                           next_step="run `farkeep verify --read-data`") from error
    if len(plain) != wanted_bytes:
        raise _wrong_size(subject)
    return plain


def _require_sane(size_bytes: int, subject: str) -> None:
    if size_bytes > PLAIN_BYTES_MAX:
        raise HostileError(f"a compressed frame of {size_bytes} bytes is over the limit of {PLAIN_BYTES_MAX}",
                           subject=subject, next_step="do not trust where this came from; run `farkeep verify`")


def _wrong_size(subject: str) -> DamagedError:
    return DamagedError("a compressed frame states another size than its table", subject=subject,
                        next_step="run `farkeep verify --read-data`")
