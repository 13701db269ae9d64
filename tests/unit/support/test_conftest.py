"""What the whole run promises: tests that were not run are counted, in CI they fail, and nothing is left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.arch.code import ROOT

PASSING = "def test_passes(tmp_path):\n    (tmp_path / 'left').mkdir(mode=0)\n"
SKIPPED = "import pytest\n\ndef test_skips():\n    pytest.skip('no such thing here')\n" + PASSING
SKIPPED_FILE = "import pytest\n\npytest.importorskip('no_such_module_at_all')\n" + PASSING
FAILING = "def test_fails(tmp_path):\n    assert str(tmp_path) == ''\n" + PASSING
TALLIED = """
import pytest

@pytest.mark.parametrize("number", [3, 4])
def test_counts(tally, number):
    tally("flips", number)

def test_fails(tally):
    tally("flips", 100)
    assert False

def test_of_nothing(tally):
    tally("names", 0)
"""
NEEDS_ROOT = "import pytest\n\n@pytest.mark.needs_root\ndef test_mounts():\n    pass\n"


def run(folder: Path, text: str, **environment: str) -> tuple[int, str]:
    """Run one file of tests as `make test` does; returns the exit code and what was said."""
    (folder / "test_one.py").write_text(text)
    (folder / "temporary").mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(folder), str(folder / "test_one.py")],
        cwd=ROOT,
        env=kept | {"TMPDIR": str(folder / "temporary")} | environment,
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_what_was_not_run_is_counted_with_its_reason(tmp_path: Path) -> None:
    code, said = run(tmp_path, SKIPPED)
    assert code == 0, said
    assert "not run: 1 (1: no such thing here)\n" in said
    assert "1 passed, 1 skipped" in said.splitlines()[-1]


@pytest.mark.parametrize("text", [SKIPPED, SKIPPED_FILE], ids=["test", "file"])
def test_in_ci_it_is_a_failure(tmp_path: Path, text: str) -> None:
    code, said = run(tmp_path, text, CI="true")
    assert code != 0
    assert "CI=true" in said


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    code, said = run(tmp_path, PASSING)
    assert code == 0, said
    assert "not run: 0\n" in said
    assert list((tmp_path / "temporary").iterdir()) == []


def test_after_a_failure_its_files_stay_and_it_is_said_how_to_repeat_it(tmp_path: Path) -> None:
    code, said = run(tmp_path, FAILING)
    assert code == 1
    assert "again: .venv/bin/python -m pytest test_one.py::test_fails\n" in said
    (kept,) = (tmp_path / "temporary").iterdir()
    assert f"kept: {kept}\n" in said


def test_what_needs_root_is_not_run_by_others(tmp_path: Path) -> None:
    code, said = run(tmp_path, NEEDS_ROOT)
    assert code == 0, said
    assert ("not run: 0\n" if os.geteuid() == 0 else "not run: 1 (1: needs root)\n") in said


def test_what_was_tried_is_added_up_where_it_passed(tmp_path: Path) -> None:
    code, said = run(tmp_path, TALLIED)
    assert code == 1
    assert "\nflips: 7 in 2 tests, " in said
    assert "no names at all were tried" in said
