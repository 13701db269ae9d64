"""The words of a command line: global options anywhere, a command of one or two words, its own options and arguments.

`--home H --json backup PATH...` and `backup PATH... --home H --json` mean the same. Only the parser of the command that
is asked for is built (argparse: 3 ms to import, 5 ms to build one). `typing` and `dataclasses` alone cost more than
that, so the modules that every command needs (this one, run, session, output) do without them at run time.
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib import import_module

from shared.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

WAIT_FOR_EVER_S = 1e9
_ARGUMENT = "\0"
"""Marks a word that is an argument however it begins; no word of a command line can hold it."""
_SEE_HELP = "see `farkeep --help`"
_WITH_VALUE = frozenset({"--home", "--key-file", "--passphrase-file", "--threads", "--nice", "--ionice"})
_FLAGS = frozenset({"--json", "--jsonl", "-q", "--quiet", "-v", "--verbose", "--wait"})


class Command:
    """A command: the module that adds its options and runs it, its arguments, and what it does in one line."""

    __slots__ = ("arguments", "module", "summary")

    def __init__(self, module: str, arguments: str, summary: str) -> None:
        self.module, self.arguments, self.summary = module, arguments, summary


COMMANDS = {
    "init": Command("cmd_init", "--site NAME [options]", "make a home: keys, recovery shares, log"),
    "backup": Command("cmd_backup", "PATH... [options]", "take a snapshot of files, folders or a command's output"),
    "snapshots": Command("cmd_snapshots", "[--name NAME] [--forgotten]", "list snapshots, oldest first"),
    "ls": Command("cmd_ls", "SNAP[:PATH] [options]", "list what a snapshot holds"),
    "diff": Command("cmd_diff", "SNAP[:PATH] SNAP[:PATH] [options]", "say what changed between two snapshots"),
    "find": Command("cmd_find", "PATTERN [options]", "find files in all snapshots"),
    "history": Command("cmd_history", "PATH [--name NAME]", "list the versions of one file or folder"),
    "cat": Command("cmd_cat", "SNAP:PATH", "write a file of a snapshot to standard output"),
    "dump": Command("cmd_dump", "SNAP[:PATH]", "write a part of a snapshot to standard output as a tar archive"),
    "restore": Command("cmd_restore", "SNAP[:PATH]... --to DIR [options]", "bring files back into a folder"),
    "tag": Command("cmd_label", "SNAP... [--add T]... [--remove T]...", "give snapshots tags, or take them away"),
    "note": Command("cmd_label", "SNAP TEXT", "write a note to a snapshot (an empty one removes it)"),
    "forget": Command("cmd_forget", "SNAP... | --keep RULES [options]",
                      "want snapshots no more; they can be taken back until they are swept"),
    "unforget": Command("cmd_forget", "SNAP... | --all [--name NAME]", "take forgotten snapshots back"),
    "hold": Command("cmd_hold", "SNAP... | --name NAME | --everything [options]",
                    "keep snapshots from being forgotten and swept"),
    "holds": Command("cmd_hold", "", "list holds and locks"),
    "release": Command("cmd_hold", "HOLD [--reason TEXT]", "end a hold; a lock ends by time alone"),
    "stats": Command("cmd_stats", "", "say what the home holds and what it costs"),
    "verify": Command("cmd_verify", "[options]", "check that everything a snapshot needs is there and reads"),
    "prune": Command("cmd_prune", "[options]", "free the space of forgotten snapshots"),
    "repair index": Command("cmd_repair", "", "make the index again from the packs"),
    "repair packs": Command("cmd_repair", "", "copy what reads of damaged packs into sound ones"),
    "repair log": Command("cmd_repair", "", "take back snapshots that a log put back from an old copy lacks"),
    "migrate": Command("cmd_migrate", "", "bring a home of an older format to the one of this Farkeep"),
    "events": Command("cmd_events", "[options]", "show the event log"),
    "audit verify": Command("cmd_audit", "", "check chain and signatures of the event log"),
    "key show": Command("cmd_key", "", "show the keys of this site, without secrets"),
    "key rotate": Command("cmd_key", "[options]", "seal everything from now on under new keys"),
    "key split": Command("cmd_key", "[options]", "split the recovery key into a new set of shares"),
    "key passphrase": Command("cmd_key", "[options]", "set, change or remove the passphrase of the key file"),
    "key restore": Command("cmd_key", "[options]", "make a new key file from recovery shares"),
    "completion": Command("cmd_completion", "bash | zsh | fish", "print a script that lets a shell complete words"),
    "version": Command("cmd_version", "", "say which Farkeep this is"),
}
_GROUPS = frozenset(name.split()[0] for name in COMMANDS if " " in name)


class HelpAsked(Exception):  # noqa: N818 - it is an answer, not an error
    """`--help` was among the words; `text` is the answer."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class CommandParser(argparse.ArgumentParser):
    """An argparse parser whose complaints are typed errors."""

    def error(self, message: str) -> NoReturn:
        """Raise the complaint as UsageError."""
        raise UsageError(message.replace(_ARGUMENT, ""), subject=self.prog, next_step=f"see `{self.prog} --help`")


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        raise HelpAsked(parser.format_help())


class Parsed:
    """What was asked for: the command's name, and its options as argparse found them."""

    __slots__ = ("command", "options")

    def __init__(self, command: str, options: argparse.Namespace) -> None:
        self.command, self.options = command, options


def parse(words: Sequence[str]) -> Parsed:
    """Read a command line (without the program's name); raises UsageError or HelpAsked."""
    name, rest = _split(list(words))
    options = build_parser(name).parse_intermixed_args(_prepared(rest))
    for field, value in vars(options).items():
        setattr(options, field, _unmarked(value))
    return Parsed(name, options)


def build_parser(name: str) -> CommandParser:
    """The parser of one command's options and arguments."""
    command = COMMANDS[name]
    module = import_module(f"siteagent.cli.{command.module}")
    # A stated usage and width: working them out makes argparse import and ask for the size of the terminal every time.
    parser = CommandParser(
        prog=f"farkeep {name}", usage=f"farkeep {name} {command.arguments}".rstrip(), allow_abbrev=False,
        description=f"{command.summary[:1].upper()}{command.summary[1:]}.", add_help=False,
        formatter_class=partial(argparse.HelpFormatter, width=100, max_help_position=34),
    )  # fmt: skip
    module.add_options(parser, name)
    add_global_options(parser)
    return parser


def wants_json(words: Sequence[str]) -> bool:
    """True when a command line that may not even parse asks for JSON."""
    before_end = list(words)[: words.index("--")] if "--" in words else words
    return "--json" in before_end or "--jsonl" in before_end


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """The options that every command takes."""
    group = parser.add_argument_group("options of every command")
    group.add_argument("--home", metavar="H", help="the home's folder (or FARKEEP_HOME)")
    group.add_argument("--key-file", metavar="P", help="the site's key file, when it is not H.key")
    group.add_argument("--passphrase-file", metavar="F", help="a file with the passphrase of the key file")
    group.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    group.add_argument("--jsonl", action="store_true", help="lists: one JSON object per line, as they come")
    group.add_argument("--wait", type=float, metavar="SECONDS", help="wait while another command holds the home")
    group.add_argument("--threads", metavar="N", help="backup, restore, verify: so many workers (1: one process)")
    group.add_argument("--nice", metavar="N", help="give way to other programs: 0 (not at all) to 19")
    group.add_argument("--ionice", metavar="CLASS", help="give way on the disk: idle, best-effort:0 to best-effort:7")
    group.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    group.add_argument("-h", "--help", action=_Help, nargs=0, help="show this text")


def usage() -> str:
    """The text of `farkeep --help`."""
    lines = ["usage: farkeep [--home H] [--json] COMMAND ...", "", "commands:"]
    lines += [f"  {name:<16}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "`farkeep COMMAND --help` says more about each.", ""])


def _split(words: list[str]) -> tuple[str, list[str]]:
    """Find the words of the command among the global options; returns its name and all other words."""
    rest, name, at = list[str](), "", 0
    while at < len(words) and name not in COMMANDS:
        word, step = words[at], 1
        if word in ("-h", "--help"):
            raise HelpAsked(usage())
        if word == "--version" and not name:
            word = "version"
        if word.startswith("-") and word != "-":
            step = _global_step(words, at)
            rest += words[at : at + step]
        elif name or word not in _GROUPS:
            name = f"{name} {word}".strip()
            _require_command(name)
        else:
            name = word
        at += step
    _require_command(name)
    return name, rest + words[at:]


def _global_step(words: list[str], at: int) -> int:
    """How many words a global option before the command takes."""
    word = words[at]
    if word in _WITH_VALUE:
        return 2
    if word == "--wait":
        return 2 if at + 1 < len(words) and _is_number(words[at + 1]) else 1
    is_flags = word[:2] != "--" and set(word[1:]) <= {"q", "v"}
    if word in _FLAGS or is_flags or word.partition("=")[0] in {*_WITH_VALUE, "--wait"}:
        return 1
    raise UsageError("unknown option before the command", subject=word,
                     next_step="write the command first: `farkeep COMMAND --option`; see `farkeep --help`")


def _require_command(name: str) -> None:
    if name in COMMANDS:
        return
    group, _, action = name.partition(" ")
    known = [full.split()[1] for full in COMMANDS if full.startswith(f"{group} ")]
    if not name or known:
        next_step = f"write one of: {', '.join(f'`farkeep {group} {each}`' for each in known)}" if known else _SEE_HELP
        message = "there is no such command" if action else "a command is missing"
        raise UsageError(message, subject=f"farkeep {name}".strip(), next_step=next_step)
    from difflib import get_close_matches

    close = get_close_matches(name, COMMANDS, 1)
    raise UsageError("there is no such command", subject=name,
                     next_step=f"did you mean `{close[0]}`?" if close else _SEE_HELP)


def _prepared(words: list[str]) -> list[str]:
    """Words as argparse understands them in any order.

    A `--wait` without a number gets its value, so that it does not take the next argument for one. What follows `--` is
    marked as no option: `parse_intermixed_args` itself loses the `--` when nothing stands before it.
    """
    result = list[str]()
    for at, word in enumerate(words):
        if word == "--":
            return result + [_ARGUMENT + argument for argument in words[at + 1 :]]
        if word == "--wait" and not (at + 1 < len(words) and _is_number(words[at + 1])):
            word = f"--wait={WAIT_FOR_EVER_S:.0f}"
        result.append(word)
    return result


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    return value.removeprefix(_ARGUMENT) if isinstance(value, str) else value


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()

