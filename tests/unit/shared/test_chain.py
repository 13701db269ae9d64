"""Positions, envelopes and signed heads: their bytes, their limits, and that no changed byte passes."""

from __future__ import annotations

import msgspec
import pytest

from shared.chain import (
    Envelope,
    Position,
    coarse_time_s,
    decode_envelope,
    decode_position,
    decode_signed_head,
    hash_envelope,
    parse_position,
    sign_head,
)
from shared.errors import DamagedError, FarkeepError, HostileError, RefusedError, UsageError
from shared.signing import Identity

ENVELOPE = Envelope(
    site=bytes(range(16)), log_epoch=b"\x11" * 32, sequence=0x0102030405060708, previous_hash=b"\x22" * 32,
    coarse_s=-60, fact_id=b"\x33" * 16, subject=b"\x44" * 16, aggregate_id=b"\x55" * 16, aggregate_version=9,
    body_digest=b"\x66" * 32, body_size_bytes=1000, kind_version=3, kind="job.started",
)  # fmt: skip
POSITION = Position(bytes(range(16)), bytes(range(32)), 42, b"\x77" * 32)
IDENTITY = Identity(b"i" * 32)


def test_the_envelope_is_the_documented_table() -> None:
    expected = (
        "01" "00" "000102030405060708090a0b0c0d0e0f" + "11" * 32 + "0102030405060708" + "22" * 32 + "ffffffffffffffc4"
        + "33" * 16 + "44" * 16 + "55" * 16 + "00000009" + "66" * 32 + "000003e8" + "0003" + "0b" + b"job.started".hex()
    )  # fmt: skip
    assert ENVELOPE.encode().hex() == expected
    assert decode_envelope(ENVELOPE.encode()) == ENVELOPE


def test_the_hash_of_an_envelope_never_changes() -> None:
    assert hash_envelope(ENVELOPE.encode()).hex() == "5e0503203b6e22c9375f029b5712b60df505aedbefa668d9723ec5337ff1e0f9"


def test_an_opening_fact_opens_the_log_epoch_named_by_its_hash() -> None:
    assert ENVELOPE.position(b"h" * 32).log_epoch == b"\x11" * 32
    opening = msgspec.structs.replace(ENVELOPE, kind="log.opened")
    assert opening.position(b"h" * 32).log_epoch == b"h" * 32


@pytest.mark.parametrize("size_bytes", [0, 1, 100, 189, 199])
def test_a_shortened_envelope_is_damaged(size_bytes: int) -> None:
    with pytest.raises(DamagedError):
        decode_envelope(ENVELOPE.encode()[:size_bytes])


def test_an_envelope_with_more_is_damaged_too_long_hostile_newer_refused() -> None:
    data = ENVELOPE.encode()
    with pytest.raises(DamagedError):
        decode_envelope(data + b"x")
    with pytest.raises(HostileError):
        decode_envelope(data + bytes(100))
    with pytest.raises(RefusedError, match="newer Farkeep"):
        decode_envelope(b"\x02" + data[1:])
    with pytest.raises(DamagedError):
        decode_envelope(data[:1] + b"\x01" + data[2:])


@pytest.mark.parametrize(("time_ns", "seconds"), [(0, 0), (59_999_999_999, 0), (60_000_000_000, 60), (-1, -60)])
def test_coarse_time_is_a_whole_minute_rounded_down(time_ns: int, seconds: int) -> None:
    assert coarse_time_s(time_ns) == seconds


def test_a_position_survives_a_round_trip_and_only_whole() -> None:
    assert decode_position(POSITION.encode()) == POSITION
    with pytest.raises(DamagedError):
        decode_position(POSITION.encode()[:-1])


def test_a_position_is_written_and_read_by_people() -> None:
    assert POSITION.text() == "00010203/00010203/42"
    name = parse_position(" 0001/000102030/42 ")
    assert (name.names(POSITION.site, POSITION.log_epoch), name.sequence) == (True, 42)
    assert not parse_position("ff/00/42").names(POSITION.site, POSITION.log_epoch)


@pytest.mark.parametrize(
    "text", ["", "12", "a/b", "a/b/c", "a//1", "/b/1", "g/b/1", "a/b/-1", "a/b/1/2", "a/b/9" + "9" * 20]
)
def test_what_is_no_position_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_position(text)


def test_a_signed_head_proves_its_position() -> None:
    head = sign_head(POSITION, IDENTITY)
    assert head.is_signed()
    assert decode_signed_head(head.encode()) == head


def test_no_changed_byte_of_a_signed_head_passes() -> None:
    data = sign_head(POSITION, IDENTITY).encode()
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            head = decode_signed_head(changed)
        except FarkeepError:
            continue
        assert not head.is_signed(), at


def test_a_signature_for_another_purpose_is_no_head() -> None:
    head = sign_head(POSITION, IDENTITY)
    message = head.encode()[:121]
    forged = msgspec.structs.replace(head, signature=IDENTITY.sign("something else", message))
    assert not forged.is_signed()


def test_a_newer_or_cut_head_is_told_apart() -> None:
    data = sign_head(POSITION, IDENTITY).encode()
    with pytest.raises(RefusedError, match="newer Farkeep"):
        decode_signed_head(b"\x02" + data[1:])
    with pytest.raises(DamagedError):
        decode_signed_head(data[:-1])
