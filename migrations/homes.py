"""Migrations of homes: from each format of a home (H/format, siteagent.store.layout) to the next.

A format n + 1 adds one `Migration` at the end of `HOME_MIGRATIONS`, a golden home of format n and a test that migrates
it, stopped at every disk call. Rules for a migration:

- `run` may be stopped anywhere and is then run again from its beginning: a step asks what is there, not what was done.
- What is moved or rewritten is durable before what it came from goes. `Files` does each call durably.
- Only names and bytes of files change. The log is never rewritten: digests that facts name must stay true.
- One that only adds files (`is_adding`) is run by whichever command opens the home first. Any other waits for
  `farkeep migrate`, so that nobody is surprised by a home that an older Farkeep no longer opens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from shared.keyring import Keyring

FIRST_VERSION = 1


class Files(Protocol):
    """The files of a home; paths are relative to it. Every change is durable when the call returns."""

    def list(self, folder: str) -> list[str]:
        """Names in a folder, sorted; none when it is not there."""

    def read(self, path: str) -> bytes | None:
        """A whole file, or None when it is not there."""

    def write(self, path: str, data: bytes) -> None:
        """A whole file, new or instead of the old one."""

    def rename(self, source: str, target: str) -> None:
        """Another name, also in another folder; whatever had that name is replaced."""

    def remove(self, path: str) -> None:
        """Take a file away; harmless when it is not there."""

    def make_folder(self, path: str) -> None:
        """Make a folder; harmless when it is there."""


class Migration(Struct, frozen=True):
    """From the format before `to_version` to it: `what` says in words what is changed."""

    to_version: int
    what: str
    is_adding: bool
    run: Callable[[Files, Keyring], None]


HOME_MIGRATIONS: tuple[Migration, ...] = ()


def newest_version(migrations: tuple[Migration, ...]) -> int:
    """The format that a chain of migrations leads to."""
    return FIRST_VERSION + len(migrations)
