"""What the commands take, as values: the source of completion scripts and of the manual."""

from __future__ import annotations

from argparse import SUPPRESS, Action
from typing import NamedTuple

from siteagent.cli.parser import COMMANDS, CommandParser, add_global_options, build_parser


class Option(NamedTuple):
    """An option (`names`) or an argument (no names). `value` is empty for an option that takes none."""

    names: tuple[str, ...]
    value: str
    help: str

    @property
    def is_argument(self) -> bool:
        """True for what is written without a name."""
        return not self.names


class Described(NamedTuple):
    """A command as people write it; `options` are its own, without those of every command."""

    name: str
    usage: str
    summary: str
    options: tuple[Option, ...]


def describe(name: str) -> Described:
    """One command."""
    command = COMMANDS[name]
    known = {option.names for option in global_options()}
    options = [option for option in _options(build_parser(name)) if option.is_argument or option.names not in known]
    return Described(name, f"farkeep {name} {command.arguments}".rstrip(), command.summary, tuple(options))


def global_options() -> tuple[Option, ...]:
    """The options that every command takes."""
    parser = CommandParser(add_help=False)
    add_global_options(parser)
    return tuple(_options(parser))


def _options(parser: CommandParser) -> list[Option]:
    return [_option(action) for action in parser._actions if action.help != SUPPRESS]


def _option(action: Action) -> Option:
    value = ""
    if action.nargs != 0:
        metavar = action.metavar if isinstance(action.metavar, str) else (action.dest or "").upper().replace("_", "-")
        value = "|".join(action.choices) if action.choices else metavar
    return Option(tuple(action.option_strings), value, action.help or "")
