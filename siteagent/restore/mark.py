"""Marks of folders that were restored into: only there may `--delete` act without being asked twice.

File H/restores/<hex of BLAKE3 of the real path, 32 digits>: JSON {device, inode} of the folder.
"""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct

from shared.errors import FarkeepError
from shared.sealing import digest
from siteagent.disk.disk import Disk
from siteagent.disk.durable import read_whole, write_durably

_FOLDER = "restores"
_LIMIT_BYTES = 4096


class _Record(msgspec.Struct, frozen=True):
    device: int
    inode: int


class Marks(Struct, frozen=True):
    """The marks of one home."""

    disk: Disk

    def is_marked(self, target: str) -> bool:
        """True when this very folder was restored into."""
        try:
            data = read_whole(self.disk, _path(target), limit_bytes=_LIMIT_BYTES)
            return msgspec.json.decode(data, type=_Record) == _record(target)
        except (FileNotFoundError, FarkeepError, msgspec.DecodeError):
            return False

    def make(self, target: str) -> None:
        """Mark a folder, before the first write into it."""
        if not self.is_marked(target):
            write_durably(self.disk, _path(target), msgspec.json.encode(_record(target)))


def _record(target: str) -> _Record:
    about = os.stat(target)
    return _Record(about.st_dev, about.st_ino)


def _path(target: str) -> str:
    return f"{_FOLDER}/{digest(os.fsencode(os.path.realpath(target))).hex()[:32]}"
