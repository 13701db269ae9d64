"""How much is said: -q, -v, a dumb terminal, NO_COLOR; and workers and priorities from the command line."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.support.farkeep import Farkeep


@pytest.fixture(scope="module")
def farkeep(tmp_path_factory: pytest.TempPathFactory) -> Farkeep:
    folder = tmp_path_factory.mktemp("words")
    made = Farkeep(folder / "home")
    made.init()
    (folder / "source").mkdir()
    (folder / "source/file").write_bytes(b"content")
    made.backup(folder / "source", name="docs")
    return made


def said(farkeep: Farkeep, *words: str) -> list[str]:
    return farkeep.run(*words, is_json=False).stderr.splitlines()


def test_quiet_says_nothing_and_verbose_says_more(farkeep: Farkeep, tmp_path: Path) -> None:
    source, target = str(farkeep.home.parent / "source"), str(tmp_path / "out")
    for words in (("backup", source, "--name", "docs"), ("verify",), ("restore", f"latest:{source}", "--to", target)):
        usual = said(farkeep, *words)
        assert usual != []
        assert said(farkeep, *words, "-q") == []
        more = said(farkeep, *words, "-v")
        assert len(more) > len(usual)
        assert f"{words[0]}: " in more[-1]
        assert "read from packs" in more[-1]


def on_a_terminal(farkeep: Farkeep, **variables: str) -> bytes:
    """What a failing command writes to a terminal."""
    leader, follower = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(farkeep.command("ls", "nonsense"), stdout=subprocess.DEVNULL, stderr=follower, check=False,
                   env={**environment, "TERM": "xterm", **variables})  # fmt: skip
    os.close(follower)
    written = os.read(leader, 4096)
    os.close(leader)
    return written


def test_colour_is_for_terminals_that_want_it(farkeep: Farkeep) -> None:
    assert b"\x1b[31m" in on_a_terminal(farkeep)
    assert b"\x1b" not in on_a_terminal(farkeep, NO_COLOR="1")
    assert b"\x1b" not in on_a_terminal(farkeep, TERM="dumb")


def test_workers_and_priorities_are_taken(farkeep: Farkeep, tmp_path: Path) -> None:
    """A command that is backed up tells under which niceness it runs."""
    words = ("backup", "--name", "told", "--stdin-from-command", "nice", "--stdin-name", "x")
    farkeep.run(*words, "--nice", "7", "--ionice", "idle", "--threads", "1")
    assert farkeep.run("cat", "told@latest:/x", is_json=False).stdout.splitlines()[0] == b"7"
    farkeep.run(*words, env={"FARKEEP_NICE": "8", "FARKEEP_THREADS": "2", "FARKEEP_IONICE": "best-effort:7"})
    assert farkeep.run("cat", "told@latest:/x", is_json=False).stdout.splitlines()[0] == b"8"
    for wrong in (("--nice", "99"), ("--threads", "none"), ("--ionice", "first")):
        assert farkeep.run("snapshots", *wrong, check=False).exit_code == 2
