"""The set-up says in exactly one line what the machine lacks, whatever target was asked for."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.arch.code import ROOT

LINE = "Farkeep needs: apt install git make python3-venv\n"
TOOLS = ("sh", "make", "sed", "od", "tr", "cat", "dirname", "cksum", "expand")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with everything the set-up uses but git."""
    for name in TOOLS:
        place = shutil.which(name)
        assert place is not None
        (tmp_path / name).symlink_to(place)
    return tmp_path


@pytest.mark.parametrize("targets", [["demo"], ["test"], ["lint", "bench"]])
def test_a_missing_package_is_said_in_one_line(tools: Path, targets: list[str]) -> None:
    ended = subprocess.run(["make", *targets], cwd=ROOT, env={"PATH": str(tools)}, capture_output=True, text=True)
    assert ended.stdout + ended.stderr == LINE
    assert ended.returncode == 1


def test_nothing_is_asked_of_who_only_wants_the_list(tools: Path) -> None:
    ended = subprocess.run(["make"], cwd=ROOT, env={"PATH": str(tools)}, capture_output=True, text=True)
    assert "make demo" in ended.stdout
    assert ended.stderr == ""


def test_nothing_is_said_where_nothing_is_missing() -> None:
    ended = subprocess.run([str(ROOT / "scripts/setup"), "check"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
