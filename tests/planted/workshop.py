"""A copy of the project in which its code may be made wrong: with a command of its own that runs the copy's code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.arch.code import ROOT
from tests.planted.sabotage import Sabotage
from tests.support.scratch import scratch_folder, usual_place

TIMEOUT_S = 900.0
_FAILED, _SHOWN_CHARACTERS = 1, 600
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
"""The line of a summary that names what failed."""
_FOLDERS = ("siteagent", "shared", "migrations", "tests", "bench", "scripts", "docs")
_FILES = ("pyproject.toml", "Makefile")


class Workshop:
    """One copy; sabotages are tried in it one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
        for name in _FOLDERS:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=ignore, symlinks=True)
        # Tests hold the documents against the code: without them they would fail whatever the code does.
        for file in (*map(ROOT.joinpath, _FILES), *ROOT.glob("*.md")):
            shutil.copy(file, folder / file.name)
        self._make_environment()

    def _make_environment(self) -> None:
        """The interpreter and libraries of this run, but the copy's code: also for commands that tests start."""
        commands, libraries = self._folder / ".venv/bin", Path(sysconfig.get_paths()["purelib"])
        packages = self._folder / ".venv/lib" / libraries.parent.name / "site-packages"
        commands.mkdir(parents=True)
        packages.mkdir(parents=True)
        (packages / "copy.pth").write_text(f"{self._folder}\n{libraries}\n")
        python = commands / "python"
        python.symlink_to(os.path.realpath(sys.executable))
        home = Path(os.path.realpath(sys.executable)).parent
        (self._folder / ".venv/pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
        script = "import sys\nfrom siteagent.main import main\nsys.exit(main())\n"
        (commands / "farkeep").write_text(f"#!{python}\n{script}")
        (commands / "farkeep").chmod(0o755)

    def is_caught(self, sabotage: Sabotage) -> tuple[bool, str]:
        """Try one; says whether its test failed for its sake (it passes in the copy as it was), and else what
        happened."""
        before = sabotage.apply(self._folder)
        try:
            code, said = self.run(sabotage.caught_by.split())
        except subprocess.TimeoutExpired:
            return False, "the test did not end"
        finally:
            (self._folder / sabotage.path).write_text(before)
        failed = _FAILURE.search(said)
        if code != _FAILED or failed is None:
            return False, said[-_SHOWN_CHARACTERS:]
        code, said = self.run([failed[1]])
        return code == 0, f"without the sabotage, too: {said[-_SHOWN_CHARACTERS:]}"

    def run(self, tests: list[str]) -> tuple[int, str]:
        """Run some tests in the copy, in a temporary folder that no failure keeps; returns the exit code and what was
        said."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "FARKEEP_"))}
        python, options = str(self._folder / ".venv/bin/python"), ("-x", "-q", "-p", "no:cacheprovider")
        with scratch_folder(usual_place()) as temporary:
            command = [python, "-m", "pytest", *options, f"--basetemp={temporary / 'run'}", *tests]
            ended = subprocess.run(command, cwd=self._folder, env=kept, capture_output=True, text=True,
                                   timeout=TIMEOUT_S, check=False)  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr
