"""Bringing a home to the newest format, step by step, by its owner process.

What a crash between step n and n + 1 leaves, for each migration of the chain (migrations.homes):

| step | durable after it                            | a crash then leaves                                         |
| ---- | ------------------------------------------- | ----------------------------------------------------------- |
| 1    | H/format: the new version, `migrating_from` | a home that no older Farkeep opens, and this one only to go |
|      |                                             | on with step 2                                              |
| 2    | what the migration does, and every folder   | the same: it is done again                                  |
|      | that it looked into                         |                                                             |
| 3    | H/format: the new version                   | a migrated home                                             |
"""

from __future__ import annotations

from msgspec import Struct

from migrations.homes import Migration
from shared.errors import RefusedError
from shared.keyring import Keyring
from siteagent.disk.disk import Disk
from siteagent.disk.durable import read_whole, remove_quietly, write_durably
from siteagent.store.layout import Format, write_format

_FILE_MAX_BYTES = 1 << 30


class Migrated(Struct, frozen=True):
    """From which format to which a home was brought (the same: nothing was to be done), and by what, in words."""

    from_version: int
    to_version: int
    steps: tuple[str, ...] = ()


class HomeFiles:
    """The files of a home for a migration; siblings of what `migrations.homes.Files` promises."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._folders: set[str] = set()

    def list(self, folder: str) -> list[str]:
        """Names in a folder, sorted; none when it is not there."""
        self._folders.add(folder)
        return self._disk.list(folder)

    def read(self, path: str) -> bytes | None:
        """A whole file, or None when it is not there; raises HostileError when it is too long to be held in memory."""
        self._folders.add(_folder(path))
        try:
            return read_whole(self._disk, path, limit_bytes=_FILE_MAX_BYTES)
        except FileNotFoundError:
            return None

    def write(self, path: str, data: bytes) -> None:
        """A whole file, new or instead of the old one."""
        write_durably(self._disk, path, data)
        self._folders.add(_folder(path))

    def rename(self, source: str, target: str) -> None:
        """Another name, also in another folder."""
        self._folders |= {_folder(source), _folder(target)}
        self._disk.rename(source, target)
        if self._disk.size(source) is not None:
            # An earlier crash left both names of one file: giving it the name that it has changes nothing.
            self._disk.remove(source)
        # The new name first: a crash between the two leaves both names or the new one, never neither.
        self._disk.sync_folder(_folder(target))
        if _folder(source) != _folder(target):
            self._disk.sync_folder(_folder(source))

    def remove(self, path: str) -> None:
        """Take a file away."""
        self._folders.add(_folder(path))
        remove_quietly(self._disk, path)
        self._disk.sync_folder(_folder(path))

    def make_folder(self, path: str) -> None:
        """Make a folder."""
        self._folders |= {path, _folder(path)}
        self._disk.make_folder(path)
        self._disk.sync_folder(_folder(path))

    def settle(self) -> None:
        """Sync every folder that was asked for or changed.

        A run that was cut off may have given a name and not come to its sync; this one then found nothing left to do.
        """
        for folder in sorted(self._folders):
            self._disk.sync_folder(folder)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def migrate(disk: Disk, home: str, found: Format, keyring: Keyring, migrations: tuple[Migration, ...], *,
            is_asked: bool) -> Migrated:
    """Do what is left of the chain. The caller owns the home.

    Raises RefusedError, with nothing changed, when something is left that does more than add and `is_asked` is False.
    A migration that began is always ended: without that the home opens for nobody.
    """
    left = [migration for migration in migrations if migration.to_version > found.reached_version]
    is_begun = found.migrating_from != 0
    if left and not is_asked and not all(migration.is_adding for migration in left[is_begun:]):
        raise RefusedError(f"this home has format {found.reached_version}; this Farkeep keeps homes in format "
                           f"{left[-1].to_version}", subject=home,
                           next_step="copy the home if you may want to go back to the older Farkeep, then run "
                                     "`farkeep migrate`")  # fmt: skip
    for migration in left:
        version, site = migration.to_version, found.site
        write_format(disk, Format("home", version, site, migrating_from=version - 1))
        files = HomeFiles(disk)
        migration.run(files, keyring)
        files.settle()
        write_format(disk, Format("home", version, site))
    steps = tuple(migration.what for migration in left)
    return Migrated(found.reached_version, left[-1].to_version if left else found.version, steps)
