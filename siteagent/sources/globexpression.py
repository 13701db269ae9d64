"""Regular expressions of shell patterns that come to an end soon, whatever the pattern and the name.

`*a*a*a*b` as an ordinary expression tries every way to spread the stars over a name like `aaaaaaaaa`: with ten stars
that takes years. Between two stars stands a piece of fixed length, so the first place where it fits is as good as any
later one; the same holds for whole components between two `**`. Such pieces become atomic groups, which never look for
another place. What is matched stays the same.
"""

from __future__ import annotations

import re

_STAR = "[^/]*"
_TOKENS = re.compile(r"(\[\^/\]\*|\[\^/\]|/)")
_CLASSES = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_SET_SIGNS = re.compile(r"\\.|\[|&(?=&)|~(?=~)|\|(?=\|)", re.DOTALL)
_GIT_FOLDERS = re.compile(r"(\^\(\?:\.\+/\)\?|\(\?:/\.\+\)\?)")
_LAZY = {"^(?:.+/)?": "^(?:.+?/)??", "(?:/.+)?": "(?:/.+?)??"}


def with_one_try(expression: str) -> str:
    """The same expression with pieces between two stars of a component as atomic groups; stars are `[^/]*`."""
    result, pieces = "", [""]
    for token in _TOKENS.split(expression):
        if token == "/":
            result, pieces = result + _joined(pieces) + "/", [""]
        elif token == _STAR:
            pieces.append("")
        else:
            pieces[-1] += token
    return result + _joined(pieces)


def _joined(pieces: list[str]) -> str:
    """The pieces of one component with a star between each two."""
    first, *others = pieces
    if not others:
        return first
    middle = "".join(f"(?>[^/]*?{piece})" for piece in others[:-1] if piece)
    return first + middle + _STAR + others[-1]


def gitignore_with_one_try(expression: str) -> str:
    """The same for what the library `pathspec` makes of a gitignore pattern, where `**` is `^(?:.+/)?` or `(?:/.+)?`.

    A stretch of components between two `**` ends at a slash, which belongs to what follows. No `[...]` of such a
    pattern matches a slash (the library's would; git's does not).
    """
    start, *rest = _GIT_FOLDERS.split(expression)
    stretches = list(zip(rest[::2], rest[1::2], strict=True))
    result = with_one_try(start)
    for place, (folders, stretch) in enumerate(stretches):
        if place == len(stretches) - 1:
            result += folders + with_one_try(stretch)
        else:
            result += f"(?>{_LAZY[folders]}{with_one_try(stretch)}(?=/))"
    return within_components(result)


def within_components(expression: str) -> str:
    """The same expression with classes of characters that do not match a slash."""
    return _CLASSES.sub(lambda found: _within_component(found[0]), expression)


def _within_component(token: str) -> str:
    if token[0] == "\\" or token == "[^/]":
        return token
    # A later Python may take these for operations on sets; in shell patterns they are characters.
    return "(?!/)[" + _SET_SIGNS.sub(lambda found: found[0] if len(found[0]) == 2 else "\\" + found[0], token[1:])
