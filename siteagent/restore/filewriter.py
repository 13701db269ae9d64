"""Writing one restored entry: straight into a fresh folder, else beside what is there and renamed over it.

Size and time of a file that is there are never trusted: its content is read and compared with the chunk ids, which
costs less than writing it, and only what differs is written. So a restore that was killed, even together with the
machine, goes on where it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable

from shared.errors import DamagedError
from shared.sealing import digest, keyed_id
from shared.tree import BLOCK_DEVICE, CHARACTER_DEVICE, FIFO, HOLE, LINK
from siteagent.disk.confined import NEW_FILE, discard, new_file, remove_entry, safe_component, write_all
from siteagent.restore.metadata import Applier, Wanted, wanted_of
from siteagent.store.chunklist import Piece
from siteagent.store.entry import Entry
from siteagent.store.reader import SegmentReader

_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FORMATS = {FIFO: stat.S_IFIFO, CHARACTER_DEVICE: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, LINK: stat.S_IFLNK}


def temporary_name(name: bytes) -> bytes:
    """The name a file has while it is written: the same for the same file, so that the next try replaces it."""
    return b".farkeep-" + digest(name).hex()[:24].encode() + b".part"


class FileWriter:
    """Writes entries below a confined folder."""

    def __init__(self, reader: SegmentReader, applier: Applier, chunk_key: bytes) -> None:
        self._reader, self.applier, self._chunk_key = reader, applier, chunk_key

    def fresh(self, folder: int, entry: Entry, data: bytes | memoryview, xattrs: bytes) -> None:
        """A small file in a folder that this restore made; its name was checked before.

        Raises FileExistsError when it is there after all.
        """
        # Attributes can only be set while the file is writable to its owner; `fresh_file` sets the mode after them.
        handle = os.open(entry.name, NEW_FILE, 0o600 if xattrs else entry.mode & 0o777, dir_fd=folder)
        try:
            if data and os.write(handle, data) != len(data):
                write_all(handle, data, 0)
            if xattrs or self.applier.has_more(entry):
                self.applier.fresh_file(handle, entry, xattrs)
            os.utime(handle, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(handle)

    def is_there(self, folder: int, entry: Entry, placed: Iterable[tuple[int, Piece]], xattrs: bytes) -> bool:
        """True when a file with the right content is there (its metadata is mended then).

        A file that has other names, where the entry has none, does not count: writing to them would change it.
        """
        try:
            about = os.stat(safe_component(entry.name), dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(about.st_mode) or about.st_size != entry.size:
            return False
        if about.st_nlink > 1 and not entry.link_group:
            return False
        if not self._has_content(folder, entry, placed):
            return False
        self.mend(folder, entry.name, about, wanted_of(entry, xattrs))
        return True

    def mend(self, folder: int, name: bytes, about: os.stat_result, wanted: Wanted) -> bool:
        """Apply metadata to an entry that is there, through a handle that follows nothing."""
        handle = os.open(name, _PATH_ONLY, dir_fd=folder)
        try:
            now = os.fstat(handle)
            if (now.st_dev, now.st_ino) != (about.st_dev, about.st_ino):
                raise replaced()
            where, has_mode = b"/proc/self/fd/%d" % handle, not stat.S_ISLNK(now.st_mode)
            return self.applier.full(where, about, wanted, has_mode=has_mode)
        finally:
            os.close(handle)

    def _has_content(self, folder: int, entry: Entry, placed: Iterable[tuple[int, Piece]]) -> bool:
        try:
            handle = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except PermissionError:
            return False
        try:
            reached = 0
            for at, piece in placed:
                reached = at + piece.length
                if reached > entry.size:
                    return False
                if piece.chunk_id == HOLE:
                    if not _is_hole(handle, at, piece.length):
                        return False
                elif keyed_id(self._chunk_key, os.pread(handle, piece.length, at)) != piece.chunk_id:
                    return False
            return reached == entry.size
        finally:
            os.close(handle)

    def begin(self, folder: int, entry: Entry) -> int:
        """Make the temporary file of an entry, as long as the entry; returns its handle."""
        temporary = temporary_name(entry.name)
        discard(folder, temporary)
        handle = new_file(folder, temporary, 0o600)
        try:
            os.ftruncate(handle, entry.size)
        except OSError:
            self.give_up(folder, entry, handle)
            raise
        return handle

    def open_part(self, folder: int, entry: Entry, identity: tuple[int, int]) -> int:
        """Open the temporary file of an entry that `begin` made: this (device, inode) and no other."""
        handle = os.open(temporary_name(entry.name), os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                         dir_fd=folder)  # fmt: skip
        about = os.fstat(handle)
        if (about.st_dev, about.st_ino) != identity:
            os.close(handle)
            raise replaced()
        return handle

    def fill(self, handle: int, entry: Entry, placed: Iterable[tuple[int, Piece]], start: int, stop: int) -> int:
        """Write the pieces that begin from `start` on and before `stop`, holes excepted; returns the bytes written.

        Raises DamagedError when they do not reach from there to there within the size of the entry.
        """
        written, reached = 0, start
        for at, piece in placed:
            if at + piece.length > entry.size:
                raise lying(entry)
            if at >= stop:
                break
            reached = at + piece.length
            if at >= start and piece.chunk_id != HOLE:
                data = self._reader.chunk(piece.segment, piece.chunk_id)
                if len(data) != piece.length:
                    raise lying(entry)
                write_all(handle, data, at)
                written += piece.length
        if reached < stop:
            raise lying(entry)
        return written

    def finish(self, folder: int, entry: Entry, handle: int, xattrs: bytes) -> None:
        """Give a filled temporary file its metadata and its name; closes the handle."""
        try:
            self.applier.full(handle, os.fstat(handle), wanted_of(entry, xattrs))
        except BaseException:
            self.give_up(folder, entry, handle)
            raise
        os.close(handle)
        self.replace(folder, temporary_name(entry.name), entry.name)

    def give_up(self, folder: int, entry: Entry, handle: int) -> None:
        """Close and remove a temporary file whose content cannot be had."""
        os.close(handle)
        discard(folder, temporary_name(entry.name))

    def replace(self, folder: int, temporary: bytes, name: bytes) -> None:
        """Rename over what is there; an empty folder gives way, a full one does not (OSError)."""
        try:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except (IsADirectoryError, NotADirectoryError):
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError as error:
                discard(folder, temporary)
                raise OSError(error.errno, "a folder is in the way; --delete removes it") from error
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def special(self, folder: int, entry: Entry, target: bytes, xattrs: bytes) -> bool:
        """A link, fifo or device node. True when it was made; a property that cannot be had is counted."""
        name = safe_component(entry.name)
        with contextlib.suppress(FileNotFoundError):
            about = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if self._is_same_special(folder, entry, target, about):
                self.mend(folder, name, about, wanted_of(entry, xattrs))
                return False
            remove_entry(folder, name)
        if entry.type == LINK:
            os.symlink(target, name, dir_fd=folder)
        else:
            try:
                os.mknod(name, _FORMATS[entry.type] | entry.mode & 0o777, entry.device, dir_fd=folder)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise
                self.applier.refuse("device nodes", error)
                return False
        about = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_IFMT(about.st_mode) != _FORMATS[entry.type] or about.st_nlink > 1:
            raise replaced()
        self.mend(folder, name, about, wanted_of(entry, xattrs))
        return True

    def _is_same_special(self, folder: int, entry: Entry, target: bytes, about: os.stat_result) -> bool:
        if stat.S_IFMT(about.st_mode) != _FORMATS[entry.type] or (about.st_nlink > 1 and not entry.link_group):
            return False
        if entry.type == LINK:
            return os.readlink(entry.name, dir_fd=folder) == target
        return entry.type == FIFO or about.st_rdev == entry.device

    def link(self, first: tuple[int, bytes], folder: int, name: bytes) -> bool:
        """Make `name` another name of a file that was restored before. True when it was not one yet."""
        source = os.stat(first[1], dir_fd=first[0], follow_symlinks=False)
        with contextlib.suppress(FileNotFoundError):
            about = os.stat(safe_component(name), dir_fd=folder, follow_symlinks=False)
            if (about.st_dev, about.st_ino) == (source.st_dev, source.st_ino):
                return False
        temporary = temporary_name(name)
        discard(folder, temporary)
        os.link(first[1], temporary, src_dir_fd=first[0], dst_dir_fd=folder, follow_symlinks=False)
        self.replace(folder, temporary, safe_component(name))
        return True


def replaced() -> OSError:
    """The error for something that is not what this restore made."""
    return OSError(errno.ESTALE, "it was replaced while it was restored")


def lying(entry: Entry) -> DamagedError:
    """The error for an entry whose pieces contradict it."""
    return DamagedError("the pieces of a file do not add up to its size", subject=os.fsdecode(entry.path),
                        next_step="run `farkeep verify --read-data`")


def _is_hole(handle: int, at: int, length: int) -> bool:
    """True when a stretch of a file holds no data."""
    try:
        return os.lseek(handle, at, os.SEEK_DATA) >= at + length
    except OSError as error:
        return error.errno == errno.ENXIO
