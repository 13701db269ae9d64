"""Bad input: what happened, to what, what to do next; the exit code; and the state afterwards."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine, local_world
from tests.support.farkeep import Farkeep, Result
from tests.support.held import held_backup
from tests.support.inside import quick_driver
from tests.support.permissions import bound_by_permissions


@pytest.fixture
def farkeep(tmp_path: Path) -> Farkeep:
    """A home with one snapshot of one file."""
    made = quick_driver(tmp_path / "home")
    made.init()
    source(made).mkdir()
    (source(made) / "file").write_bytes(b"content")
    made.backup(source(made), name="docs")
    return made


def source(farkeep: Farkeep) -> Path:
    return farkeep.home.parent / "source"


def refused(result: Result, code: int, *words: str) -> dict[str, Any]:
    """The error of a command that must fail with this code and say these words, on both outputs."""
    error: dict[str, Any] = result.json()["error"]
    assert result.exit_code == code, result.report()
    assert set(error) == {"kind", "message", "subject", "next"}
    said = f"{error['message']} {error['subject']} {error['next']}"
    for word in words:
        assert word in said, result.report()
    assert error["message"] in result.stderr
    assert error["next"] in result.stderr
    return error


def still_sound(farkeep: Farkeep) -> None:
    """Everything that was acknowledged is there."""
    farkeep.verify("--read-data")
    assert farkeep.run("cat", f"docs@latest:{source(farkeep)}/file", is_json=False).stdout == b"content"


def test_no_home_is_named(farkeep: Farkeep) -> None:
    command = Farkeep(Path("/nowhere"))
    words = [word for word in command.command("snapshots") if word not in (b"--home", b"/nowhere")]
    result = subprocess.run(words, capture_output=True, check=False, env={"PATH": os.environ["PATH"]})
    assert result.returncode == 2
    assert "FARKEEP_HOME" in json.loads(result.stdout)["error"]["next"]


def test_the_home_may_come_from_a_variable(farkeep: Farkeep) -> None:
    words = [word for word in farkeep.command("snapshots") if word not in (b"--home", os.fsencode(farkeep.home))]
    result = subprocess.run(words, capture_output=True, check=True,
                            env={"PATH": os.environ["PATH"], "FARKEEP_HOME": str(farkeep.home)})
    assert len(json.loads(result.stdout)) == 1


def test_a_folder_that_is_no_home(farkeep: Farkeep, tmp_path: Path) -> None:
    for path in (tmp_path / "none", source(farkeep), source(farkeep) / "file"):
        refused(quick_driver(path).snapshots(check=False), 1, "no Farkeep home", str(path), "farkeep init")
    assert not (tmp_path / "none").exists()


def test_a_folder_that_holds_something_else_becomes_no_home(farkeep: Farkeep) -> None:
    refused(quick_driver(source(farkeep)).init(check=False), 1, "not empty", "choose an empty or new folder")
    assert os.listdir(source(farkeep)) == ["file"]


def test_init_without_a_way_to_recover(farkeep: Farkeep, tmp_path: Path) -> None:
    result = quick_driver(tmp_path / "new").run("init", "--site", "x", check=False)
    refused(result, 1, "--recovery-out", "--organisation", "--no-recovery")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "new.key").exists()


def test_a_newer_format(farkeep: Farkeep) -> None:
    path = farkeep.home / "format"
    was = path.read_bytes()
    path.write_bytes(was.replace(b'"version":1', b'"version":2'))
    for command in (("snapshots",), ("backup", source(farkeep)), ("key", "show")):
        refused(farkeep.run(*command, check=False), 1, "made by a newer Farkeep", "update Farkeep")
    assert path.read_bytes() != was
    path.write_bytes(was)
    still_sound(farkeep)


def test_a_home_in_use_and_waiting_for_it(farkeep: Farkeep, tmp_path: Path) -> None:
    with held_backup(farkeep, tmp_path) as held:
        refused(farkeep.backup(source(farkeep), check=False), 5, "in use by `farkeep backup`", "--wait", "since")
        refused(farkeep.run("snapshots", "--wait", "0.1", check=False), 5, "in use")
        (tmp_path / "user").mkdir()
        waiting = farkeep.start("snapshots", "--wait", user_home=tmp_path / "user")
        assert held.let_go()[0] == 0
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert [row["name"] for row in json.loads(output)] == ["docs", "held"]
    still_sound(farkeep)


def test_a_home_whose_holder_was_killed_is_free_at_once(farkeep: Farkeep, tmp_path: Path) -> None:
    with held_backup(farkeep, tmp_path) as held:
        held.process.kill()
        held.process.communicate()
        assert len(farkeep.snapshots().json()) == 1
    farkeep.backup(source(farkeep), name="docs")
    ends = [row["summary"] for row in farkeep.run("events").json() if row["kind"] == "job.ended"]
    assert "failed: it was cut off" in ends
    still_sound(farkeep)


def test_a_missing_key(farkeep: Farkeep, tmp_path: Path) -> None:
    key = tmp_path / "home.key"
    key.rename(tmp_path / "elsewhere")
    for command in (("snapshots",), ("backup", source(farkeep))):
        refused(farkeep.run(*command, check=False), 1, "key file is missing", str(key), "--key-file", "key restore")
    assert len(farkeep.run("snapshots", "--key-file", tmp_path / "elsewhere").json()) == 1
    (tmp_path / "elsewhere").rename(key)
    still_sound(farkeep)


def test_a_foreign_key(farkeep: Farkeep, tmp_path: Path) -> None:
    other = quick_driver(tmp_path / "other")
    other.init()
    result = farkeep.run("snapshots", "--key-file", tmp_path / "other.key", check=False)
    error = refused(result, 1, "belongs to site", "--key-file")
    assert error["subject"] == str(tmp_path / "other.key")
    refused(farkeep.run("snapshots", "--key-file", source(farkeep) / "file", check=False), 1, "not a site's key file")
    still_sound(farkeep)


def test_a_missing_index_costs_work_only(farkeep: Farkeep, tmp_path: Path) -> None:
    listed = farkeep.run("ls", "latest").json()
    answers = []
    for command in (("ls", "latest"), ("verify",), ("restore", "latest", "--to", tmp_path / "out"),
                    ("backup", source(farkeep), "--name", "docs")):  # fmt: skip
        shutil.rmtree(farkeep.home / "index")
        answers.append(farkeep.run(*command).json())
        assert any((farkeep.home / "index").iterdir()), command
    found, verified, _, stored = answers
    assert found == listed
    assert verified["damaged"] == []
    assert (tmp_path / "out" / str(source(farkeep) / "file").lstrip("/")).read_bytes() == b"content"
    assert stored["bytes_new"] == 0
    shutil.rmtree(farkeep.home / "index")
    still_sound(farkeep)
    (farkeep.home / "index/CURRENT").write_bytes(b"not a database")
    still_sound(farkeep)


def test_an_ambiguous_snapshot(tmp_path: Path) -> None:
    """Ids come from the randomness that is handed in: here all begin alike."""

    class Alike:
        def bits(self, size_bytes: int) -> bytes:
            return b"\xab\xcd\xef\x01" + os.urandom(size_bytes - 4) if size_bytes == 16 else os.urandom(size_bytes)

    world = local_world()
    commands = CommandLine(tmp_path / "home", type(world)(world.clock, Alike(), network_kind=lambda _: None,
                                                          may_start_processes=False))  # fmt: skip
    commands.good("init", "--site", "x", "--no-recovery")
    (tmp_path / "file").touch()
    ids = [commands.good("backup", tmp_path / "file", "--name", "docs")["snapshot"] for _ in range(2)]
    for words in (("ls", "abcdef"), ("restore", "abcdef01", "--to", tmp_path / "out"), ("cat", "ABCDEF:/x")):
        answer = commands(*words)
        message = answer.json()["error"]["message"]
        assert (answer.code, answer.kind) == (1, "refused")
        assert "2 snapshots begin with these digits" in message
        assert all(snapshot[:12] in message and "docs, 20" in message for snapshot in ids)
        assert answer.json()["error"]["next"] == "write more digits"
    assert not (tmp_path / "out").exists()
    assert commands.good("ls", ids[0])
    assert [row["snapshot"] for row in commands.good("snapshots")] == ids


def test_a_snapshot_that_is_not_there(farkeep: Farkeep) -> None:
    refused(farkeep.run("ls", "docs", check=False), 2, "names no snapshot", "docs@latest")
    refused(farkeep.run("ls", "ffffff0", check=False), 1, "no snapshot with this id", "farkeep snapshots")
    refused(farkeep.run("ls", "abc", check=False), 2, "6 or more digits")
    refused(farkeep.run("ls", "mail@latest", check=False), 1, "no snapshot of this name", "docs")
    refused(farkeep.run("ls", "docs@1999-12-31", check=False), 1, "so early", "the first one is of 20")
    refused(farkeep.backup(source(farkeep), name="latest", check=False), 2, "cannot be a name")
    refused(farkeep.backup(source(farkeep), name="deadbeef", check=False), 2, "cannot be a name")


def test_a_target_inside_the_home(farkeep: Farkeep, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(farkeep.home)
    before = sorted(farkeep.home.iterdir())
    for target in (farkeep.home, farkeep.home / "out", tmp_path / "link/out"):
        refused(farkeep.restore("latest", target, check=False), 1, "inside the home", "outside")
    assert sorted(farkeep.home.iterdir()) == before
    still_sound(farkeep)


def test_a_path_that_is_not_there(farkeep: Farkeep, tmp_path: Path) -> None:
    missing = source(farkeep) / "missing"
    refused(farkeep.backup(missing, check=False), 1, "nothing at this path", str(missing))
    for command in (("ls", f"latest:{missing}"), ("cat", f"latest:{missing}"), ("dump", f"latest:{missing}"),
                    ("restore", f"latest:{missing}", "--to", tmp_path / "out")):  # fmt: skip
        refused(farkeep.run(*command, check=False), 1, "not in the snapshot", str(missing), "farkeep ls")
    assert len(farkeep.snapshots().json()) == 1


def test_a_home_on_a_network_file_system(tmp_path: Path) -> None:
    """The mount table is handed in; everything else is real."""
    world = local_world()
    commands = CommandLine(tmp_path / "home", type(world)(world.clock, world.randomness, network_kind=lambda _: "nfs4"))
    answer = commands("init", "--site", "x", "--no-recovery")
    assert (answer.code, answer.kind) == (1, "refused")
    assert "nfs4" in answer.json()["error"]["message"]
    assert "local disk" in answer.json()["error"]["next"]
    assert not (tmp_path / "home").exists()
    local = CommandLine(tmp_path / "home")
    local.good("init", "--site", "x", "--no-recovery")
    assert CommandLine(tmp_path / "home", commands.world)("snapshots").code == 1
    assert local.good("snapshots") == []


def test_settings_that_do_not_read(farkeep: Farkeep) -> None:
    (farkeep.home / "farkeep.toml").write_text("key-file = '/x'\n")
    refused(farkeep.snapshots(check=False), 1, "settings do not read", "farkeep.toml", "key_file")
    (farkeep.home / "farkeep.toml").unlink()
    still_sound(farkeep)


def test_an_unreadable_file_makes_a_partial_snapshot(farkeep: Farkeep, tmp_path: Path) -> None:
    bound = bound_by_permissions(farkeep.home, tmp_path)
    closed = source(farkeep) / "closed"
    closed.write_bytes(b"secret")
    closed.chmod(0)
    result = bound.backup(source(farkeep), name="docs", check=False)
    document = result.json()
    assert (result.exit_code, document["quality"], document["error_count"]) == (3, "partial", 1)
    assert document["errors"] == [{"path": str(closed), "reason": "Permission denied"}]
    assert f"{closed}: Permission denied" in result.stderr
    archive = bound.run("dump", "latest", check=False, is_json=False)
    assert archive.exit_code == 3
    assert "closed" in archive.stderr
    refused(bound.run("cat", f"latest:{closed}", check=False), 1, "could not be read when the snapshot was taken")
    still_sound(farkeep)


def test_a_home_that_this_user_may_not_read(farkeep: Farkeep, tmp_path: Path) -> None:
    bound = bound_by_permissions(farkeep.home, tmp_path)
    farkeep.home.chmod(0)
    try:
        refused(bound.snapshots(check=False), 1, "may not read the home", "run as the user who made it")
    finally:
        farkeep.home.chmod(0o700)
    still_sound(farkeep)


def test_a_key_that_this_user_may_not_read(farkeep: Farkeep, tmp_path: Path) -> None:
    bound = bound_by_permissions(farkeep.home, tmp_path)
    (tmp_path / "home.key").chmod(0)
    try:
        refused(bound.snapshots(check=False), 1, "may not read the site's key file")
    finally:
        (tmp_path / "home.key").chmod(0o600)
    still_sound(farkeep)
