"""Retired segments: swept or superseded by a fact. No index row may lead to them, and no pack is damaged without them.

Their bytes may still lie in a pack: because a crash came first, because a file system cannot punch, or because a hole
ends at whole blocks. So that they are retired is known by their names alone, never by whether they still read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from siteagent.store.namebits import NameBits


class Retired:
    """The names of all retired segments; read from the log when it is first asked for."""

    def __init__(self, load: Callable[[], Sequence[bytes]]) -> None:
        """`load` returns sets of names (siteagent.store.nameruns.pack_names), oldest first; they only grow."""
        self._load = load
        self._lock = threading.Lock()
        self._names: NameBits | None = None
        self._count = 0

    def refresh(self) -> None:
        """Take in what was recorded since; raises what `load` raises."""
        # Not under the lock, as in siteagent.store.successors.
        loaded = self._load()
        with self._lock:
            if self._names is None or len(loaded) > self._count:
                self._names, self._count = NameBits(*loaded), len(loaded)

    def __contains__(self, name: object) -> bool:
        if self._names is None:
            self.refresh()
        return self._names is not None and name in self._names
