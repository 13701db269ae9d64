"""A source that changes from day to day, its snapshots, and what each of them must read as after a prune."""

from __future__ import annotations

import random
from pathlib import Path

from siteagent.home import Home
from siteagent.jobs.prune import PruneReport, PruneRequest, prune
from siteagent.jobs.record import Who, recorded
from siteagent.jobs.verify import verify
from tests.support.determined import StandingClock
from tests.support.homes import Place, contents, incompressible

DAY_NS = 86_400 * 10**9
Truth = dict[bytes, dict[bytes, bytes]]


def pruned(home: Home, *, is_now: bool = False, is_dry_run: bool = False, budget_bytes: int = 1 << 30) -> PruneReport:
    """Prune."""
    return prune(home, PruneRequest(Who("user", "host"), is_now, is_dry_run, budget_bytes))


class Days:
    """A home and what each of its snapshots must read as."""

    def __init__(self, place: Place) -> None:
        self.place, self.truth = place, Truth()

    def take(self, home: Home) -> bytes:
        """Take a snapshot."""
        found = self.place.backup(home).snapshot
        self.note(found)
        return found

    def note(self, snapshot: bytes) -> None:
        """The source as it is now is what this snapshot must read as."""
        source = self.place.source
        files = (file for file in source.rglob("*") if file.is_file())
        self.truth[snapshot] = {self.place.path(str(file.relative_to(source))): file.read_bytes() for file in files}

    def change(self, day: int, count: int = 12) -> None:
        """Change some small files; a large one grows."""
        chance = random.Random(day)
        for number in chance.sample(range(count), 3):
            self.place.write(f"many/{number}", incompressible(f"{day} {number}", 4_000 + 3_000 * number))
        if day == 0:
            for number in range(count):
                self.place.write(f"many/{number}", incompressible(f"first {number}", 4_000 + 3_000 * number))
        self.place.write("large", b"".join(incompressible(f"large {max(0, day - n)}", 90_000) for n in range(3)))

    def require_whole(self, home: Home) -> None:
        """Nothing is damaged, and every snapshot that is left reads as it did."""
        found = verify(home, "read-data")
        assert (found.problems, found.damaged) == ([], [])
        for entry in home.ledger.history().snapshots:
            assert contents(home, entry) == self.truth[entry.id]


def eight_days(folder: Path) -> Days:
    """A home with the snapshots of eight days."""
    place = Place(folder).create()
    made = Days(place)
    with place.open() as home:
        for day in range(8):
            made.change(day)
            made.take(home)
    return made


def days_pass(home: Home, clock: StandingClock, count: int) -> None:
    """So many days go by, and each of them something is recorded."""
    for _ in range(count):
        clock.time_ns += DAY_NS
        with recorded(home, "verify", Who("user", "host"), (), is_reading=True):
            pass


def ids(home: Home) -> list[bytes]:
    """The snapshots of the log."""
    return list(home.ledger.history().snapshot_ids)
