"""A backup that stands still in the middle, holding its home, until the test lets it go."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.farkeep import Farkeep


class HeldBackup:
    """A running `backup --stdin-from-command` whose command waits for the test."""

    def __init__(self, process: subprocess.Popen[bytes], gate: Path) -> None:
        self.process, self._gate = process, gate

    def let_go(self) -> tuple[int, bytes, bytes]:
        """Let the command end well; returns exit code and both outputs."""
        with open(self._gate, "wb") as gate:
            gate.write(b"content")
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors


@contextmanager
def held_backup(farkeep: Farkeep, folder: Path, *options: str) -> Iterator[HeldBackup]:
    """Start it and wait until it holds the home; what still runs at the end is killed."""
    ready, gate = folder / "ready", folder / "gate"
    for fifo in (ready, gate):
        os.mkfifo(fifo)
    command = f"echo > {ready}; cat {gate}"
    process = farkeep.start("backup", "--name", "held", "--stdin-from-command", command, "--stdin-name", "x", *options,
                            user_home=folder)
    try:
        with open(ready, "rb") as line:
            assert line.read() == b"\n"
        yield HeldBackup(process, gate)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        with suppress(OSError):
            # What outlived the backup waits there for a writer; when it is there and gone, that is the end.
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        for fifo in (ready, gate):
            fifo.unlink()
