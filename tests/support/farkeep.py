"""Drive the installed command as a user would: a process of its own, a clean environment, one JSON document back."""

import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 120.0
# All that a command inherits: nothing of the developer's own settings reaches it.
_INHERITED = frozenset({"PATH", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "CI"})

Argument = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class CommandError(AssertionError):
    """The command ended otherwise than the test demanded, or did not end in time; the message shows all it said."""


@dataclass(frozen=True)
class Result:
    """How one command ended; ``exit_code`` is minus the signal's number when a signal ended it."""

    command: tuple[bytes, ...]
    exit_code: int
    stdout: bytes
    stderr: str

    def json(self) -> Any:
        """The one document on standard output; CommandError when there is not exactly one."""
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            raise CommandError(f"standard output is not one JSON document: {error}\n{self.report()}") from error

    def report(self) -> str:
        """Command, exit code and both outputs, for the message of a failed test."""
        words = b" ".join(self.command).decode("utf-8", "backslashreplace")
        output = self.stdout[-20_000:].decode("utf-8", "backslashreplace")
        return f"$ {words}\nexit code {self.exit_code}\n--- stdout\n{output}\n--- stderr\n{self.stderr[-20_000:]}"


class Farkeep:
    """The installed command on one home."""

    def __init__(self, home: Path, *, executable: Path | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.home = home
        self._executable = executable or Path(sys.executable).parent / "farkeep"
        self._timeout_s = timeout_s

    def command(self, *args: Argument, is_json: bool = True) -> tuple[bytes, ...]:
        """The command line as raw bytes; ``--json`` comes last, but before a ``--``."""
        words = [os.fsencode(word) for word in args]
        if is_json:
            words.insert(words.index(b"--") if b"--" in words else len(words), b"--json")
        return (os.fsencode(self._executable), b"--home", os.fsencode(self.home), *words)

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
        """Run one command to its end. CommandError on a timeout, and with ``check`` on any exit code but 0.

        ``user`` needs root and an interpreter that user can reach; the command then has that user's own group (a
        number stands for both) and no others. Without ``stdin`` standard input is empty. HOME is a fresh folder that
        disappears afterwards, so nothing can be kept there.
        """
        with tempfile.TemporaryDirectory(prefix="farkeep-test-home-") as user_home:
            process = self.start(*args, user_home=Path(user_home), env=env, user=user, cwd=cwd, is_json=is_json)
            result = self._finished(process, stdin or b"")
        if check and result.exit_code != 0:
            raise CommandError(result.report())
        return result

    def start(
        self,
        *args: Argument,
        user_home: Path,
        env: Mapping[str, str] | None = None,
        user: str | int | None = None,
        cwd: Path | None = None,
        is_json: bool = True,
    ) -> subprocess.Popen[bytes]:
        """Start one command in a session of its own with pipes on all three sides; the caller ends it."""
        uid, gid = _ids(user)
        if uid is not None and gid is not None:
            os.chown(user_home, uid, gid)
        return subprocess.Popen(
            self.command(*args, is_json=is_json),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_clean_environment(user_home) | dict(env or {}),
            cwd=cwd,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            start_new_session=True,
        )

    def _finished(self, process: subprocess.Popen[bytes], stdin: bytes) -> Result:
        is_late = False
        try:
            stdout, stderr = process.communicate(stdin, timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            is_late = True
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
        command = tuple(os.fsencode(word) for word in _words(process))
        result = Result(command, process.returncode, stdout, stderr.decode("utf-8", "backslashreplace"))
        if is_late:
            raise CommandError(f"no end within {self._timeout_s} s\n{result.report()}")
        return result

    def init(self, *options: Argument, site: str = "alpha", check: bool = True) -> Result:
        """``init``, without recovery shares unless an option says otherwise."""
        names = {os.fsencode(option) for option in options}
        has_choice = names & {b"--recovery-out", b"--organisation", b"--no-recovery"}
        return self.run("init", "--site", site, *options, *(() if has_choice else ("--no-recovery",)), check=check)

    def backup(self, *paths: Argument, name: str | None = None, check: bool = True) -> Result:
        """``backup`` of paths (options may stand among them)."""
        return self.run("backup", *paths, *(() if name is None else ("--name", name)), check=check)

    def restore(self, spec: Argument, to: Path, *options: Argument, check: bool = True) -> Result:
        """``restore`` of one snapshot or path."""
        return self.run("restore", spec, "--to", to, *options, check=check)

    def verify(self, *options: Argument, check: bool = True) -> Result:
        """``verify``, of the index and tables only unless an option says more."""
        return self.run("verify", *options, check=check)

    def snapshots(self, *options: Argument, check: bool = True) -> Result:
        """``snapshots``."""
        return self.run("snapshots", *options, check=check)


def _clean_environment(user_home: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name in _INHERITED}
    return {"LANG": "C.UTF-8", **inherited, "HOME": str(user_home)}


def _ids(user: str | int | None) -> tuple[int | None, int | None]:
    if user is None:
        return None, None
    if isinstance(user, int):
        return user, user
    record = pwd.getpwnam(user)
    return record.pw_uid, record.pw_gid


def _words(process: subprocess.Popen[bytes]) -> tuple[Argument, ...]:
    words = process.args
    return (words,) if isinstance(words, str | bytes | os.PathLike) else tuple(words)
