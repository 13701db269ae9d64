"""The chunker: cuts that are part of the format, whatever slabs the bytes come in."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BugError, RefusedError
from siteagent.store import chunker
from siteagent.store.chunker import MAX_BYTES, MIN_BYTES, Chunker, check_chunker, golden_input
from tests.support.homes import incompressible

ZEROS = bytes(1_000_000)
DATA = incompressible("chunker", 6 << 20)


def _lengths(data: bytes) -> list[int]:
    return list(Chunker().cut(memoryview(data), is_end=True))


def test_golden_cuts() -> None:
    """Written out once more, so that nobody changes code and vector together."""
    assert blake3(golden_input()).hexdigest() == "53f8c8ffa286e318b5fe5576e2ce8d215cad69cabe40c7be484119d8024185b6"
    assert _lengths(golden_input()) == [
        82544, 27918, 24938, 74852, 90488, 26236, 74726, 30691, 25748, 76908, 54037, 183137, 105505, 50417, 120431,
    ]  # fmt: skip
    assert _lengths(ZEROS) == [262144, 262144, 262144, 213568]
    found = blake3(repr(_lengths(DATA)).encode()).hexdigest()
    assert found == "b60b4a2bed6fe143c49c611f73a8812f8ba03bd2507eccf8781330d503eefcec"


def test_lengths_are_within_bounds_and_cover_everything() -> None:
    lengths = _lengths(DATA)
    assert sum(lengths) == len(DATA)
    assert all(MIN_BYTES <= length <= MAX_BYTES for length in lengths[:-1])
    assert 48 << 10 < sum(lengths) / len(lengths) < 100 << 10


@settings(max_examples=25)
@given(st.lists(st.integers(1, 2 << 20), min_size=1, max_size=12))
def test_cuts_do_not_depend_on_how_the_stream_is_slabbed(slabs: list[int]) -> None:
    cutter, kept, at, found = Chunker(), b"", 0, []
    for slab in [*slabs, len(DATA)]:
        kept, at = kept + DATA[at : at + slab], at + slab
        lengths = list(cutter.cut(memoryview(kept), is_end=at >= len(DATA)))
        found += lengths
        kept = kept[sum(lengths) :]
        if at >= len(DATA):
            break
    assert found == _lengths(DATA)
    assert kept == b""


def test_an_insertion_shifts_cuts_only_near_by() -> None:
    before = _cuts(DATA)
    after = {cut - 7 for cut in _cuts(DATA[:1_000_000] + b"7 bytes" + DATA[1_000_000:])}
    assert len({cut for cut in before if cut > 1_600_000} - after) == 0


def _cuts(data: bytes) -> set[int]:
    cuts, at = set(), 0
    for length in _lengths(data):
        at += length
        cuts.add(at)
    return cuts


def test_a_chunker_that_cuts_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunker, "GOLDEN_LENGTHS", (1 << 20,))
    with pytest.raises(RefusedError, match="cuts elsewhere"):
        Chunker()


def test_a_chunker_that_loses_bytes_is_a_bug() -> None:
    class Lossy(Chunker):
        def cut(self, data: memoryview, *, is_end: bool) -> list[int]:  # type: ignore[override]
            return [len(data) - 1]

    good = Chunker()
    check_chunker(good)
    with pytest.raises(BugError, match="loses bytes"):
        Lossy()


def test_nothing_has_no_chunks() -> None:
    assert _lengths(b"") == []
