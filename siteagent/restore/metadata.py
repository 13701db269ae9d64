"""Owners, modes, attributes and times of restored entries; what this user may not apply is counted, not hidden.

Order: owner, extended attributes (ACLs among them), mode, times. Changing the owner drops file capabilities and setuid
bits, so it comes first; setting an ACL changes the mode, so the mode follows.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from msgspec import Struct

from siteagent.sources.xattrs import decode_xattrs
from siteagent.store.entry import Entry

_SPECIAL = 0o7000
_RISING = stat.S_ISUID | stat.S_ISGID
_OWNER_WRITES = 0o200
"""Without it only root may set attributes."""
_REFUSED = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ERANGE,
            errno.ENOSPC, errno.EOVERFLOW}  # fmt: skip


Where = int | bytes
"""An open handle, or a path through /proc/self/fd that leads to one inode."""


class Wanted(NamedTuple):
    """The metadata that an entry shall have."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: bytes


class Applier(Struct):
    """Applies metadata as one user; `not_applied` counts single properties that could not be set."""

    user: int
    group: int
    not_applied: int = 0
    reasons: set[str] | None = None

    def refuse(self, what: str, error: OSError) -> None:
        """Count a property that this user or file system does not take; raises any other error."""
        if error.errno not in _REFUSED:
            raise error
        self.not_applied += 1
        if self.reasons is None:
            self.reasons = set()
        self.reasons.add(what)

    def has_more(self, entry: Entry) -> bool:
        """True when a file made by this user with the entry's plain mode is not yet what it shall be."""
        return entry.uid != self.user or entry.gid != self.group or bool(entry.mode & _SPECIAL)

    def fresh_file(self, handle: int, entry: Entry, xattrs: bytes) -> None:
        """Owner, attributes and mode of a file that was just made with the entry's plain mode by this user."""
        mode, is_touched = entry.mode, bool(entry.mode & _SPECIAL)
        if entry.uid != self.user or entry.gid != self.group:
            mode = self._own(handle, self.user, self.group, wanted_of(entry, xattrs))
            is_touched = True
        if xattrs:
            self._attributes(handle, xattrs)
            is_touched = True
        if is_touched:
            self._mode(handle, mode)

    def full(self, where: Where, about: os.stat_result, wanted: Wanted, *, has_mode: bool = True) -> bool:
        """An entry that is there already; touches only what differs. True when anything but folder times differed.

        `has_mode` is False for links.
        """
        is_touched, mode = False, wanted.mode
        if (about.st_uid, about.st_gid) != (wanted.uid, wanted.gid):
            is_touched = True
            mode = self._own(where, about.st_uid, about.st_gid, wanted)
        if _attributes_of(where) != decode_xattrs(wanted.xattrs):
            is_touched = True
            if has_mode and not about.st_mode & _OWNER_WRITES:
                self._mode(where, about.st_mode & ~_RISING | _OWNER_WRITES)
            self._attributes(where, wanted.xattrs)
        if has_mode and (is_touched or stat.S_IMODE(about.st_mode) != stat.S_IMODE(mode)):
            is_touched = True
            self._mode(where, mode)
        if is_touched or about.st_mtime_ns != wanted.mtime_ns:
            is_touched = is_touched or not stat.S_ISDIR(about.st_mode)
            os.utime(where, ns=(wanted.mtime_ns, wanted.mtime_ns))
        return is_touched

    def _own(self, where: Where, uid: int, gid: int, wanted: Wanted) -> int:
        """Change the owner from `uid` and `gid`; returns the mode that is right for whoever owns it then.

        A file that stays another's must not run as that other: what was setuid to its owner would be it to us.
        """
        try:
            os.chown(where, wanted.uid, wanted.gid)
        except OSError as error:
            self.refuse("owners", error)
            lost = stat.S_ISUID * (uid != wanted.uid) | stat.S_ISGID * (gid != wanted.gid)
            return wanted.mode & ~lost
        return wanted.mode

    def _mode(self, where: Where, mode: int) -> None:
        try:
            os.chmod(where, stat.S_IMODE(mode))
        except OSError as error:
            self.refuse("modes", error)

    def _attributes(self, where: Where, wanted: bytes) -> None:
        pairs, present = decode_xattrs(wanted), _attributes_of(where)
        for name in present:
            if name not in pairs:
                try:
                    os.removexattr(where, name)
                except OSError as error:
                    self.refuse("attributes", error)
        # An ACL may take the right to set the others away, so it comes last.
        for name, value in sorted(pairs.items(), key=lambda pair: pair[0].startswith(b"system.")):
            if present.get(name) != value:
                try:
                    os.setxattr(where, name, value)
                except OSError as error:
                    self.refuse("attributes", error)


def _attributes_of(where: Where) -> dict[bytes, bytes]:
    try:
        return {name: os.getxattr(where, name) for name in map(os.fsencode, os.listxattr(where))}
    except OSError:
        return {}


def wanted_of(entry: Entry, xattrs: bytes) -> Wanted:
    """The metadata an entry shall have."""
    return Wanted(entry.mode, entry.uid, entry.gid, entry.mtime_ns, xattrs)
