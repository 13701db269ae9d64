"""Which generation rests on which: chains stay short, and most nights pay for one or two nights' changes."""

from __future__ import annotations

from itertools import pairwise

from siteagent.capture.ancestry import DEPTH, NONE, Ancestor, Ancestry, base_depth, preferred
from siteagent.store.catalog import EMPTY, Catalog
from siteagent.store.table import DEPTH_MAX
from tests.support.stores import PageMemory


def _rests_on(generation: int, depths: dict[int, int]) -> int | None:
    """The generation that everything changed every night rests on; None: on nothing."""
    allowed = base_depth(generation)
    candidates = [generation - 1, *preferred(generation)]
    return next((one for one in candidates if depths.get(one, DEPTH + 1) <= allowed), None)


def test_no_chain_is_deeper_than_the_format_allows_and_none_begins_anew_before_a_cycle() -> None:
    depths, distances = {0: 0}, []
    for generation in range(1, 64):
        base = _rests_on(generation, depths)
        assert base is not None, generation
        depths[generation] = depths[base] + 1
        distances.append(generation - base)
    assert max(depths.values()) == DEPTH < DEPTH_MAX
    assert sorted(distances)[len(distances) // 2] <= 3
    assert sum(distances) / len(distances) < 6


def test_preferred_generations_are_older_and_older() -> None:
    for generation in range(200):
        found = list(preferred(generation))
        assert all(later > earlier for later, earlier in pairwise([generation, *found]))
        assert all(one >= 0 for one in found)
    assert list(preferred(13)) == [12, 8, 0]
    assert list(preferred(64)) == [0]
    assert list(preferred(0)) == []


def test_the_nearest_kept_ones_stand_in_for_those_that_are_gone() -> None:
    opened: list[int] = []

    def ancestor(generation: int) -> Ancestor:
        def open_it() -> Catalog:
            opened.append(generation)
            return Catalog(PageMemory(), EMPTY)

        return Ancestor(generation, open_it)

    ancestry = Ancestry(13, lambda: [ancestor(2), ancestor(7)])
    assert opened == []
    for _ in range(2):
        assert not list(ancestry.versions(b"/", b"name"))
        assert opened == [7, 2]
    assert not list(NONE.versions(b"/", b"name"))
