"""One sabotage: a line of the product made wrong on purpose, and the test that must notice."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class Sabotage(Struct, frozen=True):
    """`old` stands exactly once in the file at `path` (below the project) and becomes `new`; `caught_by` fails then."""

    what: str
    path: str
    old: str
    new: str
    caught_by: str

    def apply(self, folder: Path) -> str:
        """Make the line wrong in a copy of the project; returns the file as it was."""
        file = folder / self.path
        text = file.read_text()
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.what}: {self.old!r} stands {count} times in {self.path}, not once")
        file.write_text(text.replace(self.old, self.new))
        return text
