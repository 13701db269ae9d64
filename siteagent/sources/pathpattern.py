"""A shell pattern for looking things up: which paths it names, and where in a catalog they can lie.

The language is that of excludes (siteagent.sources.selection), read as a question about single entries: `*` and `?` do
not cross `/`, `**` stands for any number of folders, `[a-z]` and `[!a-z]` for one character, a backslash takes the next
character as it is, a `/` at the end asks for folders only. Without another `/` a pattern is compared with the last
component anywhere; with one it has to fit the last components, and beginning with `/` the whole path.

Names are raw bytes; they are compared as text, bytes that are no UTF-8 as half characters.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from shared.errors import UsageError
from shared.tree import components_of, folder_key, key_of, keys_below, keys_in
from siteagent.sources.globexpression import with_one_try, within_components

_SPECIAL = re.compile(r"[*?\[\\]")
_ANY_FOLDERS, _FEWEST_FOLDERS = "(?:[^/]+/)*", "(?:[^/]+/)*?"


class PathPattern:
    """A pattern, ready for use. Keys of what it names are not smaller than `start` and, unless it is empty, smaller
    than `stop`."""

    def __init__(self, text: str, *, ignores_case: bool = False) -> None:
        """Raises UsageError for a pattern that names nothing."""
        body = text.rstrip("/")
        parts = [part for part in body.split("/") if part]
        if not parts or text.startswith("!"):
            raise UsageError("this is no pattern", subject=text, next_step="write a name or a path, with * ? [] or **")
        self.is_folder_only = text.endswith("/")
        self._is_name = "/" not in body and body != "**"
        expression = (_of_component(parts[0]) if self._is_name
                      else _of_path(parts, is_floating=not body.startswith("/")))  # fmt: skip
        try:
            self._expression = re.compile(expression, re.DOTALL | (re.IGNORECASE if ignores_case else 0))
        except re.error as error:
            raise UsageError(f"this pattern cannot be understood: {error}", subject=text,
                             next_step="write \\[ for a bracket that stands for itself") from error
        self.start, self.stop = (b"", b"") if self._is_name or ignores_case else _range(body, parts)

    def places(self, folder: bytes, names: list[bytes], start: int, stop: int) -> Iterator[int]:
        """Places in `names`, from `start` to before `stop`, of the names in a folder (its key) that fit."""
        fits, front = self._expression.fullmatch, ""
        if not self._is_name:
            front = "".join(f"/{os.fsdecode(part)}" for part in components_of(folder)) + "/"
        for place in range(start, stop):
            if names[place] and fits(front + os.fsdecode(names[place])):
                yield place


def _of_path(parts: list[str], *, is_floating: bool) -> str:
    """The regular expression of several components; `is_floating`: any folders may stand in front."""
    text, stretch = "/", ""
    for part in parts[:-1]:
        if part != "**":
            stretch += _of_component(part) + "/"
            continue
        text += f"(?>{_FEWEST_FOLDERS}{stretch})" if is_floating and stretch else stretch
        is_floating, stretch = True, ""
    if parts[-1] == "**":
        text += f"(?>{_FEWEST_FOLDERS}{stretch})" if is_floating else stretch
        return text + f"{_ANY_FOLDERS}[^/]+"
    return text + (_ANY_FOLDERS if is_floating else "") + stretch + _of_component(parts[-1])


def _of_component(part: str) -> str:
    """The regular expression of one component."""
    found, at = list[str](), 0
    while at < len(part):
        character, at = part[at], at + 1
        if character == "*":
            found.append("[^/]*")
        elif character == "?":
            found.append("[^/]")
        elif character == "[" and (end := part.find("]", at + 1 + (part[at : at + 1] in ("!", "^")))) > 0:
            found.append(_of_class(part[at:end]))
            at = end + 1
        elif character == "\\" and at < len(part):
            found.append(re.escape(part[at]))
            at += 1
        else:
            found.append(re.escape(character))
    return within_components(with_one_try("".join(found)))


def _of_class(body: str) -> str:
    is_negated = body[0] in "!^"
    inside = re.sub(r"([\[\]&~|^\\])", r"\\\1", body[is_negated:])
    return f"[{'^' if is_negated else ''}{inside}]"


def _range(body: str, parts: list[str]) -> tuple[bytes, bytes]:
    """Where keys of paths that fit can lie: a folder's entries, or all below a folder."""
    if not body.startswith("/"):
        return b"", b""
    fixed = next((place for place, part in enumerate(parts) if _SPECIAL.search(part)), len(parts))
    above = folder_key([os.fsencode(part) for part in parts[: min(fixed, len(parts) - 1)]])
    if fixed == len(parts):
        key = key_of(above, os.fsencode(parts[-1]))
        return key, key + b"\0"
    return keys_in(above) if fixed == len(parts) - 1 and parts[-1] != "**" else keys_below(above)
