"""Extended attributes as raw names and values; POSIX ACLs are among them (`system.posix_acl_*`).

Encoding: per attribute, sorted by name: name length u16, value length u32 (little endian), name, value.
"""

from __future__ import annotations

import errno
import os

from shared.errors import DamagedError, HostileError

ABSENT = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENODATA, errno.ENOSYS}
VALUE_MAX = 1 << 16
ATTRIBUTES_MAX = 1 << 12


def read_xattrs(where: int | bytes) -> bytes:
    """All attributes of an open file, or of a path (links not followed); empty when there are none or it cannot."""
    try:
        names = os.listxattr(where) if isinstance(where, int) else os.listxattr(where, follow_symlinks=False)
    except OSError as error:
        if error.errno in ABSENT:
            return b""
        raise
    return _read_named(where, names) if names else b""


def _read_named(where: int | bytes, names: list[str]) -> bytes:
    pairs = {}
    for name in names:
        try:
            raw = os.fsencode(name)
            pairs[raw] = (
                os.getxattr(where, raw) if isinstance(where, int) else os.getxattr(where, raw, follow_symlinks=False)
            )
        except OSError as error:
            if error.errno not in ABSENT:
                raise
    return encode_xattrs(pairs)


def encode_xattrs(pairs: dict[bytes, bytes]) -> bytes:
    """Encode attributes."""
    return b"".join(
        len(name).to_bytes(2, "little") + len(value).to_bytes(4, "little") + name + value
        for name, value in sorted(pairs.items())
    )


def decode_xattrs(data: bytes) -> dict[bytes, bytes]:
    """Decode attributes; raises DamagedError or HostileError."""
    pairs: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        middle = at + 6 + int.from_bytes(data[at : at + 2], "little")
        end = middle + int.from_bytes(data[at + 2 : at + 6], "little")
        if end > len(data) or at + 6 > len(data) or len(pairs) >= ATTRIBUTES_MAX:
            raise DamagedError("extended attributes are not well formed", next_step="run `farkeep verify --read-data`")
        name = data[at + 6 : middle]
        if not name or 0 in name:
            raise HostileError("an extended attribute has no name",
                               next_step="do not trust where this came from; run `farkeep verify`")
        pairs[name] = data[middle:end]
        at = end
    return pairs
