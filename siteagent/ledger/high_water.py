"""The high-water mark: the log's head, noted outside the home, so that a home put back from an old copy is noticed.

File (`H.head`, beside the home), numbers big endian:

| offset | size | meaning                                                                                   |
| ------ | ---- | ----------------------------------------------------------------------------------------- |
| 0      | 4    | magic "FKhw"                                                                              |
| 4      | 1    | version, 1                                                                                |
| 5      | 4    | key epoch whose mark key authenticates this file                                          |
| 9      | 88   | position: site (16), log epoch (32), sequence (8), hash (32)                              |
| 97     | 8    | inode number of the home's folder                                                         |
| 105    | 32   | keyed BLAKE3 of bytes 0 to 104 under the mark key                                         |

What it proves: a log that contains the marked position in the marked folder was not rewound behind it. It cannot help
when the mark itself was put back together with the home; packs and witnesses then tell.
"""

from __future__ import annotations

import enum
import struct

import msgspec

from shared.chain import POSITION_BYTES, Position, decode_position
from shared.epochkeys import EpochKeys
from shared.errors import FarkeepError
from shared.keyring import Keyring
from shared.sealing import keyed_id

MAGIC = b"FKhw"
VERSION = 1
HIGH_WATER_BYTES = 137

_HEAD = struct.Struct(f">4sBI{POSITION_BYTES}sQ")


class Verdict(enum.Enum):
    """How sure a server may be that its log is the newest there is."""

    FRESH = "fresh"
    """The log contains the mark, in the marked home: go on in this log epoch."""
    UNPROVEN = "unproven"
    """No mark, or another home: open a new log epoch before writing."""
    REWOUND = "rewound"
    """The log lacks the marked position: read-only until `repair log`."""
    DAMAGED = "damaged"
    """The newest fact does not read or is not signed: read-only; `audit verify` says where it begins."""


class HighWater(msgspec.Struct, frozen=True):
    """The newest head that was noted, and the inode number of the home it belonged to."""

    position: Position
    home_inode: int


def encode_high_water(mark: HighWater, keys: EpochKeys) -> bytes:
    """The bytes of H.head."""
    head = _HEAD.pack(MAGIC, VERSION, keys.number, mark.position.encode(), mark.home_inode)
    return head + keyed_id(keys.mark_key, head)


def read_high_water(data: bytes | None, keyring: Keyring) -> HighWater | None:
    """Read H.head; None when it is absent, damaged, another site's or of a newer Farkeep: it then proves nothing."""
    if data is None or len(data) != HIGH_WATER_BYTES or data[:4] != MAGIC or data[4] != VERSION:
        return None
    _, _, key_epoch, position, home_inode = _HEAD.unpack_from(data)
    try:
        mark_key = keyring.epoch(key_epoch).mark_key
    except FarkeepError:
        return None
    # Compared in ordinary time: who could measure it already reads and writes this file.
    if keyed_id(mark_key, data[: _HEAD.size]) != data[_HEAD.size :]:
        return None
    mark = HighWater(decode_position(position), home_inode)
    return mark if mark.position.site == keyring.site_id else None


def judge(mark: HighWater | None, is_contained: bool, home_inode: int) -> Verdict:
    """Compare the mark with what the log holds."""
    if mark is None:
        return Verdict.UNPROVEN
    if not is_contained:
        return Verdict.REWOUND
    return Verdict.FRESH if mark.home_inode == home_inode else Verdict.UNPROVEN
