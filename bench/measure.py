"""Runs one process and measures it: wall clock, CPU time and peak memory."""

import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

OUTPUT_TAIL_BYTES = 2000


@dataclass(frozen=True)
class Command:
    """A process to start: its arguments, its whole environment and its working folder."""

    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = Path("/")


@dataclass(frozen=True)
class Usage:
    """What one process took; CPU is user plus system, peak memory the largest resident set of a single process.

    The kernel counts the forking process's own resident set into the peak, so a driver must stay small itself.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int


class CommandError(Exception):
    """A measured process ended with another status than 0; the text carries the end of its output."""


def measure(command: Command, output: Path) -> Usage:
    """Run `command` to its end, both its output streams going to the file `output`.

    Raises CommandError unless it ended with 0. Another exception (an interrupt, say) ends the process first.
    """
    with output.open("wb") as sink:
        started_s = time.monotonic()
        process = subprocess.Popen(
            command.arguments,
            env=command.environment,
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall_s = time.monotonic() - started_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = output.read_bytes()[-OUTPUT_TAIL_BYTES:].decode("utf-8", "replace").strip()
        raise CommandError(f"{' '.join(command.arguments)}: ended with {process.returncode}: {tail}")
    return Usage(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
