"""The driver of the installed command, tried on a stand-in that reports how it was called."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.farkeep import CommandError, Farkeep
from tests.support.scratch import scratch_folder

STAND_IN = r"""#!/bin/sh
case "$*" in
  *sleep*) sleep 600 & wait ;;
  *fail*) echo '{"error": {}}'; echo "it failed" >&2; exit 3 ;;
  *environment*) env ;;
  *where*) pwd; id -u; id -G ;;
  *input*) cat ;;
  *) for word in "$@"; do printf '[%s]' "$word"; done ;;
esac
"""


@pytest.fixture
def farkeep() -> Iterator[Farkeep]:
    with scratch_folder() as folder:
        folder.chmod(0o755)
        executable = folder / "stand-in"
        executable.write_text(STAND_IN)
        executable.chmod(0o755)
        yield Farkeep(folder / "home", executable=executable)


def words(farkeep: Farkeep, text: str) -> bytes:
    return b"[--home][" + os.fsencode(farkeep.home) + b"]" + text.encode("utf-8", "surrogateescape")


def test_the_command_beside_the_interpreter_is_the_default(tmp_path: Path) -> None:
    command = Farkeep(tmp_path).command("version")
    assert command[0] == os.fsencode(Path(sys.executable).parent / "farkeep")
    assert command[1:] == (b"--home", os.fsencode(tmp_path), b"version", b"--json")


def test_arguments_arrive_as_raw_bytes(farkeep: Farkeep) -> None:
    result = farkeep.run("backup", b"\xff\n name", Path("/a b"), "--", "-x")
    assert result.stdout == words(farkeep, "[backup][\udcff\n name][/a b][--json][--][-x]")
    assert farkeep.run("cat", "latest:/x", is_json=False).stdout == words(farkeep, "[cat][latest:/x]")


def test_helpers_form_their_commands(farkeep: Farkeep) -> None:
    assert farkeep.init().stdout == words(farkeep, "[init][--site][alpha][--no-recovery][--json]")
    assert farkeep.init("--recovery-out", "/r", site="b").stdout == words(
        farkeep, "[init][--site][b][--recovery-out][/r][--json]"
    )
    assert farkeep.backup("/p", "/q", name="n").stdout == words(farkeep, "[backup][/p][/q][--name][n][--json]")
    assert farkeep.restore("latest", Path("/t"), "--delete").stdout == words(
        farkeep, "[restore][latest][--to][/t][--delete][--json]"
    )
    assert farkeep.verify("--read-data").stdout == words(farkeep, "[verify][--read-data][--json]")
    assert farkeep.snapshots().stdout == words(farkeep, "[snapshots][--json]")


def test_a_failure_raises_with_all_that_was_said_unless_it_is_expected(farkeep: Farkeep) -> None:
    with pytest.raises(CommandError, match=r"exit code 3\n--- stdout\n.*error.*\n\n--- stderr\nit failed"):
        farkeep.run("fail")
    result = farkeep.run("fail", check=False)
    assert (result.exit_code, result.stderr, result.json()) == (3, "it failed\n", {"error": {}})


def test_output_that_is_not_one_document_raises(farkeep: Farkeep) -> None:
    with pytest.raises(CommandError, match="not one JSON document"):
        farkeep.run("version").json()


def test_the_environment_is_clean_and_home_is_gone_afterwards(
    farkeep: Farkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FARKEEP_HOME", "CREDENTIALS_DIRECTORY", "PYTHONPATH", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "from outside")
    output = farkeep.run("environment", env={"FARKEEP_PASSPHRASE_FILE": "/given"}).stdout.decode()
    seen = dict(line.split("=", 1) for line in output.splitlines())
    assert "from outside" not in seen.values()
    assert seen["FARKEEP_PASSPHRASE_FILE"] == "/given"
    assert seen["HOME"] != os.environ.get("HOME")
    assert not Path(seen["HOME"]).exists()


def test_working_folder_and_input(farkeep: Farkeep, tmp_path: Path) -> None:
    assert farkeep.run("where", cwd=tmp_path).stdout.splitlines()[0] == os.fsencode(tmp_path)
    assert farkeep.run("input", stdin=b"\0data\xff").stdout == b"\0data\xff"
    assert farkeep.run("input").stdout == b""


@pytest.mark.needs_root
def test_another_user_has_its_own_group_and_no_others(farkeep: Farkeep) -> None:
    assert farkeep.run("where", user=54321, cwd=Path("/")).stdout.splitlines() == [b"/", b"54321", b"54321"]
    assert farkeep.run("where", user="root", cwd=Path("/")).stdout.splitlines()[1:] == [b"0", b"0"]


def test_a_command_that_does_not_end_is_killed_with_its_children(farkeep: Farkeep) -> None:
    late = Farkeep(farkeep.home, executable=farkeep.home.parent / "stand-in", timeout_s=0.5)
    # The stand-in's child holds the pipes while it sleeps: the call returns only because the child was ended as well.
    with pytest.raises(CommandError, match=r"no end within 0\.5 s\n\$ .*sleep --json\nexit code -9\n"):
        late.run("sleep")


def test_a_started_command_is_the_callers_to_end(farkeep: Farkeep, tmp_path: Path) -> None:
    with farkeep.start("input", user_home=tmp_path) as process:
        output, _ = process.communicate(b"here")
    assert (output, process.returncode) == (b"here", 0)
