"""A home whose clock can be wrong, and what each of its snapshots must read as."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from siteagent.home import Home
from siteagent.jobs.prune import PruneReport
from siteagent.ledger.state import SnapshotEntry
from tests.support.days import pruned
from tests.support.homes import LONG_AFTER_NS, Place, contents
from tests.support.wrongclock import WrongClock


class Wrong:
    """A home with three snapshots whose clock can be moved."""

    def __init__(self, folder: Path, now_ns: int = LONG_AFTER_NS) -> None:
        self.clock = WrongClock(now_ns)
        self.place = Place(folder, clock=self.clock).create()
        self.truth: dict[bytes, dict[bytes, bytes]] = {}
        self.written = 0
        with self.place.open() as home:
            for _ in range(3):
                self.take(home)

    def restart(self) -> None:
        """The machine starts anew: monotonic time begins somewhere else and proves nothing."""
        self.clock = self.place.clock = self.clock.started_anew()
        self.place.world = replace(self.place.world, clock=self.clock)

    def take(self, home: Home) -> bytes:
        """Take a snapshot of a source that has changed."""
        self.written += 1
        self.place.write(f"file {self.written % 7}", b"version %d " % self.written * 40)
        found = self.place.backup(home).snapshot
        files = self.place.source.iterdir()
        self.truth[found] = {self.place.path(file.name): file.read_bytes() for file in files}
        return found

    def prune(self) -> PruneReport:
        """One command."""
        with self.place.open() as home:
            return pruned(home)

    def entries(self) -> list[SnapshotEntry]:
        """The snapshots that are still there."""
        with self.place.open() as home:
            return home.ledger.history().snapshots

    def require_readable(self) -> None:
        """Every snapshot that is still there reads as it did."""
        with self.place.open() as home:
            for entry in home.ledger.history().snapshots:
                assert contents(home, entry) == self.truth[entry.id]
