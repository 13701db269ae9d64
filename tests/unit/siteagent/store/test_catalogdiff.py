"""Two catalogs side by side: against a plain comparison of all entries, and counting the pages that are read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.tree import child_folder, folder_key, key_of
from siteagent.store.catalog import EMPTY, Catalog, Root
from siteagent.store.catalogdiff import Pair, Side, differing
from siteagent.store.entry import Entry
from tests.support.stores import PageMemory, build, rebuild, tree_entries

COMPONENTS = st.one_of(st.sampled_from([b"a", b"b", b"ab", b"a\0", b"a\1", b"\0", b"\xff", b"-"]),
                       st.binary(min_size=1, max_size=3))  # fmt: skip
PATHS = st.sets(st.lists(COMPONENTS, min_size=1, max_size=4).map(tuple), max_size=40)


def naive(old: Sequence[Entry], new: Sequence[Entry]) -> list[Pair]:
    """Every entry of both, by key."""
    before, after = ({one.key: one for one in entries} for entries in (old, new))
    keys = sorted(before.keys() | after.keys())
    return [(before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def compared(old: Sequence[Entry], new: Sequence[Entry]) -> list[Pair]:
    memory = PageMemory()
    return list(differing(memory, Side(build(old, memory)), Side(build(new, memory))))


@given(PATHS, PATHS)
def test_any_two_trees_differ_where_their_entries_do(
    old: set[tuple[bytes, ...]], new: set[tuple[bytes, ...]]
) -> None:
    assert compared(tree_entries(old), tree_entries(new)) == naive(tree_entries(old), tree_entries(new))


def many(count: int) -> list[Entry]:
    return tree_entries({(b"usr", b"dir %03d" % (n // 40), b"file %05d" % n) for n in range(count)})


LARGE = many(12_000)


@settings(deadline=None, max_examples=12)
@given(
    removed=st.sets(st.integers(1, len(LARGE) - 1), max_size=12),
    added=st.sets(st.integers(0, 12_000), max_size=12),
    touched=st.sets(st.integers(1, len(LARGE) - 1), max_size=12),
)
def test_a_mutated_tree_costs_the_pages_that_changed(removed: set[int], added: set[int], touched: set[int]) -> None:
    memory = PageMemory()
    old = build(LARGE, memory)
    folders = {one.key: one for one in LARGE}
    extra = [one for one in tree_entries({(b"usr", b"dir %03d" % (n // 40), b"file %05d+" % n) for n in added})
             if one.key not in folders]  # fmt: skip
    kept = [one._replace(mtime_ns=77) if place in touched else one for place, one in enumerate(LARGE)
            if place not in removed]  # fmt: skip
    mutated = sorted([*kept, *extra], key=lambda one: one.key)
    known = set(memory.pages)
    new, _ = rebuild(old, mutated, memory)
    changed = len(set(memory.pages) - known)
    memory.reads = 0
    found = list(differing(memory, Side(old), Side(new)))
    assert found == naive(LARGE, mutated)
    assert memory.reads <= 4 * changed + 4


def test_equal_catalogs_are_compared_without_reading_a_page() -> None:
    memory = PageMemory()
    root = build(LARGE, memory)
    memory.reads = 0
    assert list(differing(memory, Side(root), Side(root))) == []
    assert memory.reads == 0


def test_one_change_reads_the_way_down_on_both_sides() -> None:
    memory = PageMemory()
    old = build(LARGE, memory)
    changed = [one._replace(size=6) if place == 6000 else one for place, one in enumerate(LARGE)]
    new, _ = rebuild(old, changed, memory)
    memory.reads = 0
    ((before, after),) = differing(memory, Side(old), Side(new))
    assert (before, after) == (LARGE[6000], changed[6000])
    assert memory.reads == 2 * (old.level + 1)


@pytest.mark.parametrize("small", [1, 30])
def test_trees_of_different_height_are_compared(small: int) -> None:
    memory, few, lots = PageMemory(), many(small), many(30_000)
    low, high = build(few, memory), build(lots, memory)
    assert low.level < high.level
    assert list(differing(memory, Side(low), Side(high))) == naive(few, lots)
    assert list(differing(memory, Side(high), Side(low))) == naive(lots, few)


def test_a_tree_that_grew_by_a_level_still_costs_what_was_added() -> None:
    memory, count = PageMemory(), 8000
    old = build(many(count), memory)
    while (new := build(many(count), memory)).level == old.level:
        count += 8000
    grown, before = many(count), many(8000)
    pages = len(_leaves(memory, new) - _leaves(memory, old))
    memory.reads = 0
    assert list(differing(memory, Side(old), Side(new))) == naive(before, grown)
    assert memory.reads < 1.2 * pages + 20


def _leaves(memory: PageMemory, root: Root) -> set[bytes]:
    return {row.page_id for row, level in Catalog(memory, root).index_rows() if level == 0}


def test_an_empty_catalog_lacks_everything() -> None:
    memory, few = PageMemory(), many(100)
    root = build(few, memory)
    assert list(differing(memory, Side(EMPTY), Side(root))) == [(None, one) for one in few]
    assert list(differing(memory, Side(root), Side(EMPTY))) == [(one, None) for one in few]
    assert list(differing(memory, Side(EMPTY), Side(EMPTY))) == []


@given(PATHS, PATHS, st.lists(COMPONENTS, max_size=2), st.lists(COMPONENTS, max_size=2))
def test_two_folders_are_compared_by_relative_paths(
    old: set[tuple[bytes, ...]], new: set[tuple[bytes, ...]], at: list[bytes], other: list[bytes]
) -> None:
    """The folders lie at different places, among other things."""
    memory = PageMemory()
    first = tree_entries({*((*at, *path) for path in old), (b"a", b"beside"), (b"~",)})
    second = tree_entries({*((*other, *path) for path in new), (b"a", b"beside"), (b"~",)})
    left, right = Side(build(first, memory), folder_key(at)), Side(build(second, memory), folder_key(other))
    assert list(differing(memory, left, right)) == _expected(first, second, at, other)


def test_one_folder_of_two_trees_leaves_the_rest_unread() -> None:
    memory = PageMemory()
    old = build(LARGE, memory)
    changed = [one._replace(mtime_ns=5) for one in LARGE]
    new = build(changed, memory)
    folder = folder_key([b"usr", b"dir 100"])
    memory.reads = 0
    found = list(differing(memory, Side(old, folder), Side(new, folder)))
    assert {one.folder for one, _ in found if one} == {folder}
    assert len(found) == 40
    assert memory.reads <= 2 * (old.level + 3)


def _inside(entries: Sequence[Entry], folder: bytes) -> dict[bytes, Entry]:
    """Entries below a folder by their keys relative to it."""
    found = {}
    for one in entries:
        parts = one.folder.split(b"\0") if one.folder else []
        above = folder.split(b"\0") if folder else []
        if parts[: len(above)] == above:
            found[key_of(b"\0".join(parts[len(above) :]), one.name)] = one
    return found


def _expected(old: Sequence[Entry], new: Sequence[Entry], at: list[bytes], other: list[bytes]) -> list[Pair]:
    before, after = _inside(old, folder_key(at)), _inside(new, folder_key(other))
    is_moved = at != other
    keys = sorted(before.keys() | after.keys())
    pairs: list[Pair] = [(before.get(key), after.get(key)) for key in keys]
    return [pair for pair in pairs if is_moved or pair[0] != pair[1]]


def test_child_folders_and_names_do_not_mix() -> None:
    """A folder's own entries, those of a folder whose name begins alike, and a name that looks like a separator."""
    memory, folder = PageMemory(), child_folder(b"", b"a")
    old = tree_entries({(b"a", b"x"), (b"a\0", b"x"), (b"a!", b"x"), (b"a", b"b", b"x")})
    new = [one._replace(mtime_ns=9) for one in old]
    pairs = differing(memory, Side(build(old, memory), folder), Side(build(new, memory), folder))
    assert [one.path for one, _ in pairs if one] == [b"/a/b", b"/a/x", b"/a/b/x"]
