"""The golden home opens for ever: every byte verifies, every entry is what it was, and work goes on in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.errors import FarkeepError
from siteagent.home import open_home
from siteagent.jobs.audit import audit_verify
from siteagent.jobs.backup import BackupRequest, back_up
from siteagent.jobs.forget import Manner, forget_named
from siteagent.jobs.prune import PruneRequest, prune
from siteagent.jobs.record import Who
from siteagent.jobs.repair_index import repair_index
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.jobs.verify import verify
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from tests.support.determined import StandingClock
from tests.support.golden_store import EXPECTED, FOLDER, NIGHTS, copy_golden, described, world

EXPECTED_ENTRIES = json.loads((FOLDER / EXPECTED).read_text())
WORLD = world("reading the golden store")


def test_it_is_small_and_holds_what_it_should() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    last = list(EXPECTED_ENTRIES.values())[-1]
    entries = last["entries"]
    assert len(EXPECTED_ENTRIES) == 2
    assert [snapshot["key_epoch"] for snapshot in EXPECTED_ENTRIES.values()] == [1, 2]
    assert len(entries["/several chunks"]["pieces"]) > 2
    assert len(entries["/sparse"]["pieces"]) > 16
    assert sum(not is_data for _, is_data in entries["/sparse"]["pieces"]) == 13
    assert entries["/one"]["is_linked"] and entries["/two names"]["is_linked"]
    assert {"user.short", "user.long"} <= set(entries["/attributes"]["xattrs"])
    assert {entry["type"] for entry in entries.values()} == {1, 2, 3, 4}


def test_every_byte_verifies_and_every_entry_is_what_it_was(tmp_path: Path) -> None:
    with open_home(copy_golden(tmp_path), "verify", WORLD) as home:
        report = verify(home, "read-data")
        assert report.is_good, report
        assert report.snapshots == 2
        assert report.segments_checked == report.segments_read_whole >= 4
        assert audit_verify(home).is_good
        assert described(home) == EXPECTED_ENTRIES
        assert home.ledger.history().site_name == "golden-site"


def test_it_was_made_without_an_index_and_one_can_be_made(tmp_path: Path) -> None:
    with open_home(copy_golden(tmp_path), "repair index", WORLD) as home:
        assert repair_index(home).is_good
        assert described(home) == EXPECTED_ENTRIES


def test_a_backup_goes_on_in_it(tmp_path: Path) -> None:
    access, source = copy_golden(tmp_path), tmp_path / "source"
    source.mkdir()
    (source / "new").write_bytes(b"new\n")
    with open_home(access, "backup", WORLD) as home:
        node, roots = merge_roots([os.fsencode(source)], b"/")
        back_up(home, BackupRequest("golden-files", tuple(roots), PosixView(node, None, None), "user", "host"))
        assert verify(home, "read-data").is_good
        found = described(home)
        assert {snapshot: found[snapshot] for snapshot in EXPECTED_ENTRIES} == EXPECTED_ENTRIES


def test_nothing_opens_without_its_key(tmp_path: Path) -> None:
    access = copy_golden(tmp_path)
    Path(access.key_path).unlink()
    with pytest.raises(FarkeepError, match="key file is missing"):
        open_home(access, "verify", WORLD)


def test_the_golden_nights_hold_deltas_and_what_a_prune_left(tmp_path: Path) -> None:
    expected = json.loads((NIGHTS / EXPECTED).read_text())
    files = [path for path in NIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    with open_home(copy_golden(tmp_path, NIGHTS), "repair index", WORLD) as home:
        assert repair_index(home).is_good
        tables = [home.reader.table(name).table for name in home.index.segments()]
        assert {bool(table.sides) for table in tables if table.bases} == {True, False}
        assert max(frame.depth for table in tables for frame in table.frames) == 2
        history = home.ledger.history()
        assert len(history.swept) == 2 and history.swept_segments and len(expected) == 3
        assert history.superseded
        assert verify(home, "read-data").is_good
        assert described(home) == expected


@pytest.mark.parametrize("golden", [FOLDER, NIGHTS])
def test_a_golden_home_is_restored_backed_up_into_pruned_and_read_again(golden: Path, tmp_path: Path) -> None:
    access, source = copy_golden(tmp_path, golden), tmp_path / "source"
    source.mkdir()
    (source / "new").write_bytes(b"new\n" * 3000)
    world = replace(WORLD, clock=StandingClock(WORLD.clock.now_ns()))
    with open_home(access, "backup", world) as home:
        before = home.ledger.history().snapshots
        for number, entry in enumerate(before):
            assert entry.summary is not None
            target = str(tmp_path / f"restored {number}")
            assert restore(home, [RestoreRequest(entry, entry.summary.paths[0], target, "user", "host")]).errors == []
            names = {os.fsencode(path.name).decode("utf-8", "backslashreplace") for path in Path(target).iterdir()}
            assert names == {path.strip("/").partition("/")[0] for path in
                    described(home)[entry.id.hex()]["entries"] if path.strip("/")}  # fmt: skip
        node, roots = merge_roots([os.fsencode(source)], b"/")
        back_up(home, BackupRequest("golden-files", tuple(roots), PosixView(node, None, None), "user", "host"))
        kept = described(home)
        forget_named(home, Who("user", "host"), before[:1], Manner(grace_ns=0))
        assert prune(home, PruneRequest(Who("user", "host"), is_now=True)).snapshots == [before[0].id]
        del kept[before[0].id.hex()]
        assert described(home) == kept
        assert verify(home, "read-data").is_good
    with open_home(access, "verify", world) as home:
        assert described(home) == kept
