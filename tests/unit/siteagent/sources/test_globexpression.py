"""Expressions that look for a place once match what the ordinary ones match: random patterns against random paths."""

from __future__ import annotations

import os
import random
import re
from unittest.mock import patch

import pytest
from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from shared.errors import UsageError
from shared.tree import folder_key
from siteagent.sources import pathpattern
from siteagent.sources.globexpression import with_one_try, within_components
from siteagent.sources.pathpattern import PathPattern
from siteagent.sources.selection import PatternSelection, Wanted

PIECES = ("a", "b", "ab", "*", "*", "?", "[ab]", "[!a]", "\\*", "**", "/", "/", "/**/")


def _pattern(chance: random.Random) -> str:
    return "".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 9)))


def _path(chance: random.Random) -> str:
    components = ["".join(chance.choice("ab*") for _ in range(chance.randrange(1, 6))) for _ in range(4)]
    return "/".join(components[: chance.randrange(1, 5)])


def _plain(line: str) -> GitIgnoreSpec:
    """What the library makes of a line, but for classes that match a slash."""
    read = GitIgnoreSpecPattern(line)
    quick = re.compile(within_components(read.regex.pattern)) if read.regex is not None else None
    return GitIgnoreSpec([GitIgnoreSpecPattern(quick, read.include)] if quick else [], backend="simple")


def test_excludes_match_what_the_library_matches() -> None:
    chance = random.Random(1)
    matches = 0
    for _ in range(3000):
        pattern = _pattern(chance)
        try:
            plain = _plain(f"/r/**/{pattern}" if "/" not in pattern.rstrip("/") else f"/r/{pattern.lstrip('/')}")
        except ValueError:
            continue
        if not pattern.strip("/ "):
            continue
        selection = PatternSelection(Wanted((pattern,)), [b"/r"])
        for _ in range(8):
            path, is_folder = f"r/{_path(chance)}", chance.random() < 0.3
            expected = plain.match_file(path + "/" * is_folder)
            found = selection.excludes(b"/r", os.fsencode(f"/{path}"), is_folder=is_folder, size_bytes=0)
            assert found is expected, (pattern, path, is_folder)
            matches += expected
    assert matches > 1000


def _ordinary(pattern: str) -> re.Pattern[str]:
    """The same language, written so that every way to match is tried."""
    parts = [part for part in pattern.split("/") if part]
    with patch.object(pathpattern, "with_one_try", lambda expression: expression):
        of = [pathpattern._of_component(part) for part in parts]
    text = "/" if pattern.startswith("/") else "/(?:[^/]+/)*"
    text += "".join("(?:[^/]+/)*" if part == "**" else one + "/"
                    for part, one in zip(parts[:-1], of[:-1], strict=True))  # fmt: skip
    return re.compile(text + ("(?:[^/]+/)*[^/]+" if parts[-1] == "**" else of[-1]))


def test_lookups_match_what_an_ordinary_expression_matches() -> None:
    chance = random.Random(2)
    matches = 0
    for _ in range(3000):
        pattern = _pattern(chance).rstrip("/")
        try:
            found, ordinary = PathPattern(pattern), _ordinary(pattern)
        except (UsageError, IndexError):
            continue
        for _ in range(8):
            components = [os.fsencode(part) for part in _path(chance).split("/")]
            folder = folder_key(components[:-1])
            is_there = bool(list(found.places(folder, [components[-1]], 0, 1)))
            expected = bool(ordinary.fullmatch("/" + os.fsdecode(b"/".join(components))))
            assert is_there is expected, (pattern, components)
            matches += expected
    assert matches > 1000


def test_a_class_does_not_match_a_slash() -> None:
    assert within_components(r"a[^b]\[[x/]") == r"a(?!/)[^b]\[(?!/)[x/]"
    selection = PatternSelection(Wanted(("a[!b]c", "x[+-:]y")), [b"/r"])
    for name, is_out in ((b"a/c", False), (b"x/y", False), (b"axc", True), (b"x,y", True)):
        assert selection.excludes(b"/r", b"/r/" + name, is_folder=False, size_bytes=0) is is_out


def test_only_pieces_between_two_stars_are_bound() -> None:
    assert with_one_try("a[^/]*b") == "a[^/]*b"
    assert with_one_try("[^/]*a[^/]*b/[^/]*") == "(?>[^/]*?a)[^/]*b/[^/]*"
    assert with_one_try("[^/]*[^/]*[^/]*") == "[^/]*"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("pattern", "name"), [
    ("[[a]", "["), ("[^[]", "a"), ("[]a]", "]"), ("[a&&b]", "&"), ("[~~]", "~"), ("[a||b]", "|"), ("[\\[]", "["),
])  # fmt: skip
def test_signs_of_sets_are_characters(pattern: str, name: str) -> None:
    """No warning that a later Python may read them otherwise."""
    assert re.fullmatch(within_components(pattern), name)
    selection = PatternSelection(Wanted(("x" + pattern,)), [b"/r"])
    assert selection.excludes(b"/r", b"/r/x" + name.encode(), is_folder=False, size_bytes=0)
