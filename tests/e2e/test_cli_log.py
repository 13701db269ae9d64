"""H/farkeep.log: what it says, what it must not say, and that nothing fails because of it."""

import os
import re
from pathlib import Path

import pytest

from siteagent.disk.boundedlog import BoundedLog
from tests.support.farkeep import Farkeep
from tests.support.inside import InsideFarkeep, quick_driver

LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z) ([a-z-]+) ([a-z]+) exit=(\d+) seconds=\d+\.\d{3} "
                  r"errors=(\d+) warnings=(\d+)(?: facts=(\d+)-(\d+))?")  # fmt: skip


@pytest.fixture
def farkeep(tmp_path: Path) -> Farkeep:
    made = InsideFarkeep(tmp_path / "home")
    made.init(site="canary-site")
    (tmp_path / "canary-source").mkdir()
    (tmp_path / "canary-source/canary-file").write_bytes(b"canary-content")
    return made


def lines(farkeep: Farkeep) -> list[tuple[str, ...]]:
    """(command, outcome, exit code, errors, warnings) of every line."""
    found = [LINE.fullmatch(line) for line in (farkeep.home / "farkeep.log").read_text().splitlines()]
    return [match.group(2, 3, 4, 5, 6) if match else () for match in found]


def test_every_command_leaves_a_line_and_no_name(farkeep: Farkeep, tmp_path: Path) -> None:
    farkeep.backup(tmp_path / "canary-source", name="canary-name")
    farkeep.run("ls", f"canary-name@latest:{tmp_path}/canary-missing", check=False)
    farkeep.run("ls", "canary-other@latest", check=False)
    farkeep.run("backup", tmp_path / "canary-missing", check=False)
    (tmp_path / "list").write_bytes(bytes(tmp_path / "canary-source") + b"\0" + bytes(tmp_path / "canary-gone") + b"\0")
    farkeep.run("backup", "--files-from0", tmp_path / "list", "--name", "canary-name", check=False)
    farkeep.run("key", "show")
    assert [line[:4] for line in lines(farkeep)] == [
        ("init", "done", "0", "0"), ("backup", "done", "0", "0"), ("ls", "refused", "1", "1"),
        ("ls", "refused", "1", "1"), ("backup", "refused", "1", "1"), ("backup", "partial", "3", "0"),
        ("key-show", "done", "0", "0")]  # fmt: skip
    assert int(lines(farkeep)[5][4]) >= 1
    assert "canary" not in (farkeep.home / "farkeep.log").read_text()


def test_a_line_names_the_facts_that_were_recorded(farkeep: Farkeep, tmp_path: Path) -> None:
    farkeep.backup(tmp_path / "canary-source")
    rows = farkeep.run("events").json()
    backup, events = (farkeep.home / "farkeep.log").read_text().splitlines()[1:]
    match = LINE.fullmatch(backup)
    assert match is not None
    told = [row["kind"] for row in rows if int(match[7]) <= row["sequence"] <= int(match[8])]
    assert {"job.started", "snapshot.taken", "job.ended"} <= set(told)
    assert "facts" not in events


@pytest.mark.parametrize("words", [("version",), ("--help",), ("backup", "--help"), ("nonsense",), ("backup", "--no"),
                                   ("completion", "bash"), ("snapshots", "--names")])  # fmt: skip
def test_what_touches_no_home_leaves_no_line(farkeep: Farkeep, words: tuple[str, ...]) -> None:
    before = lines(farkeep)
    farkeep.run(*words, check=False, env={"FARKEEP_HOME": str(farkeep.home)})
    assert lines(farkeep) == before


def test_a_folder_that_is_no_home_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert quick_driver(tmp_path / "empty").snapshots(check=False).exit_code == 1
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize("obstacle", ["folder", "link", "full"])
def test_nothing_fails_because_of_it(
    farkeep: Farkeep, tmp_path: Path, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = farkeep.home / "farkeep.log"
    path.unlink()
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        monkeypatch.setattr(BoundedLog, "_open", lambda _: os.open("/dev/full", os.O_WRONLY))
    assert farkeep.backup(tmp_path / "canary-source").json()["files"] == 1
    result = farkeep.snapshots()
    assert (len(result.json()), result.stderr) == (1, "")
    assert not (tmp_path / "elsewhere").exists()
