"""Writes the manual page docs/farkeep.1 from what the commands say of themselves (`make man`)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.errors import FarkeepError
from shared.version import VERSION
from siteagent.cli.grammar import Option, describe, global_options
from siteagent.cli.parser import COMMANDS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "farkeep.1"

_DESCRIPTION = """
Farkeep keeps backups of a site's machines in a
.I home\\fR:
de-duplicated, encrypted, point-in-time snapshots and a signed event log. A command opens the home, does its work and
gives the home back; one command at a time has it.
.PP
Tables and content go to standard output, prose to standard error. With
.B \\-\\-json
standard output receives exactly one document, also on failure; with
.B \\-\\-jsonl
lists come as one object per line.
"""
_SNAPSHOTS = """
.I SNAP
is an id, 6 or more digits of one,
.BR latest ,
.IB NAME @latest
or
.IB NAME @ TIME\\fR,
the last one of that name at or before a time: RFC 3339, or local time as 2026\\-11\\-23, 2026\\-11\\-23T07:30 or
2026\\-11\\-23T07:30:15. It ends at the first
.BR :/ ;
what follows the colon is the absolute path that was backed up:
.BR server@latest:/etc .
.PP
.I NAME
has 1 to 64 of the characters A\\-Z a\\-z 0\\-9 . _ \\-; it is not
.B latest
and not made of hexadecimal digits only.
"""
_PATTERNS = """
Patterns are those of .gitignore files:
.BR * ,
.B ?
and
.B [a\\-z]
do not cross a slash,
.B **
stands for any number of folders, a slash at the end asks for folders. Excludes and includes are read below each path
that is backed up or restored, and count for everything below what they fit.
.B find
compares a pattern without a slash with the last part of each path, one that begins with a slash with the whole path,
and any other one with the end of each path.
"""
_ENVIRONMENT = (
    ("FARKEEP_HOME", "the home, unless --home names one"),
    ("FARKEEP_KEY_FILE", "the site's key file, when it is not H.key"),
    ("FARKEEP_PASSPHRASE_FILE", "a file with the passphrase of the key file"),
    ("FARKEEP_THREADS, FARKEEP_NICE, FARKEEP_IONICE", "as the options of these names"),
    ("CREDENTIALS_DIRECTORY", "its file `farkeep` is the last place to look for a passphrase"),
    ("NO_COLOR", "when it is set, nothing is coloured; nor is it with TERM=dumb, which has no progress either"),
)
_FILES = (
    ("H", "the home: snapshots, keys (wrapped) and log"),
    ("H.key", "the site's key file: without it, or recovery shares, nothing can be opened; keep a copy elsewhere"),
    ("H.head", "how far the log has come, so that one put back from an old copy is noticed"),
    ("H/farkeep.toml", "settings: key_file, passphrase_file, threads, nice, ionice; options and variables go first"),
    ("H/farkeep.log", "a line per command, without names; two older files of 1 MiB are kept"),
)
_EXAMPLES = (
    ("farkeep init --home /srv/farkeep --site london --recovery-out shares", "make a home and its recovery shares"),
    ("farkeep backup /etc /var/lib --name server --exclude '*.tmp'", "back up two folders"),
    ("farkeep find 'report*.odt'", "look for a lost file in all snapshots"),
    ("farkeep history /etc/fstab", "see when it changed"),
    ("farkeep diff server@2026-11-22 server@latest", "see what a day brought"),
    ("farkeep restore server@latest:/etc --to restored-etc", "bring a folder back"),
    ("source <(farkeep completion bash)", "let the shell complete words"),
)


def manual() -> str:
    """The page in the language of man(7)."""
    lines = [
        f'.TH FARKEEP 1 "" "farkeep {VERSION}" "Farkeep"', ".SH NAME", "farkeep \\- federated backup", ".SH SYNOPSIS",
        ".B farkeep", ".RI [ options ]", ".I command", ".RI [ options ] \" \" [ arguments ]",
        ".SH DESCRIPTION", _DESCRIPTION.strip(), ".SH COMMANDS", *_commands(),
        ".SH OPTIONS OF EVERY COMMAND", *_options(global_options()),
        ".SH SNAPSHOTS AND THEIR NAMES", _SNAPSHOTS.strip(), ".SH PATTERNS", _PATTERNS.strip(),
        ".SH EXIT STATUS", *_exit_codes(), ".SH ENVIRONMENT", *_list(_ENVIRONMENT), ".SH FILES", *_list(_FILES),
        ".SH EXAMPLES", *_list(_EXAMPLES), ".SH SEE ALSO", ".BR gitignore (5),", ".BR nice (1),", ".BR ionice (1)",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _commands() -> Iterator[str]:
    for name in COMMANDS:
        command = describe(name)
        yield f".SS {_text(command.usage)}"
        yield _sentence(command.summary)
        yield from _options(command.options)


def _options(options: tuple[Option, ...]) -> Iterator[str]:
    for option in options:
        value = f" \\fI{_text(option.value)}\\fR" if option.value and option.names else ""
        names = ", ".join(f"\\fB{_text(name)}\\fR{value}" for name in option.names)
        yield ".TP"
        yield names or f"\\fI{_text(option.value)}\\fR"
        yield _sentence(option.help)


def _exit_codes() -> Iterator[str]:
    yield from _list([("0", "done")])
    families = sorted(FarkeepError.__subclasses__(), key=lambda family: family.exit_code)
    yield from _list([(str(family.exit_code), f"{family.kind}: {family.__doc__}") for family in families])
    yield from _list([("130, 143", "interrupted: what was acknowledged stands"),
                      ("141", "nobody reads standard output any more")])  # fmt: skip


def _list(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in rows:
        yield ".TP"
        yield f"\\fB{_text(term)}\\fR"
        yield _sentence(text)


def _sentence(text: str) -> str:
    begun = text[:1].upper() + text[1:] if text.split(" ")[0].isalpha() else text
    return _text(begun.rstrip(".")) + "."


def _text(text: str) -> str:
    """Text that means itself: no request, no escape, hyphens that can be copied."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{safe}" if safe.startswith(".") else safe


def main() -> int:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(manual())
    print(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
