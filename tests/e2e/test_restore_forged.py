"""A restore of snapshots that no honest writer makes, and of trees that are hard to write: it stays within its root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared.errors import DamagedError
from shared.sealing import keyed_id
from shared.tree import folder_key
from siteagent.jobs.restore import RestoreRequest, RestoreResult, restore
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.page import EntryPage
from tests.support import killed
from tests.support.build import build
from tests.support.descriptions import Content, Description, File, Folder
from tests.support.forged import forge
from tests.support.homes import flip, segment_of
from tests.support.trips import Site, open_site
from tests.support.untouched import untouched
from tests.support.walker import Ignore, compare, describe

BAD_NAMES = (
    b"",
    b".",
    b"..",
    b"/",
    b"a/b",
    b"../outside/new",
    b"/tmp/farkeep-forged",
    b"nul\0nul",
    b"x" * 256,
    b"..\0",
)
KINDS = ("file", "large", "linked", "folder", "link")


@pytest.mark.parametrize("kind", KINDS)
def test_forged_names_are_refused_and_counted(kind: str, site: Site, source: Path, folder: Path, outside: Path) -> None:
    model = site.snapshot(site.back_up(source))
    for number, name in enumerate(BAD_NAMES):
        rows = [(b"", b"good", "folder"), (b"good", b"fine", "file"), (b"good", name, kind), (b"good", b"tail", "file")]
        target = folder / f"target {number}"
        with untouched(outside):
            result = restore_forged(site, forge(site.home, model, rows), target)
        assert len(result.errors) == 1, name
        assert result.answer.hostile == 1, name
        assert sorted(os.listdir(target / "good")) == ["fine", "tail"], name
    assert not os.path.lexists("/tmp/farkeep-forged")
    targets = {f"target {number}" for number in range(len(BAD_NAMES))}
    assert set(os.listdir(folder)) == {"outside", "site", "source", *targets}


@pytest.mark.parametrize(
    "components", [(b"..",), (b"..", b"outside"), (b"good", b".."), (b"a/b",), (b"good", b""), (b".",)]
)
def test_forged_folders_are_refused_and_counted(components: tuple[bytes, ...], site: Site, source: Path, folder: Path,
                                                outside: Path) -> None:
    model = site.snapshot(site.back_up(source))
    parent = folder_key(list(components))
    rows = [(b"", b"good", "folder"), *((parent, b"file " + kind.encode(), kind) for kind in KINDS)]
    with untouched(outside):
        result = restore_forged(site, forge(site.home, model, rows), folder / "target")
    assert len(result.errors) == len(KINDS)
    assert set(os.listdir(folder)) == {"outside", "site", "source", "target"}
    assert [path.name for path in (folder / "target").rglob("file*")] == []


def restore_forged(site: Site, entry: SnapshotEntry, target: Path) -> RestoreResult:
    """Restore all of a snapshot that no fact names."""
    return restore(site.home, [RestoreRequest(entry, b"/", str(target), "user", "host")])


def test_a_page_that_does_not_read_is_an_error_and_the_others_are_restored(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder / "many"
    build(Description(tuple((b"%04d" % number, File(Content(10, number))) for number in range(2_000))), source)
    result = site.back_up(source)
    chosen = [leaf.row.page_id for leaf in site.home.catalog(site.snapshot(result)).leaves()][2]

    def opened(data: memoryview, side: bytes) -> EntryPage:
        if keyed_id(site.home.keyring.default_domain.page_id_key, data) == chosen:
            raise DamagedError("a page does not read")
        return EntryPage(data, side)

    monkeypatch.setattr("siteagent.restore.worker.EntryPage", opened)
    restored = site.restore(result, source, folder / "target")
    assert (len(restored.errors), restored.answer.damaged) == (1, 1)
    assert 0 < len(os.listdir(folder / "target")) < 2_000


def test_a_damaged_segment_costs_only_its_files_and_leaves_no_litter(site: Site, source: Path, folder: Path) -> None:
    (source / "own segment").write_bytes(os.urandom(1_000_000))
    result = site.back_up(source)
    before = describe(source)
    entry, target = site.snapshot(result), folder / "target"
    for name in ("large", "own segment"):
        segment = segment_of(site.home, entry, os.fsencode(source / name))
        spot = site.home.reader.spot(segment)
        flip(site.path / "packs" / f"{spot.pack_id.hex()}.pack", spot.offset + spot.length - 1000)
    site.reopen()
    for _ in range(2):
        restored = site.restore(result, source, target)
        lost = {error.path.removeprefix(os.fsencode(source) + b"/") for error in restored.errors}
        assert {b"large", b"own segment"} <= lost
        assert restored.answer.damaged == len(restored.errors)
        assert list(target.rglob(".farkeep-*")) == []
        assert compare(before.without(lost), describe(target), ignore={Ignore.LINKS}) == []


def test_folders_swapped_for_links_while_a_restore_runs(site: Site, source: Path, folder: Path, outside: Path) -> None:
    """Somebody who may write to the target plays with it all the time; nothing outside changes."""
    build(Description(tuple((b"a%d/f" % n if kind else b"a%d" % n, File(Content(9)) if kind else Folder())
                            for n in range(60) for kind in range(2))), source / "many")  # fmt: skip
    result, target = site.back_up(source), folder / "target"
    site.restore(result, source, target)
    is_over = threading.Event()

    def play() -> None:
        names = [target / "many" / f"a{number}" for number in range(60)]
        while not is_over.is_set():
            for path in (*names, target / "a", target / "many"):
                with contextlib.suppress(OSError):
                    path.rename(folder / "aside")
                    path.symlink_to(outside)
                with contextlib.suppress(OSError):
                    shutil.rmtree(folder / "aside")

    player = threading.Thread(target=play)
    with untouched(outside):
        player.start()
        try:
            for _ in range(10):
                site.restore(result, source, target, deletes=True)
        finally:
            is_over.set()
            player.join()
    assert site.restore(result, source, target, deletes=True).errors == []
    assert compare(describe(source), describe(target)) == []


def test_what_vanishes_while_a_restore_looks_for_more(site: Site, source: Path, folder: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody removes files of the target between the listing and the look: no error, and the rest is removed."""
    result, target = site.back_up(source), folder / "target"
    site.restore(result, source, target)
    (target / "more").write_bytes(b"not in the snapshot")
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda handle: [*listed(handle), "a ghost"])
    restored = site.restore(result, source, target, deletes=True)
    monkeypatch.undo()
    assert restored.answer.errors == []
    assert compare(describe(source), describe(target)) == []


def test_folders_nested_a_thousand_deep_come_and_go(site: Site, folder: Path) -> None:
    """Deeper than any recursion may go."""
    source, target, levels = folder / "deep", folder / "target", 1100
    source.mkdir()
    handle = os.open(source, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    with open(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=handle), "wb") as leaf:
        leaf.write(b"leaf")
    os.close(handle)
    result = site.back_up(source, name="deep")
    (folder / "nothing").mkdir()
    nothing = site.back_up(folder / "nothing", name="nothing")
    assert result.errors == []
    assert site.restore(result, source, target).errors == []
    again = site.restore(result, source, target)
    assert (again.errors, again.answer.unchanged, again.answer.written) == ([], 1, 0)
    gone = site.restore(nothing, folder / "nothing", target, deletes=True)
    assert (gone.errors, gone.deleted) == ([], levels + 1)
    subprocess.run(["rm", "-rf", source], check=True)


def test_more_large_files_than_may_be_open(folder: Path) -> None:
    """Large is what has more pieces than an entry holds: here stretches of data between holes."""
    source, target = folder / "source", folder / "target"
    source.mkdir()
    for number in range(400):
        with (source / f"{number}").open("wb") as file:
            for stretch in range(20):
                file.seek(stretch << 17)
                file.write(b"%3d" % number)
    with open_site(folder) as site:
        site.back_up(source)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (350, 350)); {killed.AS_SCRIPT}"
    done = subprocess.run([sys.executable, "-c", limited, str(site.path), str(source), str(target), "never", "0"],
                          cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for number in range(400):
        path = target / f"{number}"
        with path.open("rb") as file:
            assert (file.read(5), path.stat().st_size) == (b"%3d\0\0" % number, (19 << 17) + 3)
