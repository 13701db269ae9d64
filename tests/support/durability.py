"""Following what of the files below a folder is durable, by what POSIX promises and not by what one file system does.

fsync of a file makes the content durable that was written before; fsync of a folder makes the names in that folder
durable as they are then: files made, renamed and removed, folders made. What a failure leaves of the rest is told by
`tests.support.survival`.

Files are appended to only, so what a file held at any moment is a beginning of what it holds later. Every file that is
made keeps a hard link in a graveyard, from which any moment can be dug up again. A file that gets a hole becomes
another file there, since nothing makes the hole durable.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from random import Random

from tests.support.survival import Change, Content, Inode, LastWrite, Outcome, Picture


class Durability:
    """Follows which content and which names below one folder are durable. All paths are absolute."""

    def __init__(self, folder: str, graveyard: str, is_followed: Callable[[str], bool]) -> None:
        """`is_followed` says of a path below `folder` whether it is written through the seam; the rest stays as it is.

        What is there already counts as durable. `graveyard` is a folder elsewhere on the same file system.
        """
        os.makedirs(graveyard, exist_ok=True)
        self._folder, self._graveyard, self._is_followed, self._count = folder, graveyard, is_followed, 0
        self._now: dict[str, Inode] = {}
        self._folders: set[str] = set()
        for above, folders, files in os.walk(folder):
            self._folders.update(os.path.join(above, name) for name in folders)
            for path in sorted(os.path.join(above, name) for name in files):
                if is_followed(path):
                    self._now[path] = self._new_inode(path, os.path.getsize(path))
        self._settled()

    def _settled(self) -> None:
        self._durable, self._durable_folders = dict(self._now), set(self._folders)
        self._changes: list[Change] = []
        self._last_write: LastWrite | None = None
        self._picture: Picture | None = None
        for inode in self._now.values():
            inode.durable_bytes = inode.size_bytes

    def _new_inode(self, path: str, size_bytes: int = 0) -> Inode:
        self._count += 1
        kept = os.path.join(self._graveyard, str(self._count))
        os.link(path, kept)
        return Inode(self._count, kept, size_bytes, size_bytes)

    def _change(self, folder: str, names: dict[str, Inode | None]) -> None:
        self._picture = None
        self._changes.append(Change(folder, names))
        for path, inode in names.items():
            if inode is None:
                self._now.pop(path, None)
            else:
                self._now[path] = inode

    def made(self, path: str) -> None:
        """A file was made, empty."""
        self._change(os.path.dirname(path), {path: self._new_inode(path)})

    def appending(self, path: str, length: int) -> None:
        """So many bytes are being written at the end of a file; `appended` follows."""
        inode = self._now[path]
        self._picture, self._last_write = None, LastWrite(inode, inode.size_bytes, inode.size_bytes + length)

    def appended(self, path: str) -> None:
        """A file has grown."""
        self._picture, self._now[path].size_bytes = None, os.path.getsize(path)

    def synced(self, path: str) -> None:
        """A file's content was synced."""
        if path not in self._now:
            self.made(path)
        self._now[path].size_bytes = os.path.getsize(path)
        inode = self._now[path]
        self._picture, inode.durable_bytes = None, inode.size_bytes
        if self._last_write is not None and self._last_write.inode is inode:
            self._last_write = None

    def allocated(self, path: str) -> None:
        """A file was made with all its room at once."""
        if path not in self._now:
            self.made(path)
            self._now[path].size_bytes = os.path.getsize(path)

    def renamed(self, source: str, target: str) -> None:
        """A file got another name. In another folder: the old name may stay beside the new one, never neither."""
        inode = self._now[source]
        if os.path.dirname(source) != os.path.dirname(target):
            self._change(os.path.dirname(target), {target: inode})
        self._change(os.path.dirname(source), {source: None, target: inode})

    def removed(self, path: str) -> None:
        """A name is gone."""
        self._change(os.path.dirname(path), {path: None})

    def made_folder(self, path: str) -> None:
        """A folder and those above it were made."""
        self._picture = None
        while path.startswith(self._folder + os.sep) and path not in self._folders:
            self._folders.add(path)
            path = os.path.dirname(path)

    def synced_folder(self, folder: str) -> None:
        """The names in a folder were synced."""
        self._picture = None
        for change in self._changes:
            if change.folder == folder:
                for path, inode in change.names.items():
                    self._durable.pop(path, None)
                    if inode is not None:
                        self._durable[path] = inode
        self._changes = [change for change in self._changes if change.folder != folder]
        self._durable_folders |= {path for path in self._folders if os.path.dirname(path) == folder}

    def punching(self, path: str) -> None:
        """A file is about to get a hole: from here on it is another file, for nothing makes the hole durable."""
        before, copy = self._now[path], os.path.join(self._graveyard, "with a hole")
        copy_sparsely(path, copy)
        os.replace(copy, path)
        after = self._new_inode(path, before.size_bytes)
        after.durable_bytes = before.durable_bytes
        self._change("", {path: after})

    def pending(self) -> set[str]:
        """Files that a failure of the power could take or shorten, or bring back, right now."""
        everywhere = self._now.keys() | self._durable.keys()
        moved = {path for path in everywhere if self._now.get(path) is not self._durable.get(path)}
        return moved | {path for path, inode in self._now.items() if inode.size_bytes > inode.durable_bytes}

    def names(self) -> Iterable[str]:
        """The paths of all files that are followed."""
        return self._now.keys()

    def picture(self) -> Picture:
        """All that is known now."""
        if self._picture is None:
            inodes = {*self._now.values(), *self._durable.values(),
                      *(inode for change in self._changes for inode in change.names.values() if inode)}
            self._picture = Picture(
                dict(self._now), dict(self._durable), tuple(self._changes), frozenset(self._folders),
                frozenset(self._durable_folders),
                {inode: (inode.size_bytes, inode.durable_bytes) for inode in inodes}, self._last_write,
            )  # fmt: skip
        return self._picture

    def become(self, found: Outcome) -> None:
        """Make the folder what an outcome says, of this tape or another; all is durable then but for a clean stop."""
        moved = dict[Inode, Inode]()
        self._remove_others(found)
        for path in sorted(found.folders, key=len):
            os.makedirs(path, mode=0o700, exist_ok=True)
        self._folders = set(found.folders)
        for path, content in found.files.items():
            known = self._now.get(path)
            if known is content.inode and known.size_bytes == content.size_bytes and not content.scars:
                continue
            if os.path.lexists(path):
                os.unlink(path)
            _dig_up(content, path)
            if content.inode not in moved:
                moved[content.inode] = self._new_inode(path, content.size_bytes)
            self._now[path] = moved[content.inode]
        if found.picture is None:
            self._settled()
        else:
            self._take_over(found.picture, moved)

    def _remove_others(self, found: Outcome) -> None:
        for path in self._now.keys() - found.files.keys():
            os.unlink(path)
            del self._now[path]
        for folder in sorted(self._folders - found.folders, key=len):
            shutil.rmtree(folder, ignore_errors=True)
            for path in [path for path in self._now if path.startswith(folder + os.sep)]:
                del self._now[path]

    def _take_over(self, picture: Picture, moved: dict[Inode, Inode]) -> None:
        """Go on after a clean stop: what was not durable still is not."""
        def here(inode: Inode) -> Inode:
            if inode not in moved:
                self._count += 1
                size, durable = picture.lengths[inode]
                moved[inode] = Inode(self._count, inode.kept, size, durable)
            return moved[inode]

        for inode, (_, durable) in picture.lengths.items():
            here(inode).durable_bytes = durable
        self._durable = {path: here(inode) for path, inode in picture.durable.items()}
        self._changes = [Change(change.folder, {path: inode and here(inode) for path, inode in change.names.items()})
                         for change in picture.changes]  # fmt: skip
        self._durable_folders, self._last_write, self._picture = set(picture.durable_folders), None, None


def _dig_up(content: Content, path: str) -> None:
    """Put what an inode held at some moment under a name: as a link where that is all it ever held."""
    if not content.scars and os.path.getsize(content.inode.kept) == content.size_bytes:
        os.link(content.inode.kept, path)
        return
    with open(content.inode.kept, "rb") as source, open(path, "wb") as target:
        data = bytearray(source.read(content.size_bytes).ljust(content.size_bytes, b"\0"))
        for scar in content.scars:
            length = scar.end - scar.start
            data[scar.start : scar.end] = bytes(length) if scar.seed is None else Random(scar.seed).randbytes(length)
        target.write(data)


def copy_sparsely(source: str, target: str) -> None:
    """Copy a file with its holes."""
    with open(source, "rb") as old, open(target, "wb") as new:
        size, at = os.fstat(old.fileno()).st_size, 0
        new.truncate(size)
        while at < size:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            os.pwrite(new.fileno(), os.pread(old.fileno(), end - at, at), at)
            at = end
