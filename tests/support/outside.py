"""What of a home is not written through the seam: the database of the log, the index, the owner's lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

_DATABASE = "log.db"
_SHARED_MEMORY = "-shm"
"""Made anew by whoever opens the database first."""


class Outside:
    """Copies of these files of one home, by content, so that what did not change is copied once."""

    def __init__(self, home: str, store: str) -> None:
        os.makedirs(store, exist_ok=True)
        self._home, self._store = home, store
        self._log, self._index = os.path.join(home, "log"), os.path.join(home, "index")
        self._known: dict[str, tuple[tuple[int, int, int], str]] = {}

    def is_inside(self, path: str) -> bool:
        """True for a path that is written through the seam."""
        name = os.path.basename(path)
        return not (path.startswith(self._index + os.sep) or name == "owner" or name.startswith(_DATABASE))

    def _present(self) -> Iterator[str]:
        for folder in (self._log, self._index):
            if os.path.isdir(folder):
                for name in sorted(os.listdir(folder)):
                    if folder == self._index or (name.startswith(_DATABASE) and not name.endswith(_SHARED_MEMORY)):
                        yield os.path.join(folder, name)

    def keep(self) -> dict[str, str]:
        """Copy what changed since the last time; returns the copies by path below the home."""
        found = dict[str, str]()
        for path in self._present():
            try:
                about = os.stat(path)
                stamp = (about.st_ino, about.st_size, about.st_mtime_ns)
                known = self._known.get(path)
                # The clock of a file system ticks coarsely: a file that just changed may change again unseen.
                is_same = known is not None and known[0] == stamp and not path.startswith(self._log)
                kept = known[1] if known is not None and is_same else self._copy(path)
            except FileNotFoundError:
                continue
            self._known[path] = stamp, kept
            found[os.path.relpath(path, self._home)] = kept
        return found

    def _copy(self, path: str) -> str:
        with open(path, "rb") as file:
            data = file.read()
        kept = os.path.join(self._store, blake3(data).hexdigest())
        if not os.path.exists(kept):
            with open(kept, "wb") as file:
                file.write(data)
        return kept

    def clear(self) -> None:
        """Remove these files."""
        shutil.rmtree(self._index, ignore_errors=True)
        for name in os.listdir(self._log) if os.path.isdir(self._log) else []:
            if name.startswith(_DATABASE):
                os.unlink(os.path.join(self._log, name))

    def put_back(self, copies: dict[str, str]) -> None:
        """Make log or index what these copies say, as far as their folders are there."""
        log = {name for name in copies if name.startswith("log")}
        if log:
            for name in os.listdir(self._log):
                if name.startswith(_DATABASE):
                    os.unlink(os.path.join(self._log, name))
        for name, kept in copies.items():
            path = os.path.join(self._home, name)
            if os.path.isdir(os.path.dirname(path)):
                shutil.copyfile(kept, path)

    def lose_index(self, older: Path | None) -> None:
        """The index is a cache: it is gone, or an older one is there."""
        shutil.rmtree(self._index, ignore_errors=True)
        if older is not None and os.path.isdir(self._home):
            shutil.copytree(older, self._index)
