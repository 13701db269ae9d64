"""Every exit code that a whole process can be driven to (70 is driven in tests/unit/siteagent/cli/test_run.py)."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from siteagent.store.pack import HEADER_BYTES
from siteagent.store.segment import DATA
from siteagent.store.segment import HEADER_BYTES as SEGMENT_HEADER_BYTES
from tests.support.farkeep import Farkeep
from tests.support.held import held_backup
from tests.support.homes import flip


@pytest.fixture
def farkeep(tmp_path: Path) -> Farkeep:
    """A home, and a source with one file."""
    made = Farkeep(tmp_path / "home")
    made.init()
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_bytes(b"content")
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


def test_0_done(farkeep: Farkeep, source: Path) -> None:
    assert farkeep.backup(source).json()["quality"] == "live"


def test_1_refused(farkeep: Farkeep) -> None:
    result = farkeep.run("init", "--site", "again", "--no-recovery", check=False)
    error = result.json()["error"]
    assert (result.exit_code, error["kind"], error["subject"]) == (1, "refused", str(farkeep.home))
    assert error["message"] == "there is a home already"
    assert error["message"] in result.stderr
    assert error["next"] in result.stderr


def test_2_usage(farkeep: Farkeep) -> None:
    result = farkeep.run("backup", "--no-such-option", check=False)
    assert (result.exit_code, result.json()["error"]["kind"]) == (2, "usage")
    assert farkeep.run("backup", check=False).exit_code == 2


def test_3_partial(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(os.fsencode(source) + b"\0" + os.fsencode(source / "gone") + b"\0")
    result = farkeep.run("backup", "--files-from0", tmp_path / "list", check=False)
    document = result.json()
    assert (result.exit_code, document["quality"], document["error_count"]) == (3, "partial", 1)
    assert document["errors"][0]["path"] == str(source / "gone")
    assert "gone" in result.stderr


def test_4_damaged(farkeep: Farkeep, source: Path) -> None:
    farkeep.backup(source)
    for pack in (farkeep.home / "packs").iterdir():
        pack.unlink()
    result = farkeep.verify(check=False)
    assert result.exit_code == 4
    assert result.json()["damaged"] or result.json()["problems"]
    result = farkeep.run("cat", f"latest:{source}/file", check=False)
    assert (result.exit_code, result.json()["error"]["kind"]) == (4, "damaged")


def test_4_damaged_in_part(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    """The catalog reads, the content of the file does not."""
    farkeep.backup(source)
    for pack in (farkeep.home / "packs").iterdir():
        if pack.read_bytes()[5] == DATA:
            flip(pack, HEADER_BYTES + SEGMENT_HEADER_BYTES + 600)
    result = farkeep.run("restore", "latest", "--to", tmp_path / "target", check=False)
    assert (result.exit_code, [row["path"] for row in result.json()["errors"]]) == (4, [str(source / "file")])


def test_5_busy(farkeep: Farkeep, tmp_path: Path) -> None:
    with held_backup(farkeep, tmp_path) as held:
        result = farkeep.snapshots(check=False)
        error = result.json()["error"]
        assert (result.exit_code, error["kind"]) == (5, "unavailable")
        assert f"`farkeep backup` (process {held.process.pid} on {os.uname().nodename}) since 20" in error["message"]
        assert "--wait" in error["next"]
        assert held.let_go()[0] == 0
    assert len(farkeep.snapshots().json()) == 1


def test_6_exhausted(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the system refuses the write alike."""
    farkeep.backup(source)
    (source / "big").write_bytes(os.urandom(40 << 20))
    narrow = tmp_path / "narrow"
    narrow.write_text(f'#!/bin/sh\nulimit -f 60000\nexec "{farkeep.command("version")[0].decode()}" "$@"\n')
    narrow.chmod(0o755)
    result = Farkeep(farkeep.home, executable=narrow).backup(source, check=False)
    error = result.json()["error"]
    assert (result.exit_code, error["kind"]) == (6, "exhausted")
    assert "free space" in error["next"]
    assert len(farkeep.snapshots().json()) == 1
    farkeep.verify("--read-data")
    assert farkeep.backup(source).json()["files"] == 2


def test_7_hostile(farkeep: Farkeep, tmp_path: Path) -> None:
    Farkeep(tmp_path / "first").init("--recovery-out", tmp_path / "recovery")
    path = tmp_path / "recovery/organisation.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "name": "Somebody Else"}))
    result = Farkeep(tmp_path / "second").init("--organisation", path, check=False)
    assert (result.exit_code, result.json()["error"]["kind"]) == (7, "hostile")
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_130_and_143_interrupted(farkeep: Farkeep, tmp_path: Path, number: signal.Signals, code: int) -> None:
    with held_backup(farkeep, tmp_path) as held:
        held.process.send_signal(number)
        output, errors = held.process.communicate(timeout=60)
    assert held.process.returncode == code
    assert json.loads(output)["error"]["kind"] == "interrupted"
    assert number.name in errors.decode()
    assert farkeep.snapshots().json() == []
    ended = [row for row in farkeep.run("events").json() if row["kind"] == "job.ended"]
    assert number.name in ended[-1]["summary"]


def test_141_nobody_reads(farkeep: Farkeep) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(farkeep.command("events"), stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (process.returncode, process.stderr) == (141, b"")
