"""What is known of a machine's files at one moment, and what of them a failure leaves.

Content that was synced and names whose folder was synced are durable. Nothing else is, and what is not may go or stay,
each for itself: content without its name, a name without its content, a later rename without an earlier removal. Only
changes of one and the same name keep their order, and a rename happens whole or not at all.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

BLOCK_BYTES = 4096


class Loss(enum.Enum):
    """What is lost when everything stops."""

    NOTHING = "clean stop"
    """The process ended; nothing became durable by that."""
    TORN = "last write torn"
    """The power failed: what was written is there, but for the last write that nobody synced."""
    CONTENT = "unsynced content lost"
    """The power failed: all names are there, what was not synced in the files is not."""
    EVERYTHING = "unsynced writes lost"
    REORDERED = "unsynced writes reordered"
    """The power failed: of what was not synced some is there, drawn by chance, and some is not."""


FLAVOURS = (Loss.NOTHING, Loss.TORN, Loss.EVERYTHING, Loss.REORDERED)


@dataclass(eq=False)
class Inode:
    """A file whatever its names: its length, how much of it is durable, and where it is kept for ever."""

    number: int
    kept: str
    size_bytes: int = 0
    durable_bytes: int = 0


@dataclass(frozen=True)
class Scar:
    """A stretch of a file that holds something else than was written: zeros, or bytes that follow from `seed`."""

    start: int
    end: int
    seed: int | None = None


@dataclass(frozen=True)
class Content:
    """What a name leads to: a beginning of an inode, with scars."""

    inode: Inode
    size_bytes: int
    scars: tuple[Scar, ...] = ()

    @property
    def identity(self) -> tuple[int, int, tuple[Scar, ...]]:
        """Equal for equal content on one tape."""
        return self.inode.number, self.size_bytes, self.scars


@dataclass(frozen=True)
class Change:
    """One change of names that may still be lost; `folder` is the one whose sync makes it durable."""

    folder: str
    names: Mapping[str, Inode | None]


@dataclass(frozen=True)
class LastWrite:
    """The newest write that nobody synced, or the one that is being made."""

    inode: Inode
    start: int
    end: int


@dataclass(frozen=True)
class Picture:
    """All that is known of the files at one moment. Lengths are those of that moment: (now, durable) by inode."""

    now: Mapping[str, Inode]
    durable: Mapping[str, Inode]
    changes: tuple[Change, ...]
    folders: frozenset[str]
    durable_folders: frozenset[str]
    lengths: Mapping[Inode, tuple[int, int]]
    last_write: LastWrite | None


@dataclass(frozen=True)
class Outcome:
    """What is there afterwards. `picture` is given when nothing became durable: the process only ended."""

    files: Mapping[str, Content]
    folders: frozenset[str]
    picture: Picture | None = None

    @property
    def identity(self) -> object:
        """Equal for equal files."""
        files = tuple((path, content.identity) for path, content in sorted(self.files.items()))
        picture = self.picture
        if picture is None:
            return files, self.folders, None
        durable = tuple(sorted((path, inode.number) for path, inode in picture.durable.items()))
        return files, self.folders, (durable, len(picture.changes), picture.durable_folders)


def outcome(picture: Picture, loss: Loss, chance: Random) -> Outcome:
    """What this loss leaves; `chance` decides where there is a choice."""
    whole = {inode: Content(inode, size) for inode, (size, _) in picture.lengths.items()}
    short = {inode: Content(inode, durable) for inode, (_, durable) in picture.lengths.items()}
    if loss is Loss.NOTHING:
        return Outcome(_filled(picture.now, whole), picture.folders, picture)
    if loss is Loss.EVERYTHING:
        return _below(Outcome(_filled(picture.durable, short), picture.durable_folders))
    if loss is Loss.CONTENT:
        return Outcome(_filled(picture.now, short), picture.folders)
    if loss is Loss.TORN:
        if picture.last_write is not None:
            whole[picture.last_write.inode] = _torn(picture.last_write, chance)
        return Outcome(_filled(picture.now, whole), picture.folders)
    drawn = {inode: _drawn(inode, *lengths, chance) for inode, lengths in picture.lengths.items()}
    lost = picture.folders - picture.durable_folders
    folders = picture.durable_folders | {path for path in sorted(lost) if chance.random() < 0.5}
    return _below(Outcome(_filled(_some_changes(picture, chance), drawn), folders))


def _filled(names: Mapping[str, Inode], contents: Mapping[Inode, Content]) -> dict[str, Content]:
    return {path: contents[inode] for path, inode in names.items()}


def _below(found: Outcome) -> Outcome:
    """Without what lies in folders that are not there."""
    folders = set[str]()
    root = min(map(len, map(os.path.dirname, found.folders)), default=0)
    for path in sorted(found.folders, key=len):
        if len(os.path.dirname(path)) == root or os.path.dirname(path) in folders:
            folders.add(path)
    files = {path: content for path, content in found.files.items()
             if os.path.dirname(path) in folders or len(os.path.dirname(path)) <= root}  # fmt: skip
    return Outcome(files, frozenset(folders))


def _some_changes(picture: Picture, chance: Random) -> dict[str, Inode]:
    """The durable names after a part of the changes: one that is lost takes later ones of the same names with it."""
    names, lost = dict(picture.durable), set[str]()
    for change in picture.changes:
        if chance.random() < 0.5 or not lost.isdisjoint(change.names):
            lost.update(change.names)
            continue
        for path, inode in change.names.items():
            if inode is None:
                names.pop(path, None)
            else:
                names[path] = inode
    return names


def _torn(write: LastWrite, chance: Random) -> Content:
    """A beginning of the write, or all of its length with a part that is something else."""
    length = write.end - write.start
    if length < 1 or chance.random() < 0.5:
        return Content(write.inode, write.start + chance.randrange(length + 1))
    first = write.start + chance.randrange(length)
    last = min(write.end, first + chance.choice((1, 512, BLOCK_BYTES, length)))
    return Content(write.inode, write.end, (Scar(first, last, chance.choice((None, chance.randrange(1 << 30)))),))


def _drawn(inode: Inode, size: int, durable: int, chance: Random) -> Content:
    """What was synced and, of the rest, some blocks: those that did not come to the disk read as zeros."""
    if size <= durable:
        return Content(inode, size)
    end = chance.choice((durable, size, chance.randrange(durable, size + 1)))
    starts = range(durable // BLOCK_BYTES * BLOCK_BYTES, end, BLOCK_BYTES)
    bounds = [(max(durable, start), min(end, start + BLOCK_BYTES)) for start in starts]
    return Content(inode, end, tuple(Scar(*bound) for bound in bounds if chance.random() < 0.4))
