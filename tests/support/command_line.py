"""The command line inside the test's own process: words in, exit code and both outputs back, the world handed in."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.clock import SystemClock
from shared.randomness import SystemRandomness
from siteagent.cli.output import Output
from siteagent.cli.run import run
from siteagent.home import World


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it said."""

    code: int
    stdout: bytes
    stderr: str

    def json(self) -> Any:
        """The one document."""
        return json.loads(self.stdout)

    def lines(self) -> list[Any]:
        """One document per line."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def kind(self) -> str:
        """The kind of the error in the document."""
        return str(self.json()["error"]["kind"])


def local_world() -> World:
    """Real time and disks, but nothing outside this process."""
    return World(SystemClock(), SystemRandomness(), network_kind=lambda _: None, may_start_processes=False,
                 reserve_bytes=1 << 16)


@dataclass
class CommandLine:
    """Commands on one home."""

    home: Path
    world: World = field(default_factory=local_world)
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *words: str | Path, environment: Mapping[str, str] | None = None) -> Answer:
        """Run one command, its words exactly as given."""
        stdout, stderr = io.BytesIO(), io.StringIO()
        given = {**self.environment, **(environment or {})}
        code = run([str(word) for word in words], Output(stdout, stderr), given, self.world)
        return Answer(code, stdout.getvalue(), stderr.getvalue())

    def __call__(self, *words: str | Path, environment: Mapping[str, str] | None = None) -> Answer:
        """Run one command on the home, with `--json`."""
        return self.run("--home", self.home, "--json", *words, environment=environment)

    def good(self, *words: str | Path) -> Any:
        """Run a command that must succeed; returns its document."""
        answer = self(*words)
        assert answer.code == 0, answer
        return answer.json()
