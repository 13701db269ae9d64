"""The words of a command line."""

import pytest

from shared.errors import UsageError
from siteagent.cli.parser import COMMANDS, WAIT_FOR_EVER_S, HelpAsked, parse, usage, wants_json


@pytest.mark.parametrize("words", [
    ["--home", "/h", "--json", "backup", "/p", "--name", "n", "/q"],
    ["backup", "/p", "--name", "n", "/q", "--home", "/h", "--json"],
    ["--home=/h", "backup", "--json", "/p", "/q", "--name=n"],
    ["backup", "--name", "n", "--home", "/h", "--json", "--", "/p", "/q"],
])  # fmt: skip
def test_global_options_and_arguments_may_stand_anywhere(words: list[str]) -> None:
    parsed = parse(words)
    options = parsed.options
    assert (parsed.command, options.home, options.json, options.name, options.paths) == (
        "backup", "/h", True, "n", ["/p", "/q"])  # fmt: skip


@pytest.mark.parametrize("words", [
    ["--json", "key", "rotate"], ["key", "--json", "rotate"], ["key", "rotate", "--json"]])  # fmt: skip
def test_a_command_of_two_words_is_one(words: list[str]) -> None:
    parsed = parse(words)
    assert parsed.command == "key rotate"
    assert parsed.options.json


def test_what_follows_two_dashes_is_no_option() -> None:
    assert parse(["backup", "--", "--name", "-x"]).options.paths == ["--name", "-x"]
    assert parse(["backup", "/p", "--name", "n", "--", "-x"]).options.paths == ["/p", "-x"]
    assert parse(["ls", "--limit", "3", "--", "-x"]).options.spec == "-x"
    assert not wants_json(["backup", "--", "--json"])
    assert wants_json(["backup", "--json", "--", "x"])


@pytest.mark.parametrize(("words", "seconds", "paths"), [
    (["backup", "/p"], None, ["/p"]), (["--wait", "backup", "/p"], WAIT_FOR_EVER_S, ["/p"]),
    (["--wait", "7", "backup", "/p"], 7.0, ["/p"]), (["backup", "--wait", "/p"], WAIT_FOR_EVER_S, ["/p"]),
    (["backup", "--wait", "0.5", "/p"], 0.5, ["/p"]), (["backup", "/p", "--wait"], WAIT_FOR_EVER_S, ["/p"]),
    (["backup", "--wait=3", "/p"], 3.0, ["/p"]), (["--wait=3", "backup", "/p"], 3.0, ["/p"]),
    (["backup", "--", "--wait"], None, ["--wait"]),
])  # fmt: skip
def test_wait_takes_a_number_only_when_one_follows(words: list[str], seconds: float | None, paths: list[str]) -> None:
    options = parse(words).options
    assert (options.wait, options.paths) == (seconds, paths)


@pytest.mark.parametrize(("words", "message", "next_step"), [
    ([], "a command is missing", "farkeep --help"),
    (["key"], "a command is missing", "`farkeep key show`, `farkeep key rotate`"),
    (["key", "melt"], "no such command", "`farkeep key show`, `farkeep key rotate`"),
    (["melt"], "no such command", "farkeep --help"),
    (["snapshots", "--", "-x"], "unrecognized arguments: -x", "farkeep snapshots --help"),
    (["bakcup"], "no such command", "did you mean `backup`?"),
    (["--quick", "backup"], "unknown option before the command", "write the command first"),
    (["backup", "--nmae", "x"], "unrecognized arguments: --nmae", "farkeep backup --help"),
    (["backup", "--name"], "expected one argument", "farkeep backup --help"),
    (["restore", "latest"], "--to", "farkeep restore --help"),
    (["backup", "--wait=soon", "/p"], "invalid float", "farkeep backup --help"),
    (["snapshots", "extra"], "unrecognized arguments: extra", "farkeep snapshots --help"),
    (["backup", "--rehash", "--recheck", "1/3", "/p"], "not allowed with", "farkeep backup --help"),
    (["backup", "--na", "x"], "unrecognized", "farkeep backup --help"),
    (["--home"], "a command is missing", "farkeep --help"),
])  # fmt: skip
def test_a_wrong_line_is_a_usage_error_that_says_what_to_do(words: list[str], message: str, next_step: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert message in caught.value.message
    assert next_step in caught.value.next_step


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--home", "x", "--help"], ["key", "--help"]])
def test_help_lists_all_commands(words: list[str]) -> None:
    with pytest.raises(HelpAsked) as caught:
        parse(words)
    assert caught.value.text == usage()
    assert all(f"  {name} " in caught.value.text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_takes_the_global_options(name: str) -> None:
    with pytest.raises(HelpAsked) as caught:
        parse([*name.split(), "--help"])
    assert f"usage: farkeep {name}" in caught.value.text
    assert all(option in caught.value.text for option in ("--home H", "--json", "--wait", "--passphrase-file F"))


def test_version_may_be_asked_for_as_an_option() -> None:
    assert parse(["--version"]).command == "version"


