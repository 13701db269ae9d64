"""Round trips for tests: a site that backs up anything and restores it anywhere, called directly."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from shared.randomness import SystemRandomness
from siteagent.home import Access, Home, World, open_home
from siteagent.jobs.backup import BackupRequest, BackupResult, back_up
from siteagent.jobs.initialise import NewHome, initialise
from siteagent.jobs.restore import RestoreRequest, RestoreResult, restore
from siteagent.ledger.state import SnapshotEntry
from siteagent.sources.base import View
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots


class LaterClock:
    """The system's clock, an hour ahead, so that no file looks as if it had just changed."""

    def now_ns(self) -> int:
        """Wall time."""
        return time.time_ns() + 3600 * 10**9

    def monotonic_ns(self) -> int:
        """Monotonic time."""
        return time.monotonic_ns()

    def sleep(self, wait_s: float) -> None:
        """Wait."""
        time.sleep(wait_s)


@dataclass
class Site:
    """A site whose home lies in `folder`/site/home and stays open. Options of requests go through as they are."""

    folder: Path
    has_processes: bool = False
    home: Home = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "site").mkdir()
        self.path = self.folder / "site" / "home"
        self.access = Access(str(self.path))
        self.world = World(LaterClock(), SystemRandomness(), network_kind=lambda _: None,
                           may_start_processes=self.has_processes, reserve_bytes=0)
        initialise(NewHome(self.access, "london", None), self.world)
        self.home = open_home(self.access, "test", self.world)

    def view(self, *paths: Path | bytes, folder: bytes = b"/") -> tuple[PosixView, tuple[bytes, ...]]:
        """A view of these roots, without the home, and the roots as they are recorded."""
        about = os.stat(self.path)
        node, roots = merge_roots([os.fsencode(path) for path in paths], folder)
        return PosixView(node, None, (about.st_dev, about.st_ino)), tuple(roots)

    def back_up(self, *paths: Path | bytes, folder: bytes = b"/", name: str = "docs") -> BackupResult:
        """Take a snapshot of these roots."""
        view, roots = self.view(*paths, folder=folder)
        return self.back_up_view(view, roots, name)

    def back_up_view(self, view: View, roots: tuple[bytes, ...], name: str = "docs") -> BackupResult:
        """Take a snapshot of a view."""
        return back_up(self.home, BackupRequest(name, roots, view, "user", "host"))

    def snapshot(self, result: BackupResult) -> SnapshotEntry:
        """The snapshot that a backup took."""
        entry = self.home.ledger.history().snapshot(result.snapshot)
        assert entry is not None
        return entry

    def restore(self, result: BackupResult, path: Path | bytes, target: Path, *, deletes: bool = False,
                deletes_unmarked: bool = False, is_dry_run: bool = False) -> RestoreResult:
        """Restore a path of a snapshot into `target`."""
        request = RestoreRequest(self.snapshot(result), os.fsencode(path), str(target), "user", "host")
        request = replace(request, deletes=deletes, deletes_unmarked=deletes_unmarked, is_dry_run=is_dry_run)
        return restore(self.home, [request])

    def reopen(self) -> None:
        """Close the home and open it again."""
        self.home.close()
        self.home = open_home(self.access, "test", self.world)


@contextmanager
def open_site(folder: Path, *, has_processes: bool = False) -> Iterator[Site]:
    """A site that is closed in the end."""
    site = Site(folder, has_processes)
    try:
        yield site
    finally:
        site.home.close()
