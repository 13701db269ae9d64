"""Delta frames: they give back exactly what they were made of, win or are not made, and refuse nonsense."""

from __future__ import annotations

import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DamagedError, HostileError
from siteagent.store import delta
from siteagent.store.delta import (
    BASE_CHUNKS_MAX,
    DICTIONARY_BYTES_MAX,
    Base,
    BaseChunk,
    compress_delta,
    decode_base,
    dictionary_of,
    encode_base,
    expand_delta,
)
from siteagent.store.names import segment_name
from tests.support.homes import incompressible

SEGMENTS = tuple(segment_name(bytes(16), number) for number in range(8))
BASE = Base((BaseChunk(SEGMENTS[3], b"\1" * 32), BaseChunk(SEGMENTS[0], b"\2" * 32)), 5, 7, 1)
OLD = incompressible("old", 100_000)


def test_golden_base_list() -> None:
    expected = b"\2" b"\3" + b"\1" * 32 + b"\0" + b"\2" * 32 + b"\5\0\0\0" b"\7\0\0\0"
    assert encode_base(BASE, SEGMENTS) == expected
    assert decode_base(expected, SEGMENTS, 2) == BASE


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" + bytes(8), b"\1" + bytes(8), encode_base(BASE, SEGMENTS)[:-1], encode_base(BASE, SEGMENTS) + b"\0",
     bytes((BASE_CHUNKS_MAX + 1,)) + bytes(33 * (BASE_CHUNKS_MAX + 1) + 8), b"\1\x08" + bytes(32 + 8)],
)  # fmt: skip
def test_a_base_list_that_no_writer_makes_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedError):
        decode_base(data, SEGMENTS, 1)


def test_the_dictionary_is_what_the_trims_leave() -> None:
    assert bytes(dictionary_of(Base(BASE.chunks, 2, 3), [b"abcd", b"efgh"])) == b"cde"
    with pytest.raises(DamagedError):
        dictionary_of(Base(BASE.chunks, 4, 4), [b"abcd", b"efgh"])
    with pytest.raises(HostileError):
        dictionary_of(Base(BASE.chunks), [bytes(DICTIONARY_BYTES_MAX), b"x"])


def test_a_delta_is_expanded_again_before_it_is_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    new = OLD[:50_000] + b"edited" + OLD[50_000:]
    monkeypatch.setattr(delta, "expand_delta", lambda *_: new[:-1] + b"?")
    with pytest.raises(DamagedError, match="memory is at fault"):
        compress_delta(new, OLD)


def test_a_small_edit_costs_little_and_comes_back() -> None:
    new = OLD[:50_000] + b"edited" + OLD[50_000:]
    packed = compress_delta(new, OLD)
    assert packed is not None and len(packed) < 200
    assert expand_delta(packed, len(new), OLD, "") == new


def test_what_has_nothing_in_common_is_no_delta() -> None:
    assert compress_delta(incompressible("other", 100_000), OLD) is None
    assert compress_delta(b"the same words again " * 5000, OLD) is None


def test_a_delta_has_a_checksum() -> None:
    """What memory does to it before it is sealed is found whenever it is expanded."""
    packed = compress_delta(OLD[:50_000], OLD)
    assert packed is not None and zstandard.get_frame_parameters(packed).has_checksum


def test_what_rests_on_next_to_nothing_is_no_delta() -> None:
    assert compress_delta(OLD[:8000], OLD[:7]) is None


@given(st.integers(0, 2**32), st.integers(1, 40_000), st.integers(1, 40_000), st.integers(0, 20))
def test_every_delta_comes_back(seed: int, old_bytes: int, new_bytes: int, edits: int) -> None:
    chance = random.Random(seed)
    old = OLD[:old_bytes]
    new = bytearray(OLD[chance.randrange(5000) :][:new_bytes])
    for _ in range(edits):
        at = chance.randrange(len(new) + 1)
        new[at : at + chance.randrange(9)] = chance.randbytes(chance.randrange(9))
    packed = compress_delta(bytes(new), old) if new else None
    if packed is not None:
        assert expand_delta(packed, len(new), old, "") == bytes(new)


def test_another_base_or_size_is_damage_never_wrong_data() -> None:
    new = OLD[:60_000] + b"!" + OLD[60_000:]
    packed = compress_delta(new, OLD)
    assert packed is not None
    with pytest.raises(DamagedError):
        expand_delta(packed, len(new) - 1, OLD, "")
    with pytest.raises(DamagedError):
        expand_delta(packed[:-3], len(new), OLD, "")
    with pytest.raises(DamagedError):
        expand_delta(packed, len(new), OLD[:10], "")
    with pytest.raises(DamagedError):
        expand_delta(b"no frame at all", len(new), OLD, "")
