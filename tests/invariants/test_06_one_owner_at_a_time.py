"""Invariant 6 across processes: one owner per home. A second one is told or waits, a dead one never blocks, and two
copies of one home that are both written to part ways in the log without ever sharing a name or a nonce.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from siteagent.home import Access, open_home
from siteagent.store.names import run_of
from tests.support.command_line import local_world
from tests.support.farkeep import Farkeep
from tests.support.held import held_backup
from tests.support.inside import InsideFarkeep
from tests.support.tally import Tally

SNAPSHOT = "latest"


@pytest.fixture
def farkeep(tmp_path: Path) -> InsideFarkeep:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(9_000))
    made = InsideFarkeep(tmp_path / "home")
    made.init()
    made.backup(source, name="docs")
    return made


def state_of(home: Path) -> dict[str, str]:
    """Every file of a home but the index, the lock and the lines about commands."""
    files = (file for file in sorted(home.rglob("*")) if file.is_file() and file.parts[-2] != "index"
             and file.name not in ("owner", "farkeep.log"))  # fmt: skip
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_whoever_comes_second_is_told_and_changes_nothing(farkeep: InsideFarkeep, tmp_path: Path, tally: Tally) -> None:
    commands: list[list[str]] = [
        ["backup", str(tmp_path / "source")], ["prune"], ["prune", "--now"], ["verify"], ["verify", "--read-data"],
        ["restore", SNAPSHOT, "--to", str(tmp_path / "restored")], ["forget", SNAPSHOT, "--yes-last"], ["snapshots"],
        ["ls", SNAPSHOT], ["key", "rotate"], ["key", "show"], ["repair", "index"], ["repair", "log"],
        ["repair", "packs"], ["events"], ["hold", SNAPSHOT], ["tag", SNAPSHOT, "--add", "x"], ["stats"],
    ]  # fmt: skip
    with held_backup(Farkeep(farkeep.home), tmp_path) as held:
        before = state_of(farkeep.home)
        for words in commands:
            result = farkeep.run(*words, check=False)
            error = result.json()["error"]
            assert (result.exit_code, error["kind"]) == (5, "unavailable"), result.report()
            assert f"`farkeep backup` (process {held.process.pid} on {os.uname().nodename}) since " in error["message"]
            assert "--wait" in error["next"]
        assert state_of(farkeep.home) == before
        assert held.let_go()[0] == 0
    assert not (tmp_path / "restored").exists()
    assert farkeep.verify("--read-data").exit_code == 0
    tally("commands on a home that is held", len(commands))


def test_a_second_one_waits_as_long_as_it_was_told(farkeep: InsideFarkeep, tmp_path: Path) -> None:
    with held_backup(Farkeep(farkeep.home), tmp_path) as held:
        assert farkeep.snapshots("--wait", "0.3", check=False).exit_code == 5
        waiting = subprocess.Popen(Farkeep(farkeep.home).command("snapshots", "--wait", "60"), stdout=subprocess.PIPE)
        try:
            assert held.let_go()[0] == 0
            output, _ = waiting.communicate(timeout=60)
        finally:
            waiting.kill()
            waiting.communicate()
    assert waiting.returncode == 0
    assert output.count(b'"snapshot"') == 2


def test_a_dead_holder_never_blocks_not_even_while_its_children_live(farkeep: InsideFarkeep, tmp_path: Path) -> None:
    with held_backup(Farkeep(farkeep.home), tmp_path) as held:
        process = held.process.pid
        child = int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])
        held.process.send_signal(signal.SIGKILL)
        held.process.wait()
        # The command whose output was to be backed up still waits for its gate.
        try:
            os.kill(child, 0)
            assert len(farkeep.snapshots().json()) == 1
            assert farkeep.backup(tmp_path / "source", name="docs").exit_code == 0
            assert farkeep.verify("--read-data").exit_code == 0
        finally:
            os.killpg(os.getpgid(child), signal.SIGKILL)
    ended = [row["summary"] for row in farkeep.run("events").json() if row["kind"] == "job.ended"]
    assert sum("cut off" in summary for summary in ended) == 1


def cloned(farkeep: InsideFarkeep, tmp_path: Path) -> InsideFarkeep:
    """A copy of the home elsewhere, with a copy of its key file; its high-water mark stays behind."""
    clone = tmp_path / "clone"
    shutil.copytree(farkeep.home, clone, symlinks=True)
    shutil.copy(tmp_path / "home.key", tmp_path / "clone.key")
    return InsideFarkeep(clone)


def epochs_of(farkeep: InsideFarkeep) -> list[str]:
    with open_home(Access(str(farkeep.home)), "test", local_world()) as home:
        position = home.ledger.head.position
        return [epoch.reason for epoch in home.ledger.history().log_epochs.lineage(position.log_epoch)]


def runs_of(farkeep: InsideFarkeep) -> set[bytes]:
    with open_home(Access(str(farkeep.home)), "test", local_world()) as home:
        return {run_of(name) for name in home.index.segments()}


def test_two_copies_of_a_home_part_ways_in_the_log(farkeep: InsideFarkeep, tmp_path: Path) -> None:
    before = runs_of(farkeep)
    clone = cloned(farkeep, tmp_path)
    for number, copy in enumerate((farkeep, clone, farkeep, clone)):
        (tmp_path / "source/file").write_bytes(os.urandom(5_000 + number))
        copy.backup(tmp_path / "source", name="docs")
    assert epochs_of(farkeep) == ["created"]
    assert epochs_of(clone) == ["created", "unproven"]
    assert runs_of(farkeep) & runs_of(clone) == before
    for copy in (farkeep, clone):
        assert copy.verify("--read-data").exit_code == 0
        assert len(copy.snapshots().json()) == 3


def test_a_copy_in_place_of_the_home_is_noticed(farkeep: InsideFarkeep, tmp_path: Path) -> None:
    """The mark beside the home knows more than the copy's log: it may be read, and nothing is written before repair."""
    clone = cloned(farkeep, tmp_path)
    (tmp_path / "source/file").write_bytes(b"newer")
    farkeep.backup(tmp_path / "source", name="docs")
    shutil.move(farkeep.home, tmp_path / "lost")
    shutil.move(clone.home, farkeep.home)
    for words in (["backup", str(tmp_path / "source")], ["prune"], ["forget", SNAPSHOT, "--yes-last"]):
        result = farkeep.run(*words, check=False)
        assert (result.exit_code, "repair log" in result.json()["error"]["next"]) == (1, True), result.report()
    assert len(farkeep.snapshots().json()) == 1
    assert farkeep.run("cat", f"{SNAPSHOT}:{tmp_path}/source/file", is_json=False).exit_code == 0
    farkeep.run("repair", "log")
    farkeep.backup(tmp_path / "source", name="docs")
    assert epochs_of(farkeep) == ["created", "rewound"]
    assert farkeep.verify("--read-data").exit_code == 0


def test_a_copy_that_knows_all_goes_on_in_a_log_epoch_of_its_own(farkeep: InsideFarkeep, tmp_path: Path) -> None:
    clone = cloned(farkeep, tmp_path)
    shutil.move(farkeep.home, tmp_path / "lost")
    shutil.move(clone.home, farkeep.home)
    farkeep.backup(tmp_path / "source", name="docs")
    assert epochs_of(farkeep) == ["created", "unproven"]
    assert farkeep.verify("--read-data").exit_code == 0
