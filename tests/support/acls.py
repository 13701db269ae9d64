"""POSIX ACLs as the raw values of their extended attributes.

Layout (Linux ``include/uapi/linux/posix_acl_xattr.h``): a 32-bit version 2, then entries of 16-bit tag, 16-bit
permissions and 32-bit id, all little-endian, ordered by tag and id. A folder may also carry a default list, which new
children inherit.
"""

import struct
from collections.abc import Mapping

ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"

_VERSION = 2
_USER_OBJECT, _USER, _GROUP_OBJECT, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF


def acl_value(
    owner: int, group: int, other: int, *, users: Mapping[int, int], groups: Mapping[int, int], mask: int = 7
) -> bytes:
    """The attribute's value. Permissions are 0..7; ``users`` and ``groups`` map ids to permissions."""
    entries = [
        (_USER_OBJECT, owner, _NO_ID),
        *((_USER, permissions, user) for user, permissions in sorted(users.items())),
        (_GROUP_OBJECT, group, _NO_ID),
        *((_GROUP, permissions, number) for number, permissions in sorted(groups.items())),
        (_MASK, mask, _NO_ID),
        (_OTHER, other, _NO_ID),
    ]
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
