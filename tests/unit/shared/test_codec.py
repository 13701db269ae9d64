"""Records and compressed bytes within limits: the right thing comes back, anything else is a typed error."""

from __future__ import annotations

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.codec import decode, decompress, decompress_head, encode
from shared.errors import DamagedError, HostileError


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record."""

    name: str
    numbers: dict[str, int] = {}
    data: bytes = b""


class Later(msgspec.Struct, frozen=True, kw_only=True):
    """The same with one field more."""

    name: str
    added: int


RECORDS = st.builds(Sample, name=st.text(), numbers=st.dictionaries(st.text(), st.integers(-(2**63), 2**63)),
                    data=st.binary())  # fmt: skip


@given(RECORDS)
def test_a_record_comes_back(record: Sample) -> None:
    assert decode(encode(record), Sample, limit_bytes=1 << 20, subject="record") == record


def test_equal_records_have_equal_bytes() -> None:
    one = Sample(name="n", numbers={"a": 1, "b": 2})
    two = Sample(name="n", numbers={"b": 2, "a": 1})
    assert encode(one) == encode(two)


def test_what_is_too_long_or_of_another_shape_is_refused() -> None:
    data = encode(Sample(name="n"))
    with pytest.raises(HostileError, match="longer than"):
        decode(data, Sample, limit_bytes=len(data) - 1, subject="record")
    for bad in (data[:-1], data + b"x", encode(Later(name="n", added=1)), encode([1]), b"", b"\xc1"):
        with pytest.raises(DamagedError) as raised:
            decode(bad, Sample, limit_bytes=1000, subject="the record")
        assert raised.value.subject == "the record"


def test_nesting_without_end_is_damage() -> None:
    with pytest.raises(DamagedError):
        decode(b"\x91" * 100_000 + b"\xc0", list[object], limit_bytes=1 << 20, subject="nested")


@given(st.binary(max_size=300))
def test_any_bytes_give_a_typed_error_or_a_record(data: bytes) -> None:
    try:
        found = decode(data, Sample, limit_bytes=1000, subject="record")
    except DamagedError:
        return
    assert decode(encode(found), Sample, limit_bytes=2000, subject="record") == found


@given(st.binary(max_size=2000))
def test_compressed_bytes_come_back(plain: bytes) -> None:
    assert decompress(zstandard.compress(plain), len(plain), subject="frame") == plain


def test_frames_that_do_not_give_exactly_what_is_stated_are_damage() -> None:
    good = zstandard.compress(b"content" * 100)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"content" * 100)
    for data, size in ((good, 699), (good, 701), (good[:-1], 700), (unsized, 700), (b"noise" * 9, 45), (b"", 0)):
        with pytest.raises(DamagedError):
            decompress(data, size, subject="frame")


def test_a_bomb_costs_no_more_than_was_stated() -> None:
    bomb = zstandard.compress(bytes(1 << 28))
    with pytest.raises(DamagedError, match="another size"):
        decompress(bomb, 1000, subject="bomb")


def test_the_head_of_a_frame_comes_without_its_tail() -> None:
    plain = b"".join(b"line %d\n" % number for number in range(20_000))
    packed = zstandard.ZstdCompressor().compress(plain)
    for wanted in (1, 4096, len(plain)):
        assert decompress_head(packed, len(plain), wanted, subject="") == plain[:wanted]
    with pytest.raises(DamagedError):
        decompress_head(packed, len(plain) - 1, 10, subject="")
    with pytest.raises(DamagedError):
        decompress_head(packed[: len(packed) // 2], len(plain), len(plain), subject="")
    with pytest.raises(DamagedError):
        decompress_head(b"no frame", 10, 5, subject="")
