"""Restore never leaves its root: no name, link, lie or rival process makes it write outside, or shows on a terminal.

What lies outside is described before and after. Names come from tests/support/hostile_names.py: as real files, and
forged into catalogs with all the right keys, as somebody with a leaked key could.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from shared.errors import HostileError
from shared.sealing import digest
from shared.tree import folder_key
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.boundary import _BOUNDARY, FULL_MAX_BYTES, NOMINAL_MIN_BYTES, Gatherer
from siteagent.store.catalog import Root
from siteagent.store.chunklist import list_segments
from siteagent.store.entry import Entry
from siteagent.store.page import (
    CHUNK_INDEX,
    ENTRY_INDEX,
    Child,
    encode_chunks,
    encode_entries,
    encode_index,
    encode_side,
)
from siteagent.store.writer import StoreWriter
from tests.support import hostile_names
from tests.support.build import build
from tests.support.descriptions import Content, Description, File, Folder, Metadata, Symlink
from tests.support.forged import CONTENT, forge_root, forge_rows, forged_entry
from tests.support.forged_lies import HARMLESS, LIES
from tests.support.homes import contents
from tests.support.inside import quick_driver
from tests.support.interposed import interposed
from tests.support.ordinary import DONE, foreign_files, run_as_nobody
from tests.support.restores import TYPED, Stage, read_every_way, restored, staged, verified
from tests.support.scratch import scratch_folder
from tests.support.tally import Tally
from tests.support.tarcheck import leads_out
from tests.support.untouched import untouched
from tests.support.walker import compare, describe

pytestmark = pytest.mark.usefixtures("no_sync_of_restores")
KINDS = ("file", "large", "linked", "folder", "link")


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as made:
        yield made


def is_quiet(output: bytes) -> bool:
    """No byte that steers a terminal, but line feeds; and valid text."""
    codes = map(ord, output.decode("utf-8").replace("\n", ""))
    return all(code >= 0x20 and not 0x7F <= code < 0xA0 and not 0x202A <= code <= 0x202E for code in codes)


def test_hostile_names_of_real_files_come_back_and_are_shown_safely(tmp_path: Path, tally: Tally) -> None:
    """A file, a folder with a file in it, and a link to it, of every name; listed, found, compared and restored."""
    source, target = tmp_path / "source", tmp_path / "target"
    names = [name for name in hostile_names.names() if hostile_names.is_possible(name)]
    for kind in ("files", "folders", "links"):
        (source / kind).mkdir(parents=True)
    for name in names:
        Path(os.fsdecode(os.fsencode(source / "files") + b"/" + name)).write_bytes(name)
        folder = os.fsencode(source / "folders") + b"/" + name
        os.mkdir(folder)
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"below " + name)
        os.symlink(name, os.fsencode(source / "links") + b"/" + name)
    farkeep = quick_driver(tmp_path / "home")
    farkeep.init()
    farkeep.backup(source, name="names")
    farkeep.restore(f"latest:{source}", target)
    assert compare(describe(source), describe(target)) == []
    for words in (("ls", "latest"), ("find", "*"), ("diff", f"latest:{source}/files", f"latest:{source}/folders")):
        shown = farkeep.run(*words, is_json=False)
        assert is_quiet(shown.stdout + shown.stderr.encode()), words
    result = farkeep.run("ls", "-r", f"latest:{source}")
    assert all(byte == 10 or 0x20 <= byte < 0x7F for byte in result.stdout)
    listed = {base64.b64decode(row["path_bytes"]) if "path_bytes" in row else row["path"].encode()
              for row in result.json()}  # fmt: skip
    assert {os.fsencode(source / "files") + b"/" + name for name in names} <= listed
    for name in names[::40]:
        spec = b"latest:" + os.fsencode(source / "files") + b"/" + name
        assert farkeep.run("cat", spec, is_json=False).stdout == name
        missing = farkeep.run("restore", b"latest:/missing/" + name, "--to", tmp_path / "never", check=False)
        assert missing.exit_code == 1
        assert is_quiet(missing.stderr.encode())
    assert len(names) > 400
    tally("hostile names on disk", len(names))


def test_impossible_names_that_were_forged_are_refused_one_by_one(stage: Stage, tally: Tally) -> None:
    """In one folder with good ones, as every kind of entry: these come back, those are named."""
    bad = [name for name in hostile_names.names() if not hostile_names.is_possible(name)]
    for kind in KINDS:
        rows = [(b"", b"a", "folder"), (b"a", b"fine", "file"), *((b"a", name, kind) for name in bad)]
        entry, target = forge_rows_sorted(stage, rows), stage.folder / kind
        with untouched(stage.outside), untouched(stage.source):
            result = restored(stage, entry, target)
            troubles, archive = read_every_way(stage, entry)
        assert (len(result.errors), result.answer.hostile) == (len(bad), len(bad)), kind
        assert os.listdir(target / "a") == ["fine"]
        assert troubles >= 1
        assert leads_out(archive) == []
        assert verified(stage, entry)
    assert not os.path.lexists("/tmp/farkeep-forged")
    tally("hostile names forged", len(bad) * len(KINDS))


def test_possible_names_that_were_forged_stay_inside(stage: Stage, tally: Tally) -> None:
    """Files, and links to what is outside, in folders of every name; and the same names as folders."""
    names = [name for name in hostile_names.names() if hostile_names.is_possible(name)]
    rows = [(b"", name, "folder") for name in names]
    rows += [(folder_key([name]), b"file" if place % 2 else name, "file") for place, name in enumerate(names)]
    rows += [(folder_key([name]), b"zz out", "link") for name in names]
    entry, target = forge_rows_sorted(stage, rows), stage.folder / "target"
    with untouched(stage.outside), untouched(stage.source):
        assert restored(stage, entry, target).errors == []
        troubles, archive = read_every_way(stage, entry)
    assert sorted(os.listdir(os.fsencode(target))) == names
    assert troubles <= 1  # there is no folder /a
    assert leads_out(archive) == []
    assert verified(stage, entry) == {}
    tally("hostile names forged", len(names))


@pytest.mark.parametrize("components", [
    (b"..",), (b"..", b"outside"), (b"a", b".."), (b"a/b",), (b"a", b""), (b".",), (b"/",), (b"a\0",), (b"x" * 256,),
    (b"a", b"..", b"..", b"outside"), (b"..", b"..", b"..", b"..", b"..", b"..", b"etc"), (b"../outside",),
])  # fmt: skip
def test_folders_that_lead_out_are_refused(components: tuple[bytes, ...], stage: Stage, tally: Tally) -> None:
    parent = folder_key(list(components))
    inside = [(parent, b"of " + kind.encode(), kind) for kind in KINDS]
    entry = forge_rows_sorted(stage, [(b"", b"a", "folder"), *inside])
    with untouched(stage.outside), untouched(stage.source):
        result = restored(stage, entry, stage.folder / "target")
        troubles, archive = read_every_way(stage, entry)
    assert (len(result.errors), result.answer.hostile) == (len(KINDS), len(KINDS))
    assert sorted(path.name for path in stage.folder.iterdir()) == ["outside", "site", "source", "target"]
    assert list((stage.folder / "target").rglob("of *")) == []
    assert troubles >= 1
    assert leads_out(archive) == []
    assert verified(stage, entry)
    tally("folders forged", 1)


def forge_rows_sorted(stage: Stage, rows: list[tuple[bytes, bytes, str]]) -> SnapshotEntry:
    """Forge these rows in the order of their keys."""
    return forge_rows(stage.site.home, stage.model, lambda store: sorted(
        (forged_entry(store, *row) for row in rows), key=lambda entry: entry.key))  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_catalogs_that_contradict_themselves_are_refused_or_contained(lie: str, stage: Stage, tally: Tally) -> None:
    """Never a bug, never outside, never other content than the entry's, never an archive that leads out."""
    entry, target = forge_rows(stage.site.home, stage.model, LIES[lie]), stage.folder / "target"
    with untouched(stage.outside), untouched(stage.source):
        try:
            result = restored(stage, entry, target)
            trouble = len(result.errors) + result.answer.not_applied
        except TYPED:
            trouble = 1
        troubles, archive = read_every_way(stage, entry)
        found = verified(stage, entry)
    assert leads_out(archive) == []
    assert lie in HARMLESS or trouble > 0
    assert lie in HARMLESS or troubles + len(found) > 0
    for path in target.rglob("*"):
        if path.is_file() and not path.is_symlink() and lie not in HARMLESS:
            assert path.read_bytes() in (CONTENT, bytes(7)), path
    tally("lies", 1)


SWAPS: dict[str, Callable[[Path, Path], object]] = {
    "a folder for a link to a folder": lambda top, out: _swap(top / "a", lambda path: path.symlink_to(out)),
    "a folder below for a link": lambda top, out: _swap(top / "a" / "deep", lambda path: path.symlink_to(out / "deep")),
    "a file for a link": lambda top, out: _swap(top / "a" / "kept", lambda path: path.symlink_to(out / "kept")),
    "a file for another name": lambda top, out: _swap(top / "a" / "kept", lambda path: path.hardlink_to(out / "kept")),
    "a link for another name": lambda top, out: _swap(top / "link", lambda path: path.hardlink_to(out / "kept")),
    "a half-written file": lambda top, out: [_swap(path, lambda new: new.hardlink_to(out / "kept"))
                                             for path in top.rglob(".farkeep-*")],
}  # fmt: skip


def _swap(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of what is there, as a process does that may write here."""
    if not os.path.lexists(path):
        return
    aside = path.parent / "aside"
    if not os.path.lexists(aside):
        path.rename(aside)
        make(path)


def _tree(top: Path, *, is_lone: bool = False) -> None:
    link = (b"link", Symlink(b"a/kept", Metadata(xattrs=((b"trusted.x", b"y"),))))
    build(Description((link,) if is_lone else (
        (b"a", Folder()), (b"a/deep", Folder()), (b"a/deep/kept", File(Content(60))), (b"a/kept", File(Content(500))),
        (b"large", File(Content(3 << 20, extents=tuple((place << 17, 4096) for place in range(20))))),
        link,
    )), top)  # fmt: skip


@pytest.mark.parametrize("swap", SWAPS)
def test_a_folder_swapped_for_a_link_at_any_call_of_a_restore(swap: str, stage: Stage, tally: Tally,
                                                              is_long_run: bool) -> None:  # fmt: skip
    """Before each call of the system (a share of them in a short run), into a new folder and over an older copy."""
    top, points, is_lone = stage.folder / "top", 0, swap == "a link for another name"
    _tree(top, is_lone=is_lone)
    entry, before = stage.site.snapshot(stage.site.back_up(top, name="top")), describe(stage.outside)
    for is_new in (True, False):
        at, total, step = 1, 1, 1
        while at <= total:
            target = stage.folder / f"{is_new} {at}"
            if not is_new:
                _tree(target, is_lone=is_lone)
                if not is_lone:
                    (target / "a" / "kept").write_bytes(b"older")

            def act(number: int, at: int = at, target: Path = target) -> None:
                if number == at:
                    SWAPS[swap](target, stage.outside)

            request = RestoreRequest(entry, os.fsencode(top), str(target), "user", "host", deletes=not is_new,
                                     deletes_unmarked=True)  # fmt: skip
            with untouched(top), interposed(act, "siteagent.") as count:
                restore(stage.site.home, [request])
            assert compare(before, describe(stage.outside)) == []
            total, points = count[0], points + 1
            step = 1 if is_long_run or is_lone else max(1, total // 14)
            at += step
    tally("swaps while restored", points)


@pytest.mark.parametrize("swap", list(SWAPS)[:3])
def test_a_folder_swapped_for_a_link_at_any_call_of_a_backup(swap: str, stage: Stage, tally: Tally,
                                                             is_long_run: bool) -> None:  # fmt: skip
    """Nothing of what lies outside gets into the snapshot: neither names nor contents."""
    points, at, total = 0, 1, 1
    secret = b"what lies outside " * 3
    (stage.outside / "kept").write_bytes(secret)
    (stage.outside / "deep" / "kept").write_bytes(secret)
    (stage.outside / "canary").write_bytes(secret)
    (stage.outside / "deep" / "canary").write_bytes(secret)
    while at <= total:
        top = stage.folder / f"top {at}"
        _tree(top)

        def act(number: int, at: int = at, top: Path = top) -> None:
            if number == at:
                SWAPS[swap](top, stage.outside)

        view, roots = stage.site.view(top)
        with interposed(act) as count:
            result = stage.site.back_up_view(view, roots, name=f"top-{at}-x")
        entry = stage.site.snapshot(result)
        found = contents(stage.site.home, entry)
        assert not [path for path, data in found.items() if b"canary" in path or secret in data], at
        total, points = count[0], points + 1
        at += 1 if is_long_run else max(1, total // 25)
    tally("swaps while captured", points)


def test_a_process_that_swaps_folders_while_backups_run(stage: Stage, tally: Tally) -> None:
    """A process of its own, at full speed; nothing outside is ever read into a snapshot."""
    (stage.outside / "canary").write_bytes(b"what lies outside")
    for number in range(40):
        (stage.source / f"d{number}").mkdir()
        (stage.source / f"d{number}" / "file").write_bytes(b"inside")
    player = ("import os, sys\nwhile True:\n for n in range(40):\n  p = sys.argv[1] + '/d%d' % n\n"
              "  os.rename(p, p + 'x'); os.symlink(sys.argv[2], p); os.unlink(p); os.rename(p + 'x', p)")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", player, str(stage.source), str(stage.outside)])
    try:
        for number in range(12):
            result = stage.site.back_up(stage.source, name=f"played-{number}-x")
            assert not [path for path in contents(stage.site.home, stage.site.snapshot(result)) if b"canary" in path]
    finally:
        process.kill()
        process.wait()
    tally("swaps while captured", 12)


@pytest.mark.needs_root
def test_what_was_set_user_id_for_another_is_not_so_for_whoever_restores_it() -> None:
    """Nor are attributes of the system put on; both are counted as not applied."""
    with scratch_folder() as folder:
        assert run_as_nobody(folder, foreign_files) == DONE


def test_a_page_that_stands_in_a_catalog_twice_is_not_followed(stage: Stage, tally: Tally) -> None:
    """Five levels of twenty thousand rows that all name one page: a list that would never end."""

    def bomb(store: StoreWriter) -> Root:
        rows = [forged_entry(store, b"", b"a", "folder")]
        page_id, segment = store.put_page(encode_entries(rows), encode_side([]))
        for level in range(1, 6):
            below = Child(rows[0].key, page_id, 1, 0, segment)
            page = encode_index(ENTRY_INDEX, level, [below] * 20_000)
            page_id, segment = store.put_page(page, encode_side([segment] * 20_000))
        return Root(page_id, segment, 5)

    entry = forge_root(stage.site.home, stage.model, bomb)
    with pytest.raises(HostileError):
        restored(stage, entry, stage.folder / "target")
    assert read_every_way(stage, entry)[0] >= 4
    assert verified(stage, entry)
    tally("bombs", 1)


def test_a_chunk_list_that_names_one_page_for_ever_is_looked_through_once(stage: Stage, tally: Tally) -> None:
    """Five levels of nine hundred rows each: half a quadrillion pages to whoever follows them one by one."""
    found: list[tuple[bytes, bytes]] = []

    def bomb(store: StoreWriter) -> list[Entry]:
        chunk_id, data_segment = store.put(memoryview(b"x"))
        page_id, segment = store.put_page(encode_chunks([chunk_id] * 900, [1] * 900), encode_side([data_segment] * 900))
        for level in range(1, 6):
            page = encode_index(CHUNK_INDEX, level, [Child(b"", page_id, 0, 900**level, segment)] * 900)
            page_id, segment = store.put_page(page, encode_side([segment] * 900))
        found.append((b"\5" + page_id, segment))
        return []

    forge_rows(stage.site.home, stage.model, bomb)
    assert 1 <= len(list_segments(stage.site.home.reader, *found[0])) <= 8
    tally("bombs", 1)


def test_names_ground_against_another_key_move_no_page_boundary(tally: Tally) -> None:
    """Names chosen so that under a guessed key every row ends a page, or none does, make pages of the usual sizes."""
    guessed, real = bytes(32), digest(b"the real one")
    marked = [b"%08d" % number for number in range(400_000)
              if blake3(b"\0" + b"%08d" % number, key=guessed).digest(8) < _BOUNDARY]  # fmt: skip
    for names in (marked, [b"%08d" % number for number in range(3000)]):
        sizes = pages_of(real, names)
        assert max(sizes) <= FULL_MAX_BYTES + 88
        assert sum(sizes) / len(sizes) > 2 * NOMINAL_MIN_BYTES
    assert sum(pages_of(guessed, marked)) / len(pages_of(guessed, marked)) < 1.1 * NOMINAL_MIN_BYTES
    tally("names ground", len(marked))


def pages_of(key: bytes, names: list[bytes]) -> list[int]:
    """The weights of the pages that these rows make, the last one left out."""
    sizes: list[int] = []
    gatherer = Gatherer[bytes](key, 0, lambda rows: sizes.append(sum(len(row) + 80 for row in rows)))
    for name in names:
        gatherer.add(name, name, len(name) + 80)
    return sizes
