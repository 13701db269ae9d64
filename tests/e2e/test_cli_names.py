"""Hostile names: nothing that steers a terminal gets out, nothing is lost on the way."""

import base64
import os
import pty
import select
import subprocess
from pathlib import Path

import pytest

from tests.support.farkeep import Farkeep
from tests.support.inside import quick_driver

HOSTILE = [b"\x1b[31mred", b"\xff\xfe", b"new\nline", b"tab\there", b"\x7f\x9b31m", "\u202eright-to-left".encode(),
           b"carriage\rreturn", b"-rf", b"--json", b" ", b"*?[x]", "käse".encode(), b"'quote\""]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names") / "source"
    folder.mkdir()
    for name in HOSTILE:
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(name)
    os.symlink(b"\x1b]0;title\x07\xff", os.fsencode(folder) + b"/link")
    return folder


@pytest.fixture(scope="module")
def farkeep(source: Path) -> Farkeep:
    made = quick_driver(source.parent / "home")
    made.init()
    made.backup(source, name="names")
    return made


def is_clean(output: bytes) -> bool:
    """No byte that steers a terminal, but line feeds; and valid text."""
    codes = map(ord, output.decode("utf-8").replace("\n", ""))
    return all(code >= 0x20 and not 0x7F <= code < 0xA0 for code in codes)


def test_lists_for_people_spell_names_out(farkeep: Farkeep) -> None:
    result = farkeep.run("ls", "latest", is_json=False)
    assert is_clean(result.stdout)
    assert is_clean(result.stderr.encode())
    for text in ("\\x1b[31mred", "\\xff\\xfe", "new\\x0aline", "\\u202eright", "-> \\x1b]0;title\\x07\\xff", "käse"):
        assert text in result.stdout.decode()


def test_json_gives_every_name_back(farkeep: Farkeep, source: Path) -> None:
    result = farkeep.run("ls", f"latest:{source}")
    assert all(byte == 10 or 0x20 <= byte < 0x7F for byte in result.stdout)
    rows = result.json()
    found = {base64.b64decode(row["path_bytes"]) if "path_bytes" in row else row["path"].encode() for row in rows}
    assert found == {os.fsencode(source) + b"/" + name for name in [*HOSTILE, b"link"]}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_file_can_be_named_and_read(farkeep: Farkeep, source: Path, name: bytes) -> None:
    spec = b"latest:" + os.fsencode(source) + b"/" + name
    assert farkeep.run("cat", spec, is_json=False).stdout == name


@pytest.mark.parametrize("name", HOSTILE[:7])
def test_errors_about_them_are_clean(farkeep: Farkeep, source: Path, name: bytes) -> None:
    missing = os.fsencode(source) + b"/missing" + name
    lines = (("cat", b"latest:" + missing), ("backup", missing), ("ls", b"latest@" + name), ("backup", "--tag", name),
             ("snapshots", "--name", name), (name,))  # fmt: skip
    for words in lines:
        result = farkeep.run(*words, check=False)
        assert result.exit_code in (1, 2), result.report()
        assert is_clean(result.stderr.encode()), result.report()
        assert all(byte == 10 or 0x20 <= byte < 0x7F for byte in result.stdout), result.report()
        result.json()


def test_everything_comes_back(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    farkeep.restore(f"latest:{source}", tmp_path / "out")
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == sorted(os.listdir(os.fsencode(source)))


def test_a_default_name_is_made_of_them(farkeep: Farkeep, source: Path) -> None:
    path = os.fsencode(source) + b"/" + HOSTILE[0]
    document = farkeep.backup(path).json()
    assert document["name"].isascii()
    assert document["name"].startswith("alpha_")
    assert farkeep.run("ls", f"{document['name']}@latest:{os.fsdecode(path)}").json()[0]["size"] == len(HOSTILE[0])


def test_a_file_that_begins_with_a_dash_is_a_path_after_two_dashes(farkeep: Farkeep, source: Path) -> None:
    assert farkeep.run("backup", "--name", "dash", "--", b"-rf", b"--json", cwd=source).json()["files"] == 2


def test_progress_appears_on_a_terminal_only_and_is_erased(farkeep: Farkeep, source: Path) -> None:
    """Standard error is a terminal; the command stands still for longer than progress takes to appear."""
    os.mkfifo(source.parent / "gate")
    leader, follower = pty.openpty()
    words = farkeep.command("backup", "--name", "slow", "--stdin-from-command", f"cat {source.parent / 'gate'}",
                            "--stdin-name", "x")  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=follower, env={**os.environ, "NO_COLOR": "1"})
    os.close(follower)
    seen = b""
    with open(source.parent / "gate", "wb") as gate:
        gate.write(b"first")
        gate.flush()
        while b"backup: " not in seen:
            assert select.select([leader], [], [], 60)[0], "no progress came"
            seen += os.read(leader, 4096)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    while b"snapshot" not in seen:
        seen += os.read(leader, 4096)
    os.close(leader)
    assert b"\r\x1b[Ksnapshot" in seen
    assert output.startswith(b'{"snapshot"')
