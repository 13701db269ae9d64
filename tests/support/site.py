"""A home beside a source, used through the command line and opened in the test's own process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from siteagent.home import Access, Home, open_home
from siteagent.jobs.record import Who
from siteagent.ledger.state import SnapshotEntry
from tests.support.command_line import CommandLine, local_world

WHO = Who("tester", "bench")


@dataclass
class Site:
    """The home, its source, and commands on both."""

    folder: Path
    commands: CommandLine

    @property
    def source(self) -> Path:
        """What is backed up."""
        return self.folder / "source"

    @property
    def access(self) -> Access:
        """How to open the home."""
        return Access(str(self.commands.home))

    def path(self, name: str | bytes = b"") -> bytes:
        """The absolute path of something in the source."""
        return os.path.join(os.fsencode(self.source), os.fsencode(name)).rstrip(b"/")

    def open(self) -> Home:
        """Open the home; the caller closes it."""
        return open_home(self.access, "test", local_world())

    def backup(self, *options: str) -> str:
        """Take a snapshot of the source; returns its id."""
        return str(self.commands.good("backup", self.source, "--name", "docs", *options)["snapshot"])


def fill(source: Path) -> None:
    """A file in three chunks, small ones with odd names, links, a hole, a fifo, attributes."""
    (source / "sub").mkdir()
    (source / "sub/small").write_bytes(b"small content")
    (source / "large").write_bytes(bytes(range(256)) * 3000)
    (source / "empty").touch()
    (Path(os.fsdecode(os.fsencode(source) + b"/odd\n\xff\x1b[1m"))).write_bytes(b"odd")
    os.link(source / "sub/small", source / "sub/hard")
    os.symlink("sub/small", source / "link")
    os.mkfifo(source / "fifo", 0o600)
    with open(source / "sparse", "wb") as file:
        file.seek(3 << 20)
        file.write(b"end")
    os.utime(source / "sub/small", ns=(0, -1_500_000_001))
    (source / "large").chmod(0o640)


def newest(home: Home) -> SnapshotEntry:
    """The newest snapshot."""
    entry = home.ledger.history().newest_snapshot()
    assert entry is not None
    return entry
