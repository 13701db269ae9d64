"""Searching catalogs: against a look at every entry, and counting the pages that are read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.tree import FOLDER, folder_key
from siteagent.sources.pathpattern import PathPattern
from siteagent.store.catalog import EMPTY, Root
from siteagent.store.catalogsearch import CatalogSearch
from siteagent.store.entry import Entry
from tests.support.stores import PageMemory, build, rebuild, tree_entries

COMPONENTS = st.sampled_from([b"a", b"b", b"ab", b"a.b", b"a\0", b"\xff", b"-", b"a b"])
PATHS = st.sets(st.lists(COMPONENTS, min_size=1, max_size=4).map(tuple), max_size=40)
PATTERNS = st.sampled_from(["a*", "/a/*", "/a/**", "a/b", "/a/**/b", "?", "/a", "b/", "/*/a", "[ab]*", "/a/b/*.b",
                            "**"])  # fmt: skip


def places(search: CatalogSearch, root: Root) -> list[tuple[bytes, bytes]]:
    return [(hit.folder, hit.name) for hit in search.hits(root)]


@given(PATHS, PATHS, PATTERNS)
def test_a_search_finds_what_a_look_at_every_entry_finds(
    one: set[tuple[bytes, ...]], other: set[tuple[bytes, ...]], text: str
) -> None:
    memory, pattern = PageMemory(), PathPattern(text)
    search = CatalogSearch(memory, pattern)
    for entries in (tree_entries(one), tree_entries(other), tree_entries(one)):
        expected = [(each.folder, each.name) for each in entries
                    if list(pattern.places(each.folder, [each.name], 0, 1))
                    and (each.type == FOLDER or not pattern.is_folder_only)]  # fmt: skip
        assert places(search, build(entries, memory)) == expected


def many(count: int) -> list[Entry]:
    return tree_entries({(b"usr", b"dir %03d" % (n // 40), b"file %05d" % n) for n in range(count)})


def test_pages_that_catalogs_share_are_read_once() -> None:
    entries, memory = many(12_000), PageMemory()
    old = build(entries, memory)
    changed = [one._replace(mtime_ns=99) if place == 6000 else one for place, one in enumerate(entries)]
    known = set(memory.pages)
    new, _ = rebuild(old, changed, memory)
    search = CatalogSearch(memory, PathPattern("file 0[12]00?"))
    memory.reads = 0
    first = places(search, old)
    assert len(first) == 20
    assert memory.reads == len(known)
    assert places(search, new) == first
    assert memory.reads == len(set(memory.pages) - known) + len(known)
    assert places(search, old) == first
    assert memory.reads == len(memory.pages)


def test_a_fixed_folder_leaves_the_rest_unread() -> None:
    memory = PageMemory()
    root = build(many(12_000), memory)
    for text, count in (("/usr/dir 100/*", 40), ("/usr/dir 100/file 04001", 1), ("/usr/dir 100/none", 0)):
        memory.reads = 0
        assert len(places(CatalogSearch(memory, PathPattern(text)), root)) == count
        assert memory.reads <= root.level + 4


def test_a_search_that_is_given_up_reads_no_further_and_is_taken_up_again() -> None:
    memory = PageMemory()
    root = build(many(12_000), memory)
    search = CatalogSearch(memory, PathPattern("file*"))
    memory.reads = 0
    assert next(search.hits(root)).name == b"file 00000"
    assert memory.reads <= root.level + 4
    assert len(places(search, root)) == 12_000


def test_what_was_found_says_what_the_entry_says() -> None:
    memory = PageMemory()
    entries = [one._replace(size=77, mtime_ns=-5) if one.name == b"b" else one for one in tree_entries({(b"a", b"b")})]
    (hit,) = CatalogSearch(memory, PathPattern("b")).hits(build(entries, memory))
    assert (hit.path, hit.folder, hit.type, hit.size_bytes, hit.mtime_ns) == (b"/a/b", folder_key([b"a"]), 1, 77, -5)


def test_an_empty_catalog_holds_nothing() -> None:
    assert list(CatalogSearch(PageMemory(), PathPattern("*")).hits(EMPTY)) == []
