"""Completion: the script is read by a real bash, which is asked what it would offer. zsh and fish where they are."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from siteagent.cli.grammar import describe, global_options
from siteagent.cli.parser import COMMANDS
from tests.support.farkeep import Farkeep

_ASK = r"""
source "$1"
COMP_LINE=$2; COMP_POINT=${#COMP_LINE}
__farkeep
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def farkeep(tmp_path_factory: pytest.TempPathFactory) -> Farkeep:
    folder = tmp_path_factory.mktemp("completion")
    made = Farkeep(folder / "home")
    made.init()
    (folder / "source/sub folder").mkdir(parents=True)
    (folder / "source/file").write_bytes(b"content")
    made.backup(folder / "source", name="docs")
    made.backup(folder / "source", name="other")
    for shell in ("bash", "zsh", "fish"):
        (folder / f"script.{shell}").write_bytes(made.run("completion", shell, is_json=False).stdout)
    return made


def offered(farkeep: Farkeep, line: str, home: Path | None = None) -> list[str]:
    """What bash offers for a line; it must say nothing on standard error."""
    programs = os.path.dirname(farkeep.command("version")[0].decode())
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": "/nonexistent"}
    if home is not None:
        environment["FARKEEP_HOME"] = str(home)
    folder = farkeep.home.parent
    ran = subprocess.run(["bash", "--norc", "-c", _ASK, "ask", folder / "script.bash", line], capture_output=True,
                         check=True, env=environment, cwd=folder / "source", timeout=60)  # fmt: skip
    assert ran.stderr == b"", ran.stderr
    return sorted(ran.stdout.decode().splitlines()) if ran.stdout != b"\n" else []


def test_commands_and_their_second_words(farkeep: Farkeep) -> None:
    assert offered(farkeep, "farkeep ") == sorted({name.split()[0] for name in COMMANDS})
    assert offered(farkeep, "farkeep re") == ["release", "repair", "restore"]
    assert offered(farkeep, "farkeep --home /x --json ke") == ["key"]
    assert offered(farkeep, "farkeep key ") == ["passphrase", "restore", "rotate", "show", "split"]
    assert offered(farkeep, "farkeep key ro") == ["rotate"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command(farkeep: Farkeep, name: str) -> None:
    expected = {each for option in (*global_options(), *describe(name).options) for each in option.names}
    assert set(offered(farkeep, f"farkeep {name} -")) == expected


def test_values_and_arguments(farkeep: Farkeep) -> None:
    assert offered(farkeep, "farkeep backup --exclude-from fi") == ["file"]
    assert offered(farkeep, "farkeep backup ") == ["file", "sub folder"]
    assert offered(farkeep, "farkeep restore latest --to s") == ["sub folder"]
    assert offered(farkeep, "farkeep snapshots --ionice i") == ["idle"]
    assert offered(farkeep, "farkeep completion ") == ["bash", "fish", "zsh"]
    assert offered(farkeep, "farkeep backup --name ") == []


def test_snapshots_when_a_home_is_known(farkeep: Farkeep, tmp_path: Path) -> None:
    wait_until_quick(farkeep)
    assert offered(farkeep, "farkeep ls do", farkeep.home) == ["docs@latest"]
    assert offered(farkeep, f"farkeep --home {farkeep.home} diff docs@latest ot") == ["other@latest"]
    assert offered(farkeep, f"farkeep ls --home={farkeep.home} la") == ["latest"]
    assert offered(farkeep, "farkeep ls docs@la", farkeep.home) == ["latest"], "bash takes what follows @ for a word"
    everything = offered(farkeep, "farkeep ls ", farkeep.home)
    ids = [row["snapshot"][:12] for row in farkeep.snapshots().json()]
    assert everything == sorted([*ids, "docs@latest", "latest", "other@latest"])
    assert offered(farkeep, "farkeep ls la") == []
    assert offered(farkeep, "farkeep ls la", tmp_path / "no-home") == []


def wait_until_quick(farkeep: Farkeep) -> None:
    """What takes longer than two seconds is not offered, as on a machine that has much else to do."""
    for _ in range(60):
        if offered(farkeep, "farkeep ls do", farkeep.home):
            return


def test_a_busy_home_offers_nothing_and_does_not_wait(farkeep: Farkeep) -> None:
    import fcntl

    with open(farkeep.home / "owner", "r+") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        assert offered(farkeep, "farkeep ls la", farkeep.home) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_reads(farkeep: Farkeep, shell: str) -> None:
    """Where that shell is there; every command and option is in the script in any case."""
    path = farkeep.home.parent / f"script.{shell}"
    if shutil.which(shell):
        subprocess.run([shell, "-n", path], check=True)
    text = path.read_text()
    for name in COMMANDS:
        assert name.split()[-1] in text
        for option in describe(name).options:
            assert all(each.lstrip("-") in text for each in option.names)
    assert "snapshots --names" in text
    assert "2>/dev/null" in text


def test_the_script_is_a_document_too(farkeep: Farkeep) -> None:
    document = json.loads(farkeep.run("completion", "bash").stdout)
    assert set(document) == {"shell", "script"}
    assert document["script"] == (farkeep.home.parent / "script.bash").read_text()
    assert farkeep.run("completion", "tcsh", check=False).exit_code == 2
