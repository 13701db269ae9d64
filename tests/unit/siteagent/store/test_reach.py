"""Reaches: sets come back whole or as differences, add up or are refused, and stay small."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.errors import DamagedError, HostileError, NewerFormatError
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.reach import (
    BLOCK_BYTES,
    STEPS_MAX,
    Reach,
    apply,
    decode_reach,
    difference,
    encode_reach,
    new_reach,
)

SITE = b"site" * 4
NAMES = st.frozensets(st.builds(segment_name, st.sampled_from([b"a" * 16, b"b" * 16]), st.integers(0, 3000)))


def _snapshot(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _range(*bounds: int) -> set[SegmentName]:
    return {segment_name(b"a" * 16, number) for number in range(*bounds)}


@given(NAMES, NAMES)
def test_a_reach_comes_back(added: frozenset[SegmentName], removed: frozenset[SegmentName]) -> None:
    reach = Reach(SITE, _snapshot(2), _snapshot(1), 3, len(added), added, removed)
    assert decode_reach(encode_reach(reach), "reach") == reach


def test_golden_bytes() -> None:
    whole = difference(SITE, _snapshot(7), {segment_name(b"a" * 16, n) for n in (1, 2, 3, 700)}, None, set())
    data = encode_reach(whole)
    assert data[:64].hex() == (
        "464b7263" "01000000" + SITE.hex() + _snapshot(7).hex() + "00" * 16 + "00000000" "04000000"
    )  # fmt: skip
    assert data[-32:] == blake3(data[:-32]).digest()
    assert blake3(data).hexdigest() == "a169511279d83f725ff359b206957fd13a85923558cb519283442964c1c3673b"
    step = difference(SITE, _snapshot(8), {*whole.added, segment_name(b"b" * 16, 9)}, whole, set(whole.added))
    assert (step.base, step.steps) == (_snapshot(7), 1)
    assert blake3(encode_reach(step)).hexdigest() == "f50b217a458a8812b952cbc9a87dd506a4991a5989d4b24c9a1d1db7252aa1be"


@given(st.lists(NAMES, min_size=1, max_size=40))
def test_a_chain_of_differences_gives_every_set(sets: list[frozenset[SegmentName]]) -> None:
    stored: dict[bytes, Reach] = {}
    before: Reach | None = None
    before_set: set[SegmentName] = set()
    for number, names in enumerate(sets, 1):
        before = difference(SITE, _snapshot(number), set(names), before, before_set)
        before_set = set(names)
        stored[before.snapshot] = decode_reach(encode_reach(before), "reach")
    for number, names in enumerate(sets, 1):
        assert apply(stored[_snapshot(number)], stored.__getitem__) == names


def test_a_chain_is_not_longer_than_its_limit() -> None:
    before: Reach | None = None
    before_set: set[SegmentName] = set()
    steps = []
    for number in range(2 * STEPS_MAX + 2):
        names = _range(100 + number)
        before = difference(SITE, _snapshot(number + 1), names, before, before_set)
        before_set = names
        assert decode_reach(encode_reach(before), "reach") == before
        steps.append(before.steps)
    assert steps == [*range(STEPS_MAX + 1), *range(STEPS_MAX + 1)]


def test_a_small_change_is_a_small_file() -> None:
    base = difference(SITE, _snapshot(1), _range(1, 100_001), None, set())
    assert len(encode_reach(base)) < 13_000
    step = difference(SITE, _snapshot(2), _range(11, 100_021), base, _range(1, 100_001))
    assert (step.base, len(step.added), len(step.removed)) == (_snapshot(1), 20, 10)
    assert apply(step, {base.snapshot: base}.__getitem__) == _range(11, 100_021)
    assert len(encode_reach(step)) < 300


def test_what_fits_into_a_block_is_whole() -> None:
    many = {segment_name(number.to_bytes(16, "big"), 1) for number in range(1000)}
    for segments, steps in ((_range(1, 8_000), 0), (_range(1, 100_000), 1), (many, 1)):
        before = difference(SITE, _snapshot(1), segments, None, set())
        now = segments | _range(200_000, 200_010)
        found = new_reach(SITE, _snapshot(2), now, before, segments)
        assert found.steps == steps
        assert len(encode_reach(found)) <= BLOCK_BYTES
        assert apply(found, {before.snapshot: before}.__getitem__) == now


def test_a_set_that_has_little_in_common_is_whole() -> None:
    base = difference(SITE, _snapshot(1), _range(100), None, set())
    assert difference(SITE, _snapshot(2), _range(90, 200), base, _range(100)).base == b""


def test_reaches_that_do_not_add_up_are_damage() -> None:
    base = difference(SITE, _snapshot(1), _range(100), None, set())
    step = difference(SITE, _snapshot(2), _range(101), base, _range(100))
    stored = {base.snapshot: base}
    assert apply(step, stored.__getitem__) == _range(101)
    for wrong in (replace(step, total=100), replace(step, steps=2), replace(step, added=frozenset())):
        with pytest.raises(DamagedError):
            apply(wrong, stored.__getitem__)


def test_a_circle_of_reaches_ends() -> None:
    one = Reach(SITE, _snapshot(1), _snapshot(2), 1, 0, frozenset(), frozenset())
    two = Reach(SITE, _snapshot(2), _snapshot(1), 1, 0, frozenset(), frozenset())
    with pytest.raises(DamagedError):
        apply(one, {one.snapshot: one, two.snapshot: two}.__getitem__)


def test_every_changed_byte_is_noticed() -> None:
    data = encode_reach(difference(SITE, _snapshot(7), _range(50), None, set()))
    for at in range(len(data)):
        spoilt = bytearray(data)
        spoilt[at] ^= 4
        with pytest.raises(DamagedError):
            decode_reach(bytes(spoilt), "reach")
    for length in (0, 63, 95, len(data) - 1):
        with pytest.raises(DamagedError):
            decode_reach(data[:length], "reach")


def test_a_newer_format_and_too_many_steps_are_refused() -> None:
    data = encode_reach(difference(SITE, _snapshot(7), _range(50), None, set()))[:-32]
    for at, value, error in ((4, 2, NewerFormatError), (56, STEPS_MAX + 1, HostileError)):
        spoilt = data[:at] + bytes((value,)) + data[at + 1 :]
        with pytest.raises(HostileError) as raised:
            decode_reach(spoilt + blake3(spoilt).digest(), "reach")
        assert type(raised.value) is error
