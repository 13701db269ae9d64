"""Steps that survive a crash, composed of the primitive calls of a Disk."""

from __future__ import annotations

from shared.errors import DamagedError, FarkeepError, HostileError
from siteagent.disk.disk import Buffer, Disk

PART = ".part"


def write_durably(disk: Disk, path: str, data: Buffer) -> None:
    """Write a whole file so that after a crash there is the old one or the new one, never a mixture.

    Temporary name in the same folder, sync, rename, sync of the folder. The temporary file of an earlier crash is
    replaced. Raises the typed errors of the disk; a file whose sync failed is removed, never synced again.
    """
    temporary = path + PART
    remove_quietly(disk, temporary)
    writer = disk.create(temporary)
    try:
        writer.append([data])
        writer.sync()
        writer.close()
        disk.rename(temporary, path)
    except FarkeepError:
        writer.close()
        remove_quietly(disk, temporary)
        raise
    disk.sync_folder(path.rpartition("/")[0])


def remove_quietly(disk: Disk, path: str) -> None:
    """Remove a file that may be absent."""
    try:
        disk.remove(path)
    except FileNotFoundError:
        return


def read_whole(disk: Disk, path: str, *, limit_bytes: int) -> bytes:
    """Read a whole file of at most `limit_bytes`; raises FileNotFoundError, HostileError or DamagedError."""
    reader = disk.open(path)
    try:
        if reader.size_bytes > limit_bytes:
            raise HostileError(f"a file of {reader.size_bytes} bytes is longer than the limit of {limit_bytes}",
                               subject=path, next_step="run `farkeep verify`; restore this file from a partner")
        data = reader.read_at(0, reader.size_bytes)
    finally:
        reader.close()
    if len(data) != reader.size_bytes:
        raise DamagedError("a file ended early while it was read", subject=path, next_step="run `farkeep verify`")
    return data
