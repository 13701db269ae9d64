"""Which file system a path lies on, read from the kernel's mount table (Linux: proc(5), mountinfo)."""

from __future__ import annotations

import os
import re

from msgspec import Struct

NETWORK_TYPES = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.cephfs", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs",
    "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "orangefs", "smb3", "smbfs", "virtiofs",
})  # fmt: skip
_OCTAL = re.compile(rb"\\([0-7]{3})")
MOUNT_TABLE = "/proc/self/mountinfo"


class Mount(Struct, frozen=True):
    """One line of the mount table: where, and what kind."""

    folder: bytes
    kind: str


def read_mounts(table: bytes) -> list[Mount]:
    """Parse a mount table; lines that do not parse are passed over."""
    mounts = []
    for line in table.splitlines():
        left, separator, right = line.partition(b" - ")
        fields = left.split()
        if separator and len(fields) > 4 and right.split():
            folder = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
            mounts.append(Mount(folder, right.split()[0].decode("ascii", "replace")))
    return mounts


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """The mount that holds `path` (its deepest, newest match)."""
    real = os.fsencode(os.path.realpath(path))
    best: Mount | None = None
    for mount in mounts:
        folder = mount.folder.rstrip(b"/")
        inside = real == folder or real.startswith(folder + b"/")
        if inside and (best is None or len(mount.folder) >= len(best.folder)):
            best = mount
    return best


def network_kind(path: str, table_path: str = MOUNT_TABLE) -> str | None:
    """The kind of the network file system that holds `path`, or None for a local one (or no mount table)."""
    try:
        with open(table_path, "rb") as table:
            mount = mount_of(path, read_mounts(table.read()))
    except OSError:
        return None
    return mount.kind if mount and mount.kind in NETWORK_TYPES else None
