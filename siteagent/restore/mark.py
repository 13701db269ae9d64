"""Marks of folders that were restored into: only there may `--delete` act without being asked twice.

File H/restores/<hex of the keyed BLAKE3 of the real path, 32 digits>: JSON {device, inode} of the folder. Keyed, so
that who has the disk alone cannot try which folders were restored into; marks under an unkeyed name are still read.
"""

from __future__ import annotations

import os

import msgspec

from shared.errors import FarkeepError
from shared.sealing import derive, digest, keyed_id
from shared.secret import Secret
from siteagent.disk.disk import Disk
from siteagent.disk.durable import read_whole, write_durably

_FOLDER = "restores"
_LIMIT_BYTES = 4096


class _Record(msgspec.Struct, frozen=True):
    device: int
    inode: int


class Marks(Secret, frozen=True):
    """The marks of one home; `secret` is one that stays as long as the home does."""

    disk: Disk
    secret: bytes

    def is_marked(self, target: str) -> bool:
        """True when this very folder was restored into."""
        path = os.fsencode(os.path.realpath(target))
        return any(self._is_mark(name, target) for name in (self._name(path), digest(path)))

    def _is_mark(self, name: bytes, target: str) -> bool:
        try:
            data = read_whole(self.disk, _path(name), limit_bytes=_LIMIT_BYTES)
            return msgspec.json.decode(data, type=_Record) == _record(target)
        except (FileNotFoundError, FarkeepError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    def _name(self, path: bytes) -> bytes:
        return keyed_id(derive("farkeep 2026 restore mark v1", self.secret), path)

    def make(self, target: str) -> None:
        """Mark a folder, before the first write into it."""
        if not self.is_marked(target):
            # A copy of a home may lack what was empty.
            self.disk.make_folder(_FOLDER)
            name = self._name(os.fsencode(os.path.realpath(target)))
            write_durably(self.disk, _path(name), msgspec.json.encode(_record(target)))


def _record(target: str) -> _Record:
    about = os.stat(target)
    return _Record(about.st_dev, about.st_ino)


def _path(name: bytes) -> str:
    return f"{_FOLDER}/{name.hex()[:32]}"
