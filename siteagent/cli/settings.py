"""Where the home and its key are: option > variable > H/farkeep.toml.

| what            | option            | variable                                                     | H/farkeep.toml  |
| --------------- | ----------------- | ------------------------------------------------------------ | --------------- |
| home            | --home            | FARKEEP_HOME                                                 | -               |
| key file        | --key-file        | FARKEEP_KEY_FILE                                             | key_file        |
| passphrase file | --passphrase-file | FARKEEP_PASSPHRASE_FILE, then $CREDENTIALS_DIRECTORY/farkeep | passphrase_file |
| time to recall  | --after (forget)  | -                                                            | sweep_after     |
| workers         | --threads         | FARKEEP_THREADS                                              | threads         |
| priority        | --nice            | FARKEEP_NICE                                                 | nice            |
| disk priority   | --ionice          | FARKEEP_IONICE                                               | ionice          |

`init --key-file` remembers the key file in H/farkeep.toml; relative paths there are taken relative to the home.
"""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Mapping
from typing import NamedTuple

from shared.errors import RefusedError, UsageError

FILE = "farkeep.toml"
_NUMBERS = frozenset({"threads", "nice"})
_KNOWN = frozenset({"key_file", "passphrase_file", "sweep_after", "ionice", *_NUMBERS})
_THREADS_MAX, _NICE_MIN, _NICE_MAX = 256, -20, 19
_DISK_PRIORITY = re.compile(r"idle|best-effort(?::([0-7]))?")
_LEVEL_USUAL = 4
"""What Linux gives to a program of niceness 0."""
_LIMIT_BYTES = 1 << 20


class DiskPriority(NamedTuple):
    """Which programs go first at the disk: only idle time is taken, or one's share at a level from 0 (high) to 7."""

    is_idle: bool
    level: int = 0


class Settings(NamedTuple):
    """What was found. Paths are absolute; empty where nothing was named, as is `sweep_after` (a length of time).

    `threads` 0: one per processor.
    """

    home: str
    key_file: str = ""
    passphrase_file: str = ""
    wait_s: float = 0.0
    sweep_after: str = ""
    threads: int = 0
    nice: int | None = None
    disk_priority: DiskPriority | None = None


def find_settings(options: Namespace, environment: Mapping[str, str]) -> Settings:
    """Bring options, variables and H/farkeep.toml together.

    Raises UsageError without a home or for a senseless number, RefusedError for a farkeep.toml that does not read.
    """
    home = options.home or environment.get("FARKEEP_HOME", "")
    if not home:
        raise UsageError("no home was named", subject="--home",
                         next_step="add `--home H`, or set FARKEEP_HOME to the home's folder")
    home = os.path.abspath(home)
    stored = read_file(os.path.join(home, FILE))
    key_file = options.key_file or environment.get("FARKEEP_KEY_FILE", "")
    return Settings(
        home=home,
        key_file=os.path.abspath(key_file) if key_file else _stored_path(home, stored, "key_file"),
        passphrase_file=_passphrase_file(options, environment) or _stored_path(home, stored, "passphrase_file"),
        wait_s=_wait(options.wait),
        sweep_after=stored.get("sweep_after", ""),
        threads=_number(_value("threads", options, environment, stored), "threads", 1, _THREADS_MAX) or 0,
        nice=_number(_value("nice", options, environment, stored), "nice", _NICE_MIN, _NICE_MAX),
        disk_priority=_disk_priority(_value("ionice", options, environment, stored)),
    )


def read_file(path: str) -> dict[str, str]:
    """The settings in a farkeep.toml; none when there is no file. Raises RefusedError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    return parse_file(data, path)


def parse_file(data: bytes, path: str) -> dict[str, str]:
    """The settings in the content of a farkeep.toml; raises RefusedError."""
    from tomllib import loads

    try:
        values = loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, str(error)) from error
    return {name: _text(path, name, value) for name, value in values.items()}


def encode_file(values: Mapping[str, str]) -> bytes:
    """The text of a farkeep.toml; raises RefusedError for a path that is no valid text."""
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in sorted(values.items())).encode()


def passphrase(settings: Settings) -> bytes | None:
    """The passphrase in the named file, or None when none was named; raises RefusedError."""
    return read_passphrase(settings.passphrase_file) if settings.passphrase_file else None


def read_passphrase(path: str) -> bytes:
    """The passphrase in a file; raises RefusedError."""
    from shared.keyfile import LIMIT_BYTES, passphrase_of

    try:
        with open(path, "rb") as file:
            return passphrase_of(file.read(LIMIT_BYTES + 3), subject=path)
    except OSError as error:
        raise RefusedError(f"the passphrase file cannot be read: {error.strerror}", subject=path,
                           next_step="check the path and its permissions") from error


def _passphrase_file(options: Namespace, environment: Mapping[str, str]) -> str:
    named = options.passphrase_file or environment.get("FARKEEP_PASSPHRASE_FILE", "")
    if named:
        return os.path.abspath(named)
    folder = environment.get("CREDENTIALS_DIRECTORY", "")
    handed_in = os.path.join(folder, "farkeep") if folder else ""
    return os.path.abspath(handed_in) if handed_in and os.path.exists(handed_in) else ""


def _stored_path(home: str, stored: Mapping[str, str], name: str) -> str:
    return os.path.normpath(os.path.join(home, stored[name])) if stored.get(name) else ""


def _text(path: str, name: str, value: object) -> str:
    is_number = name in _NUMBERS and isinstance(value, int) and not isinstance(value, bool)
    if name not in _KNOWN or not (isinstance(value, str) or is_number):
        raise _unreadable(path, f"`{name}` is no setting, or not a text")
    return str(value)


def _value(name: str, options: Namespace, environment: Mapping[str, str], stored: Mapping[str, str]) -> str:
    return getattr(options, name) or environment.get(f"FARKEEP_{name.upper()}", "") or stored.get(name, "")


def _number(text: str, name: str, low: int, high: int) -> int | None:
    if not text:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 4 and low <= int(text) <= high):
        raise UsageError(f"this is no number for --{name}", subject=text,
                         next_step=f"give a whole number from {low} to {high}")
    return int(text)


def _disk_priority(text: str) -> DiskPriority | None:
    if not text:
        return None
    match = _DISK_PRIORITY.fullmatch(text)
    if match is None:
        raise UsageError("this is no class for --ionice", subject=text,
                         next_step="write idle, best-effort, or best-effort:0 (first) to best-effort:7 (last)")
    return DiskPriority(text == "idle", int(match[1] or _LEVEL_USUAL) if text != "idle" else 0)


def _wait(value: float | None) -> float:
    if value is None:
        return 0.0
    if not 0 <= value <= 1e9:
        raise UsageError("this is no time to wait", subject=f"--wait {value}", next_step="give a number of seconds")
    return value


def _unreadable(path: str, reason: str) -> RefusedError:
    return RefusedError(f"the settings do not read: {reason}", subject=path,
                        next_step=f"correct the file; it may hold: {', '.join(sorted(_KNOWN))}")


def _quoted(value: str) -> str:
    """A TOML basic string (TOML 1.0, section String)."""
    if not value.isprintable():
        raise RefusedError("a path with control characters or half characters cannot be remembered", subject=value,
                           next_step="choose another path, or give it with every command")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
