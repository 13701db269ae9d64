"""Shell patterns as questions about single entries."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from shared.errors import UsageError
from shared.tree import folder_key, key_of
from siteagent.sources.pathpattern import PathPattern


def fits(pattern: str, path: str | bytes, *, ignores_case: bool = False) -> bool:
    """Asked as a catalog asks; what fits must lie in the pattern's range."""
    found = PathPattern(pattern, ignores_case=ignores_case)
    parts = os.fsencode(path).split(b"/")[1:]
    folder, name = folder_key(parts[:-1]), parts[-1]
    is_fit = list(found.places(folder, [b"", name, name], 0, 2)) == [1]
    key = key_of(folder, name)
    assert not is_fit or (key >= found.start and (not found.stop or key < found.stop))
    return is_fit


@pytest.mark.parametrize(("pattern", "yes", "no"), [
    ("*.txt", ["/a.txt", "/x/y/.txt", "/a\n.txt"], ["/a.txt/b", "/a.txtx"]),
    ("a?c", ["/abc", "/x/aäc"], ["/ac", "/abbc"]),
    ("[ab-d]", ["/a", "/c"], ["/e", "/-", "/ab"]),
    ("[!a]", ["/b", "/!"], ["/a"]), ("[^a]", ["/b"], ["/a"]),
    ("[]x]", ["/]", "/x"], ["/y"]), ("[!]]", ["/x"], ["/]"]), ("[", ["/["], ["/x"]), ("[a", ["/[a"], ["/a"]),
    ("\\*", ["/*"], ["/a"]), ("a\\", ["/a\\"], ["/a"]), ("#x", ["/#x"], ["/x"]),
    ("docs/*.txt", ["/docs/a.txt", "/home/me/docs/a.txt"], ["/mydocs/a.txt", "/docs/x/a.txt", "/a.txt"]),
    ("/docs/*.txt", ["/docs/a.txt"], ["/home/docs/a.txt", "/docs/x/a.txt"]),
    ("/home/**/x", ["/home/x", "/home/a/x", "/home/a/b/x"], ["/x", "/homes/x", "/home/xx"]),
    ("/home/**", ["/home/a", "/home/a/b"], ["/home", "/homes/a"]),
    ("**/x", ["/x", "/a/x"], ["/ax"]), ("/*/x", ["/a/x"], ["/x", "/a/b/x"]),
    ("/etc/passwd", ["/etc/passwd"], ["/etc/passwd-", "/etc", "/etc/passwd/x"]),
    ("//etc///passwd", ["/etc/passwd"], ["/passwd"]),
    ("sub/", ["/sub", "/x/sub"], ["/subs"]),
])  # fmt: skip
def test_what_a_pattern_fits(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not fits(pattern, path)] == []
    assert [path for path in no if fits(pattern, path)] == []


def test_names_that_are_no_text_are_found() -> None:
    assert fits("a*", b"/a\xff\xfe")
    assert fits(os.fsdecode(b"/x/\xff*"), b"/x/\xffy")
    assert fits("/x\0/y*", b"/x\0/y") is True


def test_case_is_ignored_when_asked_for() -> None:
    assert fits("/HOME/*.TXT", "/home/a.txt", ignores_case=True)
    assert not fits("/HOME/*.TXT", "/home/a.txt")


@pytest.mark.parametrize("pattern", ["", "/", "//", "!x", "[b-a]"])
def test_a_pattern_that_names_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        PathPattern(pattern)


def test_only_a_slash_at_the_end_asks_for_folders() -> None:
    assert PathPattern("/a/b/").is_folder_only
    assert not PathPattern("/a/b").is_folder_only


@pytest.mark.parametrize(("pattern", "inside", "outside"), [
    ("/a/b/*.txt", ["/a/b/x"], ["/a/b", "/a/c/x", "/a/b/c/x", "/z"]),
    ("/a/b/**/x", ["/a/b/x", "/a/b/c/d/x"], ["/a/b", "/a/c/x"]),
    ("/a/b", ["/a/b"], ["/a/c", "/a/b/c", "/a"]),
])  # fmt: skip
def test_a_fixed_beginning_bounds_where_to_look(pattern: str, inside: list[str], outside: list[str]) -> None:
    found = PathPattern(pattern)

    def is_in_range(path: str) -> bool:
        parts = path.encode().split(b"/")[1:]
        key = key_of(folder_key(parts[:-1]), parts[-1])
        return key >= found.start and (not found.stop or key < found.stop)

    assert all(map(is_in_range, inside))
    assert not any(map(is_in_range, outside))


NAMES = st.text(st.sampled_from("ab-]!*."), min_size=1, max_size=4).filter(lambda name: name.strip("*. ") != "")
PATTERNS = st.text(st.sampled_from("ab*?."), min_size=1, max_size=5).filter(lambda text: "**" not in text)


@given(PATTERNS, NAMES)
def test_a_single_name_means_what_it_means_as_an_exclude(pattern: str, name: str) -> None:
    excluded = GitIgnoreSpec.from_lines([pattern], backend="simple").match_file(name)
    assert fits(pattern, f"/{name}") == excluded

