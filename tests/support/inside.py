"""The driver of tests/support/farkeep.py without a process per command: four times as fast, same words, same answers.

What only a process can show (signals, pipes, start-up, a home in use) is tested with the real one; a long run
(FARKEEP_TEST_LONG=1) uses the real one everywhere.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from siteagent.cli.output import Output
from siteagent.cli.run import run
from tests.support.command_line import local_world
from tests.support.farkeep import Argument, CommandError, Farkeep, Result


class InsideFarkeep(Farkeep):
    """Commands that run in the test's own process, with the system's clock, randomness and disk."""

    def run(
        self,
        *args: Argument,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        user: str | int | None = None,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        is_json: bool = True,
    ) -> Result:
        """Run one command to its end, as `Farkeep.run` does; `user` is not possible here."""
        assert user is None
        command = self.command(*args, is_json=is_json)
        stdout, stderr = io.BytesIO(), io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin or b""))))
            if cwd is not None:
                stack.enter_context(contextlib.chdir(cwd))
            code = run(list(map(os.fsdecode, command[1:])), Output(stdout, stderr), dict(env or {}), local_world())
        result = Result(command, code, stdout.getvalue(), stderr.getvalue())
        if check and code != 0:
            raise CommandError(result.report())
        return result


def quick_driver(home: Path) -> Farkeep:
    """The driver for tests of which there are many."""
    return Farkeep(home) if os.environ.get("FARKEEP_TEST_LONG") == "1" else InsideFarkeep(home)
