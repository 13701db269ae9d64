"""Where a tool keeps things during one round, what it backs up, and how large its repository became."""

import os
from dataclasses import dataclass
from pathlib import Path

PASSPHRASE = "benchmark"


@dataclass(frozen=True)
class Place:
    """The folder one tool keeps everything of one round in."""

    root: Path

    @property
    def repository(self) -> Path:
        """Return where the repository lies; the tool makes it."""
        return self.root / "repository"

    @property
    def home(self) -> Path:
        """Return the tool's HOME, with its configuration and caches."""
        return self.root / "home"

    @property
    def scratch(self) -> Path:
        """Return the tool's folder for temporary files."""
        return self.root / "scratch"

    @property
    def passphrase_file(self) -> Path:
        """Return the file with the passphrase."""
        return self.root / "passphrase"

    def prepare(self) -> None:
        """Make the folders and the passphrase file."""
        for folder in (self.root, self.home, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        self.passphrase_file.write_text(PASSPHRASE + "\n")


@dataclass(frozen=True)
class RepositorySize:
    """Bytes of a repository: sum of file sizes, allocated blocks, and the rebuildable index kept apart."""

    content_bytes: int
    allocated_bytes: int
    index_bytes: int = 0


@dataclass(frozen=True)
class Job:
    """One backup and its restore: `source` is an absolute path, `label` is unique within the repository."""

    place: Place
    source: Path
    label: str

    @property
    def target(self) -> Path:
        """Return the folder the backup is restored to; whoever restores makes it, empty."""
        return self.place.root / f"restored-{self.label}"

    @property
    def path_below_target(self) -> Path:
        """Return where the source's content lies once a tool has restored it with its whole path."""
        return self.target / self.source.relative_to("/")


def folder_size(folder: Path) -> RepositorySize:
    """Return the bytes of every file below `folder`; a missing folder has none."""
    content_bytes = allocated_bytes = 0
    for root, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(root, name))
            content_bytes += status.st_size
            allocated_bytes += status.st_blocks * 512
    return RepositorySize(content_bytes, allocated_bytes)
