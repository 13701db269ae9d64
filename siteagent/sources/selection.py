"""Which entries are wanted: gitignore patterns (with `!`), the last one that matches decides.

Patterns are relative to each root (`/x` and `a/b` are anchored there, `x` matches anywhere below); a pattern that
begins with the absolute path of a root means that absolute path. A pattern counts for everything below what it matches.

Matching is done by the library `pathspec` (GitIgnoreSpec) on absolute paths, so relative patterns get their root in
front. Names are raw bytes: they are decoded with surrogates for bytes that are no UTF-8, and a line feed in a name
becomes NUL, which no name can hold, because `.` and `$` of regular expressions treat line feeds unlike everything else.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Sequence

from msgspec import Struct
from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from shared.errors import RefusedError
from siteagent.sources.globexpression import gitignore_with_one_try

_SPECIAL = re.compile(r"([\\*?\[\]!# ])")
_WILD = re.compile(r"[\\*?\[]")


class Wanted(Struct, frozen=True):
    """What was asked for. Patterns are text with surrogates; without `includes` everything is included."""

    excludes: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    size_max_bytes: int | None = None


class _Rules(Struct, frozen=True):
    """The patterns as they read below one root; `holders`: literal beginnings of what is included, ending in `/`."""

    excluded: GitIgnoreSpec
    included: GitIgnoreSpec
    holders: tuple[str, ...]


class PatternSelection:
    """A Selection by patterns and size."""

    def __init__(self, wanted: Wanted, roots: Sequence[bytes]) -> None:
        """`roots`: absolute paths; raises RefusedError for a pattern that cannot be understood."""
        self._wanted = wanted
        self._roots = [_text(root) for root in roots]
        self._rules: dict[bytes, _Rules] = {}
        for root in roots:
            self._rules_of(root)

    def excludes(self, root: bytes, path: bytes, *, is_folder: bool, size_bytes: int) -> bool:
        """True when `path` (absolute, below `root`) is left out; a folder that may hold what is included stays."""
        wanted, rules = self._wanted, self._rules_of(root)
        if wanted.size_max_bytes is not None and size_bytes > wanted.size_max_bytes:
            return True
        text = _text(path)[1:] + ("/" if is_folder else "")
        if wanted.excludes and rules.excluded.match_file(text):
            return True
        if not wanted.includes or rules.included.match_file(text):
            return False
        return not (is_folder and any(known.startswith(text) or text.startswith(known) for known in rules.holders))

    def _rules_of(self, root: bytes) -> _Rules:
        rules = self._rules.get(root)
        if rules is None:
            text, wanted = _text(root), self._wanted
            excluded, included = (
                _compile([absolute_pattern(pattern, text, self._roots) for pattern in patterns], patterns)
                for patterns in (wanted.excludes, wanted.includes)
            )
            holders = tuple(_holder(pattern, text, self._roots) for pattern in wanted.includes if pattern[0] != "!")
            rules = self._rules[root] = _Rules(excluded, included, holders)
        return rules


def absolute_pattern(pattern: str, root: str, roots: Iterable[str]) -> str:
    """A pattern with its root in front, as a gitignore line that is anchored at `/`; raises RefusedError."""
    sign, body = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
    if not body.strip("/ "):
        raise RefusedError("a pattern is empty", subject=pattern, next_step="write what is to be left out, or `*`")
    body = body.replace("\n", "\0")
    if any(_is_at(body, known) for known in roots):
        return sign + body
    front = _SPECIAL.sub(r"\\\1", root.rstrip("/"))
    return f"{sign}{front}/{body.lstrip('/')}" if _is_anchored(body) else f"{sign}{front}/**/{body}"


def read_patterns(data: bytes) -> list[str]:
    """The patterns in a file, one per line; empty lines and lines that begin with `#` mean nothing."""
    lines = [os.fsdecode(line.removesuffix(b"\r")) for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _compile(lines: list[str], patterns: Sequence[str]) -> GitIgnoreSpec:
    compiled = []
    for line, pattern in zip(lines, patterns, strict=True):
        try:
            with warnings.catch_warnings():
                # A `[[` in a class; what comes of it is compiled once more below, as characters.
                warnings.simplefilter("ignore", FutureWarning)
                read = GitIgnoreSpecPattern(line)
            if read.regex is not None:
                quick = re.compile(gitignore_with_one_try(read.regex.pattern))
                compiled.append(GitIgnoreSpecPattern(quick, read.include))
        except (ValueError, re.error) as error:
            raise RefusedError(f"this pattern cannot be understood: {error}", subject=pattern,
                               next_step="write it as in a .gitignore file") from error
    # One backend on every machine: others that may be installed treat half characters differently.
    return GitIgnoreSpec(compiled, backend="simple")


def _holder(pattern: str, root: str, roots: Iterable[str]) -> str:
    """The path without its first `/` below which everything lies that a pattern can match."""
    body = pattern.replace("\n", "\0")
    start = "" if any(_is_at(body, known) for known in roots) else root.strip("/") + "/"
    if not _is_anchored(body):
        return start.lstrip("/")
    wild = _WILD.search(body)
    literal = body[: wild.start()].rpartition("/")[0] if wild else body
    holder = (start + literal.strip("/")).strip("/")
    return holder + "/" if holder else ""


def _is_anchored(body: str) -> bool:
    return "/" in body.rstrip("/")


def _is_at(body: str, root: str) -> bool:
    """True when a pattern begins with a root's absolute path."""
    return root != "/" and (body == root or body.startswith(root + "/"))


def _text(path: bytes) -> str:
    return os.fsdecode(path).replace("\n", "\0")
