"""Making a home: keys, organisation, log, and last the format file that declares it a home.

What a crash between step n and n + 1 leaves:

| step | durable after it                         | a crash then leaves                                                |
| ---- | ---------------------------------------- | ------------------------------------------------------------------ |
| 1    | the home's folder and the empty ones in  | empty folders: the next `init` uses them                           |
|      | it                                       |                                                                    |
| 2    | recovery shares and organisation.json    | shares of a seed that nothing is sealed to: `init` says that they  |
|      |                                          | are there; they are of no use                                      |
| 3    | key file                                 | a key that opens nothing: `init` refuses, and says to move it away |
| 4    | keyring                                  | no home yet: `init` says to remove the folder and the key file     |
| 5    | log with its opening fact                | the same                                                           |
| 6    | H.head beside the home                   | the same                                                           |
| 7    | file `format`: the commit                | a home                                                             |

Nothing can be backed up before step 7, so nothing can be lost before it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec import Struct

from migrations.homes import newest_version
from shared.errors import RefusedError
from shared.keyfile import KeyFile, encode_plain, encode_protected
from shared.keyring import Keyring
from shared.keyringfile import encode_keyring
from shared.organisation import Organisation
from siteagent.disk.durable import PART, write_durably
from siteagent.disk.reserve import RESERVE_FILE, Reserve
from siteagent.home import LOG_FOLDER, Access, World, require_local
from siteagent.ledger.ledger import Ledger
from siteagent.store.layout import FOLDERS, FORMAT_FILE, KEYRING_FILE, Format, make_folders, write_format


class NewHome(Struct, frozen=True):
    """What a new home is made with. `organisation` None: nobody can recover it without its key file.

    `keep_recovery` writes the recovery shares away durably before anything is sealed to them.
    """

    access: Access
    site_name: str
    organisation: Organisation | None
    keep_recovery: Callable[[], None] | None = None


def initialise(new: NewHome, world: World) -> bytes:
    """Make a home; returns the site's id. Raises RefusedError when there is one, or files stand in its way."""
    access = new.access
    _require_free(access)
    parent = os.path.dirname(access.home)
    _make_durably(parent, world)
    require_local(parent, world)
    disk, beside = world.disk(access.home), world.disk(parent)
    beside.make_folder(os.path.basename(access.home))
    beside.sync_folder("")
    make_folders(disk)
    Reserve(disk, world.reserve_bytes).make()
    if new.keep_recovery is not None:
        new.keep_recovery()
    secret = world.randomness.bits(32)
    keyring = Keyring.create(secret, new.organisation, world.randomness, world.clock)
    write_key_file(access, KeyFile(keyring.site_id, secret), world)
    write_durably(disk, KEYRING_FILE, encode_keyring(keyring))
    log = os.path.join(access.home, LOG_FOLDER)
    with Ledger.create(log, keyring, world.clock, world.randomness, site_name=new.site_name,
                       disk=world.disk(log)) as ledger:  # fmt: skip
        write_durably(beside, os.path.basename(access.home) + ".head", ledger.high_water())
    write_format(disk, Format("home", newest_version(world.migrations), keyring.site_id.hex()))
    return keyring.site_id


def _make_durably(folder: str, world: World) -> None:
    """Make a folder and those above it that are missing, each with its name synced."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        above = world.disk(os.path.dirname(path))
        above.make_folder(os.path.basename(path))
        above.sync_folder("")


def write_key_file(access: Access, key: KeyFile, world: World) -> None:
    """Write the site's key file durably, protected when there is a passphrase."""
    data = encode_plain(key) if access.passphrase is None else encode_protected(key, access.passphrase,
                                                                               world.randomness)  # fmt: skip
    folder, name = os.path.split(os.path.abspath(access.key_path))
    write_durably(world.disk(folder), name, data)


def _require_free(access: Access) -> None:
    if os.path.exists(os.path.join(access.home, FORMAT_FILE)):
        raise RefusedError("there is a home already", subject=access.home, next_step="use it, or choose another --home")
    if os.path.exists(os.path.join(access.home, KEYRING_FILE)):
        raise RefusedError("there is a home without its format file", subject=access.home,
                           next_step="was an `init` cut off here: remove this folder and its key file, then run `init` "
                                     "again; else put the file `format` back from a copy of the home")
    if os.path.isdir(access.home) and _foreign(access.home):
        raise RefusedError("the folder is not empty", subject=access.home, next_step="choose an empty or new folder")
    if os.path.exists(access.key_path):
        raise RefusedError("a key file is there already; it may be the only key to another home",
                           subject=access.key_path, next_step="move it away, or name another with --key-file")


def _foreign(home: str) -> list[str]:
    """What in a folder was not left by an `init` that was cut off before it wrote the keyring."""
    foreign = [name for name in os.listdir(home) if name not in (*FOLDERS, KEYRING_FILE + PART, RESERVE_FILE,
                                                           RESERVE_FILE + PART)]
    folders = [os.path.join(home, name) for name in FOLDERS]
    return foreign + [folder for folder in folders if os.path.isdir(folder) and os.listdir(folder)]
