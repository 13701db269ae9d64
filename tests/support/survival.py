"""What a power failure leaves of files, by what POSIX promises and not by what one file system happens to do.

`FileWriter.sync` (fsync of a file) makes the content durable that was written before; `Disk.sync_folder` (fsync of a
folder) makes the names in that folder durable as they are then: files made, renamed and removed, folders made. Nothing
else is durable, and what is not may go or stay. Two extremes are made here: everything that was not synced is gone, and
all names stay while content that was not synced is gone.

Files are appended to only, so durable content is a length. Every file that loses a name keeps a hard link in a
graveyard, from which undone renames and removals are dug up again.
"""

from __future__ import annotations

import enum
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass


class Loss(enum.Enum):
    """What is lost when everything stops: nothing (the process ended), content, or content and names (the power)."""

    NOTHING = "clean stop"
    CONTENT = "unsynced content lost"
    EVERYTHING = "unsynced writes lost"


@dataclass(eq=False)
class _File:
    """One inode: how much of its content is durable, and where it is kept when it has lost a name."""

    durable_bytes: int
    kept: str = ""


class Survival:
    """Follows which content and which names below one folder are durable. All paths are absolute."""

    def __init__(self, folder: str, graveyard: str, is_followed: Callable[[str], bool]) -> None:
        """`is_followed` says of a path below `folder` whether it is written through the seam; the rest stays as it is.

        What is there already counts as durable. `graveyard` is a folder elsewhere on the same file system.
        """
        os.makedirs(graveyard, exist_ok=True)
        self._folder, self._graveyard, self._is_followed = folder, graveyard, is_followed
        self._count = 0
        self._now: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._folders_now: set[str] = set()
        self._durable_folders: set[str] = set()
        for above, folders, files in os.walk(folder):
            self._folders_now.update(os.path.join(above, name) for name in folders)
            paths = [os.path.join(above, name) for name in files]
            self._now.update({path: _File(os.path.getsize(path)) for path in paths if is_followed(path)})
        self._all_is_durable()

    def _all_is_durable(self) -> None:
        self._durable, self._durable_folders = dict(self._now), set(self._folders_now)

    def made(self, path: str) -> None:
        """A file was made, empty."""
        self._now[path] = _File(0)

    def synced(self, path: str) -> None:
        """A file's content was synced."""
        self._now[path].durable_bytes = os.path.getsize(path)

    def renaming(self, source: str, target: str) -> None:
        """A file is about to get another name."""
        self._bury(source)
        self._bury(target)

    def renamed(self, source: str, target: str) -> None:
        """A file got another name."""
        self._now[target] = self._now.pop(source)

    def removing(self, path: str) -> None:
        """A name is about to go."""
        self._bury(path)

    def removed(self, path: str) -> None:
        """A name is gone."""
        self._now.pop(path, None)

    def made_folder(self, path: str) -> None:
        """A folder and those above it were made."""
        while path.startswith(self._folder + os.sep) and path not in self._folders_now:
            self._folders_now.add(path)
            path = os.path.dirname(path)

    def synced_folder(self, folder: str) -> None:
        """The names in a folder were synced."""
        elsewhere = {path: file for path, file in self._durable.items() if os.path.dirname(path) != folder}
        here = {path: file for path, file in self._now.items() if os.path.dirname(path) == folder}
        self._durable = elsewhere | here
        self._durable_folders |= {path for path in self._folders_now if os.path.dirname(path) == folder}

    def pending(self) -> set[str]:
        """Files that a failure of the power could take or shorten, or bring back, right now."""
        everywhere = self._now.keys() | self._durable.keys()
        moved = {path for path in everywhere if self._now.get(path) is not self._durable.get(path)}
        return moved | {path for path, file in self._now.items() if os.path.getsize(path) > file.durable_bytes}

    def _bury(self, path: str) -> None:
        """Keep a file that is about to lose its name, if that name is durable."""
        file = self._now.get(path)
        if file is not None and not file.kept and file in self._durable.values():
            file.kept = self._grave()
            os.link(path, file.kept)

    def _grave(self) -> str:
        self._count += 1
        return os.path.join(self._graveyard, str(self._count))

    def lose(self, loss: Loss) -> None:
        """Make the folder what the failure leaves of it; all of that is durable from then on (but for a clean stop)."""
        if loss is Loss.NOTHING:
            return
        if loss is Loss.EVERYTHING:
            self._undo_names()
            self._undo_folders()
        for path, file in self._now.items():
            if os.path.getsize(path) > file.durable_bytes:
                os.truncate(path, file.durable_bytes)
        self._all_is_durable()

    def _undo_names(self) -> None:
        for path, file in self._now.items():
            if self._durable.get(path) is not file:
                self._bury(path)
                os.unlink(path)
        for path, file in self._durable.items():
            if self._now.get(path) is not file:
                os.link(file.kept, path)
        self._now = dict(self._durable)

    def _undo_folders(self) -> None:
        for folder in sorted(self._folders_now - self._durable_folders, key=len):
            shutil.rmtree(folder, ignore_errors=True)
            self._now = {path: file for path, file in self._now.items() if not path.startswith(folder + os.sep)}
        gone = [path for path in self._durable_folders if not os.path.isdir(path)]
        self._folders_now = self._durable_folders - set(gone)
