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
        is_touched = bool(entry.mode & _SPECIAL)
        if entry.uid != self.user or entry.gid != self.group:
            self._own(handle, entry.uid, entry.gid, True)
            is_touched = True
        if xattrs:
            self._attributes(handle, xattrs, True)
            is_touched = True
        if is_touched:
            self._mode(handle, entry.mode)

    def full(self, where: Where, about: os.stat_result, wanted: Wanted, *, follow: bool = True) -> bool:
        """An entry that is there already; touches only what differs. True when anything but folder times differed."""
        is_touched = False
        if (about.st_uid, about.st_gid) != (wanted.uid, wanted.gid):
            is_touched = True
            self._own(where, wanted.uid, wanted.gid, follow)
        if _attributes_of(where, follow) != decode_xattrs(wanted.xattrs):
            is_touched = True
            if follow and not about.st_mode & _OWNER_WRITES:
                self._mode(where, about.st_mode | _OWNER_WRITES)
            self._attributes(where, wanted.xattrs, follow)
        if follow and (is_touched or stat.S_IMODE(about.st_mode) != stat.S_IMODE(wanted.mode)):
            is_touched = True
            self._mode(where, wanted.mode)
        if is_touched or about.st_mtime_ns != wanted.mtime_ns:
            is_touched = is_touched or not stat.S_ISDIR(about.st_mode)
            os.utime(where, ns=(wanted.mtime_ns, wanted.mtime_ns), follow_symlinks=follow)
        return is_touched

    def _own(self, where: Where, uid: int, gid: int, follow: bool) -> None:
        try:
            os.chown(where, uid, gid, follow_symlinks=follow)
        except OSError as error:
            self.refuse("owners", error)

    def _mode(self, where: Where, mode: int) -> None:
        try:
            os.chmod(where, stat.S_IMODE(mode))
        except OSError as error:
            self.refuse("modes", error)

    def _attributes(self, where: Where, wanted: bytes, follow: bool) -> None:
        pairs, present = decode_xattrs(wanted), _attributes_of(where, follow)
        for name in present:
            if name not in pairs:
                try:
                    os.removexattr(where, name, follow_symlinks=follow)
                except OSError as error:
                    self.refuse("attributes", error)
        # An ACL may take the right to set the others away, so it comes last.
        for name, value in sorted(pairs.items(), key=lambda pair: pair[0].startswith(b"system.")):
            if present.get(name) != value:
                try:
                    os.setxattr(where, name, value, follow_symlinks=follow)
                except OSError as error:
                    self.refuse("attributes", error)


def _attributes_of(where: Where, follow: bool) -> dict[bytes, bytes]:
    try:
        names = [os.fsencode(name) for name in os.listxattr(where, follow_symlinks=follow)]
        return {name: os.getxattr(where, name, follow_symlinks=follow) for name in names}
    except OSError:
        return {}
