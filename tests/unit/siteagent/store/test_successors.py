"""Successors and retired segments: names lead on, over several steps, and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from siteagent.store.namebits import NameBits
from siteagent.store.nameruns import pack_names, unpack_names
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.retired import Retired
from siteagent.store.successors import Successors

ONE, TWO, THREE, FOUR, FIVE, SIX = (segment_name(b"r" * 16, number) for number in range(1, 7))
NAMES = st.frozensets(st.builds(segment_name, st.sampled_from([bytes(16), b"r" * 16]), st.integers(0, 5_000)))


def made(*rows: tuple[list[SegmentName], list[SegmentName]]) -> Successors:
    packed = [(pack_names(new), pack_names(old)) for new, old in rows]
    return Successors(lambda: packed)


@given(st.lists(NAMES, max_size=4), NAMES)
def test_a_union_of_packed_sets_has_what_they_have(sets: list[frozenset[SegmentName]],
                                                   others: frozenset[SegmentName]) -> None:
    bits, union = NameBits(*map(pack_names, sets)), frozenset[SegmentName]().union(*sets)
    assert {name for name in union | others if name in bits} == union
    assert set(bits) == union
    assert set(bits.runs()) == {name[:16] for name in union}
    assert all(set(unpack_names(pack_names(names))) == names for names in sets)


def test_nothing_is_something_else_until_a_fact_says_so() -> None:
    found = Successors()
    assert found.of(ONE) is None
    assert ONE not in found
    assert found.closed({ONE}) == {ONE}
    assert found.before({ONE}) == set()


def test_names_lead_to_all_that_may_hold_a_chunk_and_back() -> None:
    found = made(([THREE, FOUR], [ONE, TWO]), ([FIVE], [THREE]))
    assert set(found.of(ONE) or ()) == {FOUR, FIVE}
    assert found.of(THREE) == (FIVE,)
    assert found.of(FOUR) is None
    assert found.closed({ONE, SIX}) == {FOUR, FIVE, SIX}
    assert found.before({FIVE}) == {ONE, TWO, THREE}
    assert found.before({FOUR}) == {ONE, TWO}


def test_a_segment_of_which_nothing_is_needed_has_no_successor() -> None:
    found = made(([], [ONE]))
    assert found.of(ONE) == ()
    assert ONE in found
    assert found.closed({ONE}) == set()


def test_what_is_recorded_later_is_taken_in() -> None:
    rows = [(pack_names([TWO]), pack_names([ONE]))]
    found = Successors(lambda: rows)
    assert found.of(ONE) == (TWO,)
    rows.append((pack_names([THREE]), pack_names([TWO])))
    assert found.of(ONE) == (TWO,)
    found.refresh()
    assert found.of(ONE) == (THREE,)


def test_a_part_is_enough_for_those_it_concerns() -> None:
    found = made(([TWO], [ONE]), ([FOUR], [THREE]), ([SIX], [TWO]))
    part = found.concerning({ONE})
    assert len(part) == 2
    assert Successors(lambda: part).of(ONE) == (SIX,)


def test_retired_names_are_those_of_the_log() -> None:
    rows = [pack_names([ONE])]
    retired = Retired(lambda: rows)
    assert ONE in retired
    assert TWO not in retired
    rows.append(pack_names([TWO]))
    retired.refresh()
    assert TWO in retired
