"""`farkeep prune` and `farkeep repair packs` as commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.homes import forget, incompressible
from tests.support.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Four snapshots, of which two are forgotten."""
    made = Site(tmp_path, CommandLine(tmp_path / "home"))
    made.source.mkdir()
    made.commands.good("init", "--site", "alpha", "--recovery-out", tmp_path / "recovery")
    for day in range(4):
        (made.source / "file").write_bytes(incompressible(str(day), 500_000))
        made.backup()
    with made.open() as home:
        forget(home, list(home.ledger.history().snapshot_ids[:2]))
    return made


def test_the_document_has_the_figures(site: Site) -> None:
    found = site.commands.good("prune")
    assert len(found["snapshots"]) == 2
    assert found["bytes_freed"] >= 1_000_000
    assert {"bytes_rewritten", "bytes_held_by_deltas", "notes", "seconds"} <= found.keys()
    assert found["packs"].keys() == {"deleted", "punched", "repacked"}
    assert found["packs"]["deleted"] >= 2
    assert found["segments"]["swept"] >= 2
    assert not found["dry_run"]
    answer = site.commands("ls", found["snapshots"][0])
    message = "this snapshot was forgotten and then swept: it is gone"
    assert (answer.code, answer.json()["error"]["message"]) == (1, message)
    assert len(site.commands.good("snapshots")) == 2
    assert site.commands.good("verify", "--read-data")["damaged"] == []


def test_a_dry_run_says_so_and_changes_nothing(site: Site) -> None:
    before = sorted(os.listdir(site.commands.home / "packs"))
    found = site.commands.good("prune", "--dry-run")
    assert found["dry_run"]
    assert len(found["snapshots"]) == 2
    assert found["bytes_freed"] >= 1_000_000
    assert sorted(os.listdir(site.commands.home / "packs")) == before
    answer = site.commands.run("--home", site.commands.home, "prune", "--dry-run")
    assert "2 snapshots would be given up" in answer.stderr


def test_people_read_what_was_freed(site: Site) -> None:
    answer = site.commands.run("--home", site.commands.home, "prune", "--now", "--budget", "10M")
    assert (answer.code, answer.stdout) == (0, b"")
    assert "2 snapshots given up" in answer.stderr
    assert "written again" in answer.stderr


def test_a_prune_says_what_it_waits_for_and_until_when(site: Site) -> None:
    assert (site.commands.good("prune")["waiting"], site.commands.good("prune")["next_due"]) == ([], None)
    snapshot = site.commands.good("forget", site.commands.good("snapshots")[0]["snapshot"][:12])
    assert snapshot
    for words in (("prune",), ("prune", "--dry-run")):
        found = site.commands.good(*words)
        (waiting,) = found["waiting"]
        assert found["snapshots"] == []
        row = next(row for row in site.commands.good("snapshots", "--forgotten") if row["snapshot"] == waiting)
        assert found["next_due"][:16] == row["sweep_after"][:16]
        answer = site.commands.run("--home", site.commands.home, *words)
        assert "1 forgotten snapshot waiting, at least until " in answer.stderr


def test_a_budget_that_is_no_size_is_refused(site: Site) -> None:
    assert site.commands("prune", "--budget", "much").code == 2


def test_damaged_packs_are_mended(site: Site) -> None:
    path = max((site.commands.home / "packs").iterdir(), key=lambda path: path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    found = site.commands.good("repair", "packs")
    (mended,) = found["mended"]
    assert mended["pack"] == path.stem
    assert mended["saved"] >= 1
    assert mended["lost"] == []
    with_loss = max((site.commands.home / "packs").iterdir(), key=lambda path: path.stat().st_size)
    with with_loss.open("r+b") as file:
        file.truncate(10_000)
    answer = site.commands("repair", "packs")
    assert answer.code == 4
    assert answer.json()["mended"][0]["aside"].endswith(".aside")
    assert "lost" in answer.stderr
