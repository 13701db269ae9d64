"""Recovery shares and the organisation's file: made, checked for a place to go, and written durably.

| file               | rights | is                                                                        |
| ------------------ | ------ | ------------------------------------------------------------------------- |
| share-1.txt ...    | 0600   | one share each (shared.shares): to be printed, spread and then deleted    |
| organisation.json  | 0600   | the public half (shared.organisation): other sites join with it           |
"""

from __future__ import annotations

import os

from msgspec import Struct

from shared.errors import RefusedError
from shared.organisation import Organisation, create, encode_organisation
from shared.sealing import KEY_SIZE_BYTES
from shared.shares import split
from siteagent.disk.durable import remove_quietly, write_durably
from siteagent.home import World

ORGANISATION_FILE = "organisation.json"


class ShareCount(Struct, frozen=True):
    """How many shares are needed, of how many."""

    needed: int = 2
    shares: int = 3


def new_organisation(name: str, count: ShareCount, world: World) -> tuple[Organisation, list[str]]:
    """A new organisation and the texts of its shares; raises RefusedError for a bad name or senseless numbers."""
    seed = world.randomness.bits(KEY_SIZE_BYTES)
    organisation = create(name, seed)
    return organisation, split(seed, organisation, count.needed, count.shares, world.randomness)


def require_free_folder(folder: str, home: str) -> None:
    """Refuse a folder inside the home, or one that holds shares or an organisation's file already."""
    inside, around = os.path.realpath(folder), os.path.realpath(home)
    if inside == around or inside.startswith(around + os.sep):
        raise RefusedError("recovery shares must not lie in the home that they are to recover", subject=folder,
                           next_step="name a folder elsewhere, best on a medium that leaves this machine")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise RefusedError("recovery shares need a folder, and this is none", subject=folder,
                           next_step="name a new or empty folder")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    there = sorted(name for name in names if name == ORGANISATION_FILE or _is_share(name))
    if there:
        raise RefusedError(f"there are recovery files already: {', '.join(there)}", subject=folder,
                           next_step="move them to their holders, or name another folder")


def write_recovery(folder: str, texts: list[str], organisation: Organisation, world: World) -> list[str]:
    """Write all files durably; returns the paths of the shares. On failure what was written is removed."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    disk = world.disk(folder)
    names = [f"share-{number}.txt" for number in range(1, len(texts) + 1)]
    try:
        for name, text in zip(names, texts, strict=True):
            write_durably(disk, name, text.encode())
        write_durably(disk, ORGANISATION_FILE, encode_organisation(organisation))
    except BaseException:
        remove_recovery(folder, len(texts), world)
        raise
    parent, name = os.path.split(os.path.abspath(folder))
    world.disk(parent).sync_folder("") if name else None
    return [os.path.join(folder, name) for name in names]


def remove_recovery(folder: str, count: int, world: World) -> None:
    """Remove what `write_recovery` wrote, when no home came of it."""
    disk = world.disk(folder)
    for name in [*(f"share-{number}.txt" for number in range(1, count + 1)), ORGANISATION_FILE]:
        remove_quietly(disk, name)


def _is_share(name: str) -> bool:
    return name.startswith("share-") and name.endswith(".txt")
