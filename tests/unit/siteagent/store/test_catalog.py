"""Catalogs against a plain dictionary, and their independence of how they came about."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BugError, DamagedError, HostileError
from shared.tree import FOLDER, child_folder, components_of, folder_key, key_of
from siteagent.store.catalog import EMPTY, Catalog, Root
from siteagent.store.catalogbuilder import CatalogBuilder
from siteagent.store.entry import Entry
from siteagent.store.names import segment_name
from siteagent.store.page import INLINE_VALUE_MAX, Child, encode_index, encode_side
from tests.support.reaches import reach_of
from tests.support.stores import BOUNDARY_KEY, RUN, PageMemory, build, entry, rebuild, tree_entries

COMPONENTS = st.one_of(
    st.sampled_from([b"a", b"b", b"ab", b"a.b", b"a\0", b"a\1", b"\0", b"\1\2", b"\xff", b"-", b"a b"]),
    st.binary(min_size=1, max_size=4),
)
PATHS = st.sets(st.lists(COMPONENTS, min_size=1, max_size=5).map(tuple), max_size=60)


@given(PATHS)
def test_a_catalog_holds_every_entry_in_order(paths: set[tuple[bytes, ...]]) -> None:
    entries, memory = tree_entries(paths), PageMemory()
    catalog = Catalog(memory, build(entries, memory))
    assert list(catalog.entries()) == entries


@given(PATHS, st.lists(COMPONENTS, max_size=4))
def test_find_folder_and_below_are_those_of_a_dictionary(paths: set[tuple[bytes, ...]], asked: list[bytes]) -> None:
    entries, memory = tree_entries(paths), PageMemory()
    catalog = Catalog(memory, build(entries, memory))
    by_path = {(*components_of(one.folder), one.name): one for one in entries if one.name}
    for path in [tuple(asked), *list(by_path)[:10]]:
        folder = folder_key(list(path))
        inside = {where: one for where, one in by_path.items() if where[: len(path)] == path and len(where) > len(path)}
        assert list(catalog.folder(folder)) == [one for where, one in inside.items() if len(where) == len(path) + 1]
        assert list(catalog.below(folder)) == list(inside.values())
        if path:
            assert catalog.find(folder_key(list(path[:-1])), path[-1]) == by_path.get(path)


def _many(count: int) -> list[Entry]:
    return tree_entries({(b"usr", b"dir %03d" % (n // 40), b"file %05d" % n) for n in range(count)})


def test_a_large_catalog_costs_only_the_pages_that_matter() -> None:
    entries, memory = _many(20_000), PageMemory()
    root = build(entries, memory)
    assert root.level >= 1
    catalog = Catalog(memory, root)
    memory.reads = 0
    folder = folder_key([b"usr", b"dir 250"])
    assert catalog.find(folder, b"file 10007") is not None
    assert memory.reads == root.level + 1
    memory.reads = 0
    assert len(list(catalog.folder(folder))) == 40
    assert memory.reads <= root.level + 4
    assert [one.name for one in catalog.entries(key_of(folder, b"file 10007"))][:2] == [b"file 10007", b"file 10008"]


def test_a_folder_of_many_files_is_listed_whole() -> None:
    entries = tree_entries({(b"one", b"%06d" % n) for n in range(30_000)})
    memory = PageMemory()
    catalog = Catalog(memory, build(entries, memory))
    assert sum(1 for _ in catalog.folder(b"one")) == 30_000


def _leaf_ends(memory: PageMemory, root: Root) -> list[bytes]:
    return [leaf.row.last_key for leaf in Catalog(memory, root).leaves()]


@settings(deadline=None, max_examples=15)
@given(st.sets(st.integers(0, 1500), max_size=40), st.sets(st.integers(0, 3000), max_size=40), st.integers(0, 2**40))
def test_the_same_entries_give_the_same_pages_however_they_came(removed: set[int], added: set[int], time: int) -> None:
    """Made from nothing or beside an older catalog, in one step or in two."""
    old_entries, memory = _many(1500), PageMemory()
    old = build(old_entries, memory)
    kept = [one for number, one in enumerate(old_entries) if number not in removed or one.type == FOLDER]
    names = {(b"usr", b"dir %03d" % (n // 80), b"more %05d" % n) for n in added}
    folders = {one.key for one in kept}
    more = [one for one in tree_entries(names) if one.key not in folders]
    new_entries = sorted([*kept, *more], key=lambda one: one.key)
    changed = [one._replace(mtime_ns=time) if number % 97 == 0 else one for number, one in enumerate(new_entries)]
    scratch = build(changed, PageMemory())
    direct, _ = rebuild(old, changed, memory)
    between, _ = rebuild(old, new_entries, memory)
    stepwise, _ = rebuild(between, changed, memory)
    assert direct.page_id == stepwise.page_id == scratch.page_id
    assert list(Catalog(memory, direct).entries()) == changed


def test_times_and_sizes_never_move_boundaries() -> None:
    entries, memory = _many(5000), PageMemory()
    before = _leaf_ends(memory, build(entries, memory))
    changed = [one._replace(mtime_ns=-(2**65) + n, size=one.size + n, inode=n) for n, one in enumerate(entries)]
    assert _leaf_ends(memory, build(changed, memory)) == before


def test_a_change_touches_only_pages_on_its_path() -> None:
    entries, memory = _many(20_000), PageMemory()
    old = build(entries, memory)
    known = set(memory.pages)
    changed = [one._replace(mtime_ns=99) if n == 10_000 else one for n, one in enumerate(entries)]
    new, reused = rebuild(old, changed, memory)
    assert len(set(memory.pages) - known) == new.level + 1
    assert reused == len(_leaf_ends(memory, old)) - 2


def test_an_unchanged_catalog_gives_the_same_root_and_takes_pages_over() -> None:
    entries, memory = _many(5000), PageMemory()
    old = build(entries, memory)
    new, reused = rebuild(old, entries, memory)
    assert new == old
    assert reused == len(_leaf_ends(memory, old)) - 1


def test_runs_of_unchanged_rows_that_end_within_a_page_are_written_row_by_row() -> None:
    entries, memory = _many(3000), PageMemory()
    old = build(entries, memory)
    leaves = list(Catalog(memory, old).leaves())
    builder = CatalogBuilder(memory, BOUNDARY_KEY, lambda _: set())
    builder.add_unchanged(leaves[0], 0, leaves[0].page.count)
    builder.add_unchanged(leaves[1], 0, 3)
    builder.add_unchanged(leaves[3], 0, leaves[3].page.count)
    expected = [*leaves[0].page.rows(), *leaves[1].page.rows()[:3], *leaves[3].page.rows()]
    root = builder.finish()
    assert list(Catalog(memory, root).entries()) == expected
    assert root.page_id == build(expected, PageMemory()).page_id


@given(st.dictionaries(st.integers(0, 1499), st.sampled_from(["time", "content", "target", "empty"]), max_size=200),
       st.sets(st.integers(0, 1499), max_size=3))
@settings(max_examples=40, deadline=None)
def test_patched_pages_are_those_of_a_catalog_built_anew(changes: dict[int, str], removed: set[int]) -> None:
    entries, memory = _many(1500), PageMemory()
    before = build(entries, memory)
    after = {n: _changed(one, changes[n]) if n in changes else one for n, one in enumerate(entries) if n not in removed}
    patching = CatalogBuilder(memory, BOUNDARY_KEY, lambda _: set())
    number = 0
    for leaf in Catalog(memory, before).leaves():
        for place in range(leaf.page.count):
            if number in changes and number not in removed:
                patching.add_changed(leaf, place, after[number])
            elif number not in removed:
                patching.add_unchanged(leaf, place, place + 1)
            number += 1
    fresh = PageMemory(RUN)
    root = build(list(after.values()), fresh)
    assert patching.finish().page_id == root.page_id
    catalog, anew = Catalog(memory, Root(root.page_id, memory.places[root.page_id], root.level)), Catalog(fresh, root)
    assert [row.segments for row in catalog.entries()] == [row.segments for row in anew.entries()]
    assert reach_of(catalog, memory) == patching.needed


def _changed(one: Entry, how: str) -> Entry:
    if how == "time":
        return one._replace(mtime_ns=one.mtime_ns + 10**12, ctime_ns=-5)
    if how == "content":
        return one._replace(ids=b"c" * 32, segments=(segment_name(RUN, 5),), size=9)
    if how == "target":
        return one._replace(xattrs=b"\0value")
    return one._replace(ids=b"", segments=(), size=0)


def test_an_empty_catalog() -> None:
    memory = PageMemory()
    assert build([], memory) == EMPTY
    catalog = Catalog(memory, EMPTY)
    assert list(catalog.entries()) == []
    assert catalog.find(b"", b"a") is None
    assert list(catalog.index_rows()) == []


def test_entries_out_of_order_are_a_bug() -> None:
    builder = CatalogBuilder(PageMemory(), BOUNDARY_KEY, lambda _: set())
    for number in range(3000, 0, -1):
        builder_entry = entry(b"", b"%06d" % number)
        try:
            builder.add(builder_entry)
        except BugError:
            return
    with pytest.raises(BugError):
        builder.finish()


def test_values_live_inline_or_out_of_line() -> None:
    memory = PageMemory()
    builder = CatalogBuilder(memory, BOUNDARY_KEY, lambda _: set())
    short, long = b"x" * INLINE_VALUE_MAX, b"y" * (INLINE_VALUE_MAX + 1)
    assert builder.stored_value(b"") == (b"", ())
    target, target_segments = builder.stored_value(long)
    xattrs, xattr_segments = builder.stored_value(b"z" + long)
    inline, none = builder.stored_value(short)
    assert none == ()
    assert len(target) == len(xattrs) == 37
    one = entry(b"", b"a", kind=3, size=0)._replace(target=target, xattrs=xattrs,
                                                    segments=target_segments + xattr_segments)
    two = entry(b"", b"b", kind=3, size=0)._replace(target=inline, xattrs=xattrs, segments=xattr_segments)
    builder.add(one)
    builder.add(two)
    catalog = Catalog(memory, builder.finish())
    assert [(catalog.target(row), catalog.xattrs(row)) for row in catalog.entries()] == [
        (long, b"z" + long), (short, b"z" + long),
    ]  # fmt: skip


def test_the_reach_of_a_catalog_is_its_pages_and_all_they_name() -> None:
    entries, memory = _many(5000), PageMemory()
    data = {name for one in entries for name in one.segments}
    far = segment_name(RUN, 77_777)
    with_list = [one._replace(ids=b"", tree=b"\0" + b"t" * 32) if n == 50 else one for n, one in enumerate(entries)]
    builder = CatalogBuilder(memory, BOUNDARY_KEY, lambda _: {far})
    for one in with_list:
        builder.add(one)
    root = builder.finish()
    expected = data | set(memory.places.values()) | {far}
    assert reach_of(Catalog(memory, root), memory) == builder.needed == expected


def test_a_catalog_whose_levels_lie_is_refused() -> None:
    memory = PageMemory()
    leaf = build(_many(10), memory)
    page = encode_index(2, 3, [next(iter(Catalog(memory, leaf).leaves())).row._replace(last_key=b"z", entries=1)])
    page_id, segment = memory.put_page(page, encode_side([leaf.segment]))
    for level in (1, 2, 4):
        with pytest.raises(HostileError):
            list(Catalog(memory, Root(page_id, segment, level)).entries())
    with pytest.raises((HostileError, DamagedError)):
        list(Catalog(memory, Root(page_id, segment, 3)).entries())


@pytest.mark.parametrize("levels", [1, 2])
def test_a_page_that_ends_elsewhere_than_the_row_above_it_says_is_refused(levels: int) -> None:
    """By these keys entries are sought: what lies beyond them would be passed over in silence."""
    entries, memory = _many(10), PageMemory()
    row = Child(entries[-1].key, *_page_of(build(entries, memory)))
    for _ in range(levels - 1):
        row = row._replace(page_id=(above := _above(memory, row))[0], segment=above[1])
    for last_key, is_right in ((entries[-1].key, True), (entries[-1].key + b"!", False), (entries[-2].key, False)):
        root = Root(*_above(memory, row._replace(last_key=last_key), levels), levels)
        if is_right:
            assert list(Catalog(memory, root).entries()) == entries
        else:
            with pytest.raises(HostileError, match="out of order"):
                list(Catalog(memory, root).entries())


def _page_of(root: Root) -> tuple[bytes, int, int, bytes]:
    return root.page_id, 10, 0, root.segment


def _above(memory: PageMemory, row: Child, level: int = 1) -> tuple[bytes, bytes]:
    """An index page with one row."""
    return memory.put_page(encode_index(2, level, [row]), encode_side([row.segment]))


def test_keys_sort_folders_before_what_is_below_them() -> None:
    folder = child_folder(b"", b"a")
    keys = [key_of(b"", b""), key_of(b"", b"a"), key_of(b"", b"a!"), key_of(folder, b"z"),
            key_of(child_folder(folder, b"b"), b"x"), key_of(child_folder(b"", b"a!"), b"x")]  # fmt: skip
    assert keys == sorted(keys)
