"""The layout of a home, and its format file.

```
H/format       JSON {"farkeep": "home", "version": 1, "site": hex of the site id}; written last when a home is made;
               while a home is migrated also "migrating_from": the version before (siteagent.migration)
H/keyring      wrapped keys (shared.keyringfile)
H/farkeep.toml settings, when there are any (siteagent.cli.settings)
H/owner        lock and note of the process that holds the home (siteagent.disk.owner)
H/log/         the event log (siteagent.ledger)
H/packs/       packs (siteagent.store.pack)
H/snapshots/   <snapshot id>.manifest (shared.manifest)
H/reaches/     <snapshot id> (siteagent.store.reach)
H/changes/     what was superseded and swept (siteagent.store.changes)
H/index/       RocksDB, a cache (siteagent.store.index)
H/farkeep.log  a line per command, without names (siteagent.cli.commandlog); .1 and .2 are older
H/reserve      room kept for the way out of a full disk (siteagent.disk.reserve)
H/restores/    marks of folders that were restored into (siteagent.restore.mark)
H.key, H.head  beside the home: the site's key file and the high-water mark of its log
```
"""

from __future__ import annotations

import msgspec

from shared.errors import DamagedError, RefusedError
from siteagent.disk.disk import Disk
from siteagent.disk.durable import read_whole, write_durably

FORMAT_FILE = "format"
KEYRING_FILE = "keyring"
FOLDERS = ("packs", "snapshots", "reaches", "index", "log", "restores", "changes")
_LIMIT_BYTES = 4096


class Format(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of the format file."""

    farkeep: str
    version: int
    site: str
    migrating_from: int = 0

    @property
    def reached_version(self) -> int:
        """The version of which everything is there: the one before while a migration is under way."""
        return self.migrating_from or self.version


def make_folders(disk: Disk) -> None:
    """Make the folders of a new home, durably."""
    for folder in FOLDERS:
        disk.make_folder(folder)
    disk.sync_folder("")


def write_format(disk: Disk, content: Format) -> None:
    """Declare the folder a home: the last step of making one."""
    write_durably(disk, FORMAT_FILE, msgspec.json.encode(content) + b"\n")


def read_format(disk: Disk, home: str, newest_version: int) -> Format:
    """Read the format file; `newest_version` is what this program knows.

    Raises RefusedError when this is no home or one of a newer Farkeep, DamagedError when the file is not readable.
    """
    try:
        data = read_whole(disk, FORMAT_FILE, limit_bytes=_LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise RefusedError("there is no Farkeep home here", subject=home,
                           next_step="make one with `farkeep init`, or name another with --home") from None
    except PermissionError:
        raise RefusedError("this user may not read the home", subject=home,
                           next_step="run as the user who made it (or as root)") from None
    try:
        found = msgspec.json.decode(data, type=Format)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError("the home's format file is not readable", subject=f"{home}/{FORMAT_FILE}",
                           next_step="put the file back from a copy; it says "
                                     '{"farkeep":"home","version":1,"site":"<site id>"}') from error
    if found.farkeep != "home" or not 1 <= found.version <= newest_version:
        raise RefusedError(f"this home has format {found.version}, made by a newer Farkeep", subject=home,
                           next_step="update Farkeep on this machine")
    return found


def require_site(found: Format, site: bytes, home: str) -> None:
    """Raise DamagedError when the format file and the keyring are of two sites."""
    if found.site != site.hex():
        raise DamagedError("the home's format file names another site than its keyring",
                           subject=f"{home}/{FORMAT_FILE}",
                           next_step=f'put the file back from a copy; "site" has to be "{site.hex()}" if the keyring '
                                     "belongs here")
