"""Compares a restored tree with its source, byte for byte, without using anything of Farkeep."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

_PIECE_BYTES = 1 << 20
_SPECIAL_BITS = 0o7000


@dataclass
class Comparison:
    """What was compared so far and what differed. As an ordinary user owners are not expected to be the same."""

    unreadable: Collection[str] = frozenset()
    files: int = 0
    folders: int = 0
    others: int = 0
    bytes: int = 0
    differences: list[str] = field(default_factory=list)
    _groups: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    _is_root: bool = field(default_factory=lambda: os.geteuid() == 0)

    def compare(self, source: str, restored: str) -> None:
        """Compare one entry, and everything below it, in both directions."""
        try:
            wanted, found = os.lstat(source), os.lstat(restored)
        except FileNotFoundError as error:
            self._differ(str(error.filename), "is missing")
            return
        if stat.S_IFMT(wanted.st_mode) != stat.S_IFMT(found.st_mode):
            self._differ(restored, "is of another type")
            return
        if stat.S_ISDIR(wanted.st_mode):
            self._compare_folders(source, restored)
        elif stat.S_ISREG(wanted.st_mode):
            self._compare_files(source, restored, wanted, found)
        else:
            self.others += 1
            if stat.S_ISLNK(wanted.st_mode) and os.readlink(source) != os.readlink(restored):
                self._differ(restored, "leads elsewhere")
        for line in self._metadata(source, restored, wanted, found):
            self._differ(restored, line)

    def _compare_folders(self, source: str, restored: str) -> None:
        self.folders += 1
        if source in self.unreadable:
            return
        wanted, found = set(os.listdir(source)), set(os.listdir(restored))
        for name in sorted(found - wanted):
            self._differ(os.path.join(restored, name), "was not expected")
        for name in sorted(wanted):
            path = os.path.join(source, name)
            if name in found or path not in self.unreadable:
                self.compare(path, os.path.join(restored, name))

    def _compare_files(self, source: str, restored: str, wanted: os.stat_result, found: os.stat_result) -> None:
        self.files += 1
        if source in self.unreadable:
            return
        if wanted.st_size != found.st_size or not self._is_same_content(source, restored):
            self._differ(restored, "has another content")
        if wanted.st_nlink > 1:
            # Two names of one inode have to be two names of one inode again.
            group = self._groups.setdefault((wanted.st_dev, wanted.st_ino), (found.st_dev, found.st_ino))
            if group != (found.st_dev, found.st_ino):
                self._differ(restored, "is no longer a hard link")

    def _is_same_content(self, source: str, restored: str) -> bool:
        with open(source, "rb", buffering=0) as left, open(restored, "rb", buffering=0) as right:
            while True:
                wanted, found = left.read(_PIECE_BYTES), right.read(_PIECE_BYTES)
                if wanted != found:
                    return False
                if not wanted:
                    return True
                self.bytes += len(wanted)

    def _metadata(self, source: str, restored: str, wanted: os.stat_result, found: os.stat_result) -> Iterator[str]:
        is_same_owner = (wanted.st_uid, wanted.st_gid) == (found.st_uid, found.st_gid)
        # Where the owner could not be given back, a bit that lends the owner's rights means something else.
        mask = 0o7777 if is_same_owner else 0o7777 & ~_SPECIAL_BITS
        if not is_same_owner and self._is_root:
            yield "has another owner"
        if stat.S_IMODE(wanted.st_mode) & mask != stat.S_IMODE(found.st_mode) & mask:
            yield f"has mode {stat.S_IMODE(found.st_mode):04o} instead of {stat.S_IMODE(wanted.st_mode):04o}"
        if wanted.st_mtime_ns != found.st_mtime_ns:
            yield f"has time {found.st_mtime_ns} ns instead of {wanted.st_mtime_ns} ns"
        if self._is_root and _attributes(source) != _attributes(restored):
            yield "has other extended attributes"

    def _differ(self, path: str, what: str) -> None:
        self.differences.append(f"{path!r} {what}")


def _attributes(path: str) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
