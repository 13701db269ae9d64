"""Restore never leaves its root: no name, link, lie or rival process makes it write outside, or shows on a terminal.

What lies outside is described before and after. Names come from tests/support/hostile_names.py: as real files, and
forged into catalogs with all the right keys, as somebody with a leaked key could.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import HostileError
from shared.sealing import digest
from shared.tree import CHARACTER_DEVICE, FIFO, FILE, FOLDER, HOLE, LINK, folder_key
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalog import Catalog, Root
from siteagent.store.chunklist import list_segments
from siteagent.store.entry import Entry
from siteagent.store.page import CHUNK_INDEX, ENTRY_INDEX, Child, encode_chunks, encode_entries, encode_index, encode_side
from siteagent.store.writer import StoreWriter
from tests.support import hostile_names
from tests.support.forged import forge_root, forge_rows, forged_entry
from tests.support.inside import quick_driver
from tests.support.restores import Stage, read_every_way, restored, staged, verified
from tests.support.tally import Tally
from tests.support.tarcheck import leads_out
from tests.support.untouched import untouched
from tests.support.walker import compare, describe

KINDS = ("file", "large", "linked", "folder", "link")


@pytest.fixture(autouse=True)
def no_sync_of_the_whole_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is restored here need not outlive this machine."""
    monkeypatch.setattr("siteagent.jobs.restore.sync_target", lambda handle: None)


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
    for name in names[::12]:
        assert farkeep.run("cat", b"latest:" + os.fsencode(source / "files") + b"/" + name, is_json=False).stdout == name
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
    entry = forge_rows_sorted(stage, [(b"", b"a", "folder"), *((parent, b"of " + kind.encode(), kind) for kind in KINDS)])
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
