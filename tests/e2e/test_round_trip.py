"""What is restored equals what was captured: generated and fixed hostile trees, compared by an independent walker.

Invariant 12. Every tree goes to a new folder, changes, and goes in place over its earlier copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import strategies, trees
from tests.support.build import build
from tests.support.descriptions import Content, Description, File, for_ordinary_user
from tests.support.mutate import mutate
from tests.support.ordinary import DONE, round_trips, run_as_nobody
from tests.support.scratch import scratch_folder
from tests.support.trips import Site, open_site
from tests.support.walker import AS_ORDINARY_USER, Ignore, Kind, compare, describe

_IS_ROOT = os.geteuid() == 0
_IS_LONG = os.environ.get("FARKEEP_TEST_LONG") == "1"
_IGNORED = frozenset({Ignore.SOCKETS}) if _IS_ROOT else frozenset({Ignore.SOCKETS, *AS_ORDINARY_USER})
_EXAMPLES = settings(max_examples=300 if _IS_LONG else 15,
                     suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with scratch_folder() as folder, open_site(folder) as opened:
        yield opened


def there_and_back(site: Site, source: Path, target: Path, *, deletes: bool = False) -> list[str]:
    """Back up, restore, compare; the differences."""
    before = describe(source)
    result = site.back_up(source, name=source.name)
    assert result.errors == []
    assert result.bytes_stored > 0
    restored = site.restore(result, source, target, deletes=deletes)
    assert restored.errors == []
    return compare(before, describe(target), ignore=_IGNORED)


@_EXAMPLES
@given(description=strategies.descriptions(is_ordinary=not _IS_ROOT), seed=st.integers(0, 2**32))
def test_generated_trees(site: Site, description: Description, seed: int) -> None:
    with scratch_folder() as folder:
        source, target = folder / "source", folder / "target"
        build(description, source)
        assert there_and_back(site, source, target) == []
        mutate(seed, source, 12)
        assert there_and_back(site, source, target, deletes=True) == []


@pytest.mark.parametrize("seed", range(40 if _IS_LONG else 3))
def test_a_random_tree_over_several_days(site: Site, seed: int) -> None:
    with scratch_folder() as folder:
        source, target = folder / "source", folder / "target"
        description = trees.random_tree(seed, 120)
        build(description if _IS_ROOT else for_ordinary_user(description), source)
        for day in range(3):
            assert there_and_back(site, source, target, deletes=True) == []
            mutate(1000 * seed + day, source, 40)


@pytest.mark.parametrize("make", [trees.zoo, trees.deep_folders, trees.beyond_path_max, trees.wide_folder])
def test_fixed_trees(site: Site, make: object) -> None:
    with scratch_folder() as folder, scratch_folder() as elsewhere:
        source, target = folder / "source", elsewhere / "target"
        description: Description = make()  # type: ignore[operator]
        build(description if _IS_ROOT else for_ordinary_user(description), source)
        assert there_and_back(site, source, target) == []
        again = describe(target)
        result = site.back_up(source, name="source")
        counts = result.summary.counts
        assert (counts.new, counts.changed, counts.removed) == (0, 0, 0)
        assert result.summary.bytes_read < 100  # what is dated in the future proves nothing
        restored = site.restore(result, source, target, deletes=True)
        assert (restored.answer.written, restored.deleted, restored.errors) == (0, 0, [])
        assert compare(again, describe(target)) == []


def test_parts_of_a_snapshot(site: Site) -> None:
    """Folders and files of it one by one, into places where something is already."""
    with scratch_folder() as folder:
        source, target = folder / "source", folder / "target"
        description = trees.random_tree(23, 100)
        build(description if _IS_ROOT else for_ordinary_user(description), source)
        tree, result = describe(source), site.back_up(source, name="parts")
        build(trees.deep_folders(3), target)
        kept = describe(target)
        for path in tree.paths(Kind.FOLDER) - {b""}:
            place = target / "folders" / str(len(path))
            assert site.restore(result, os.fsencode(source) + b"/" + path, place).errors == []
            found = compare(tree.below(path), describe(place), ignore=_IGNORED)
            lost = [line for line in found if "not expected" not in line]
            assert [line for line in lost if "hard links" not in line] == []
        for path in tree.paths(Kind.FILE, Kind.SYMLINK, Kind.FIFO):
            name = path.rpartition(b"/")[2]
            assert site.restore(result, os.fsencode(source) + b"/" + path, target / "files").errors == []
            restored, entry = describe(target / "files").entries[name], tree.entries[path]
            assert (restored.sha256, restored.mode, restored.mtime_ns, restored.target, dict(restored.xattrs)) == (
                entry.sha256, entry.mode, entry.mtime_ns, entry.target, dict(entry.xattrs))  # fmt: skip
        now = describe(target).without([b"folders", b"files"])
        assert compare(kept, now, ignore={Ignore.ROOT}) == []


def test_with_processes() -> None:
    """Enough entries and bytes that sealing and restoring start processes of their own."""
    with scratch_folder() as folder, open_site(folder, has_processes=True) as site:
        source, target = folder / "source", folder / "target"
        build(trees.random_tree(7, 150) if _IS_ROOT else for_ordinary_user(trees.random_tree(7, 150)), source)
        large = [(b"large %d" % number, File(Content(10 << 20, number))) for number in range(2)]
        build(Description((*large, *trees.wide_folder(3000).entries)), source / "much")
        assert there_and_back(site, source, target) == []
        mutate(7, source / "much", 40, keep_readable=True)
        with (source / "much" / "large 0").open("r+b") as file:
            file.write(b"changed at the start")
        (target / "much" / "wide" / "0007").write_bytes(b"changed in the copy")
        os.truncate(target / "much" / "large 1", 5 << 20)
        assert there_and_back(site, source, target, deletes=True) == []


@pytest.mark.needs_root
def test_as_an_ordinary_user() -> None:
    """The same for a user without rights; read-only folders of an earlier copy are no hindrance."""
    with scratch_folder() as folder:
        assert run_as_nobody(folder, round_trips) == DONE
