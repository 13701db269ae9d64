"""Change a tree on disk at random, as life does between two backups."""

import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support import oddities
from tests.support.build import write_all
from tests.support.places import children, place, remove_tree

_ATTEMPTS_PER_CHANGE = 50
_REFUSALS = frozenset(
    {
        *(errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.ENOSPC),
        *(errno.EEXIST, errno.ENOTEMPTY, errno.EMLINK, errno.E2BIG, errno.ERANGE, errno.EOVERFLOW, errno.ENODATA),
    }
)


@dataclass(frozen=True)
class Change:
    """One change made: ``what`` is the operation's name, ``other`` the second path of a rename or link."""

    what: str
    path: bytes
    other: bytes | None = None


def mutate(seed: int, root: Path, changes: int = 20, *, keep_readable: bool | None = None) -> tuple[Change, ...]:
    """Apply up to ``changes`` random changes below ``root`` and return those made.

    The same seed on the same tree as the same user makes the same changes. What this user may not do is passed over.
    ``keep_readable`` leaves the owner's right to read in every changed mode: by default for all but root.
    """
    is_kept = os.geteuid() != 0 if keep_readable is None else keep_readable
    mutator = _Mutator(random.Random(seed), root, is_kept)
    made: list[Change] = []
    for _ in range(changes * _ATTEMPTS_PER_CHANGE):
        if len(made) >= changes:
            break
        try:
            change = mutator.change()
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            continue
        if change is not None:
            made.append(change)
    return tuple(made)


def _inventory(root: Path, path: bytes = b"") -> Iterator[tuple[bytes, int]]:
    """Every path that can be reached below ``root``, sorted, with its file type as in ``st_mode``."""
    with place(root, path) as address:
        try:
            names = children(address)
        except PermissionError:
            return
        below = [(name, os.lstat(address + b"/" + name).st_mode) for name in names] if os.access(address, 1) else []
    for name, mode in below:
        child = path + b"/" + name if path else name
        yield child, stat.S_IFMT(mode)
        if stat.S_ISDIR(mode):
            yield from _inventory(root, child)


class _Mutator:
    def __init__(self, rng: random.Random, root: Path, keep_readable: bool) -> None:
        self._rng = rng
        self._root = root
        self._keep_readable = keep_readable
        self._operations: tuple[Callable[[], Change | None], ...] = (
            *(self.edit_in_place, self.edit_keeping_mtime, self.append, self.truncate, self.replace_file),
            *(self.replace_type, self.rename, self.move, self.delete, self.create),
            *(self.chmod, self.touch, self.set_xattr, self.remove_xattr, self.add_link, self.break_link),
        )
        self._known: list[tuple[bytes, int]] = []

    def change(self) -> Change | None:
        """Try one operation on one path; None when the tree has nothing it applies to."""
        self._known = list(_inventory(self._root))
        return self._rng.choice(self._operations)()

    def _one(self, *kinds: int) -> bytes | None:
        paths = [path for path, kind in self._known if not kinds or kind in kinds]
        return self._rng.choice(paths) if paths else None

    def _free_path(self) -> bytes:
        folders = [b"", *(path for path, kind in self._known if kind == stat.S_IFDIR)]
        folder, name = self._rng.choice(folders), b"new %d" % self._rng.randrange(10**9)
        return folder + b"/" + name if folder else name

    def _on_file(self, what: str, action: Callable[[int, int], None], *, is_empty_fine: bool = False) -> Change | None:
        path = self._one(stat.S_IFREG)
        if path is None:
            return None
        with place(self._root, path) as address:
            file_fd = os.open(address, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                size_bytes = os.fstat(file_fd).st_size
                if not (size_bytes or is_empty_fine):
                    return None
                action(file_fd, size_bytes)
            finally:
                os.close(file_fd)
        return Change(what, path)

    def _overwrite(self, file_fd: int, size_bytes: int) -> None:
        offset = self._rng.randrange(size_bytes)
        length = self._rng.randint(1, min(50_000, size_bytes - offset))
        write_all(file_fd, self._rng.randbytes(length), offset)

    def _overwrite_keeping_mtime(self, file_fd: int, size_bytes: int) -> None:
        status = os.fstat(file_fd)
        self._overwrite(file_fd, size_bytes)
        os.utime(file_fd, ns=(status.st_atime_ns, status.st_mtime_ns))

    def edit_in_place(self) -> Change | None:
        """New bytes somewhere, same size."""
        return self._on_file("edit_in_place", self._overwrite)

    def edit_keeping_mtime(self) -> Change | None:
        """New bytes, same size and modification time: only ctime tells."""
        return self._on_file("edit_keeping_mtime", self._overwrite_keeping_mtime)

    def append(self) -> Change | None:
        """Some bytes at the end."""
        data = self._rng.randbytes(self._rng.randint(1, 100_000))
        action = partial(_append, data)
        return self._on_file("append", action, is_empty_fine=True)

    def truncate(self) -> Change | None:
        """Shorter, or longer by a hole."""
        share = self._rng.choice((0.0, 0.3, 0.99, 3.0))
        return self._on_file("truncate", lambda file_fd, size_bytes: os.ftruncate(file_fd, int(size_bytes * share)))

    def replace_file(self) -> Change | None:
        """A new file renamed over an old name, as editors save."""
        path = self._one(stat.S_IFREG)
        if path is None:
            return None
        with place(self._root, path) as address:
            temporary = address.rpartition(b"/")[0] + b"/replacement %d" % self._rng.randrange(10**9)
            self._make_file(temporary)
            os.rename(temporary, address)
        return Change("replace_file", path)

    def replace_type(self) -> Change | None:
        """Another kind of entry under the same name."""
        path = self._one()
        if path is None:
            return None
        with place(self._root, path) as address:
            old_kind = stat.S_IFMT(os.lstat(address).st_mode)
            _remove(address)
            makers: list[Callable[[bytes], None]] = [
                *([self._make_file] if old_kind != stat.S_IFREG else []),
                *([_make_folder] if old_kind != stat.S_IFDIR else []),
                *([self._make_symlink] if old_kind != stat.S_IFLNK else []),
                *([_make_fifo] if old_kind != stat.S_IFIFO else []),
            ]
            self._rng.choice(makers)(address)
        return Change("replace_type", path)

    def rename(self) -> Change | None:
        """A new name in the same folder."""
        path = self._one()
        if path is None:
            return None
        folder, slash, _ = path.rpartition(b"/")
        return self._moved("rename", path, folder + slash + b"renamed %d" % self._rng.randrange(10**9))

    def move(self) -> Change | None:
        """A new name in any folder."""
        path = self._one()
        return None if path is None else self._moved("move", path, self._free_path())

    def _moved(self, what: str, path: bytes, new_path: bytes) -> Change | None:
        if new_path.startswith(path + b"/"):
            return None
        with place(self._root, path) as source, place(self._root, new_path) as target:
            os.rename(source, target)
        return Change(what, path, new_path)

    def delete(self) -> Change | None:
        """An entry goes, with all below it."""
        path = self._one()
        if path is None:
            return None
        with place(self._root, path) as address:
            _remove(address)
        return Change("delete", path)

    def create(self) -> Change | None:
        """A new file or folder."""
        path = self._free_path()
        with place(self._root, path) as address:
            self._rng.choice((self._make_file, self._make_file, _make_folder))(address)
        return Change("create", path)

    def chmod(self) -> Change | None:
        """Other permission bits, on all but links."""
        path = self._one(stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFSOCK)
        if path is None:
            return None
        with place(self._root, path) as address:
            self._set_mode(address, self._rng.choice(oddities.MODES))
        return Change("chmod", path)

    def _set_mode(self, address: bytes, mode: int) -> None:
        needed = 0o500 if stat.S_ISDIR(os.lstat(address).st_mode) else 0o400
        os.chmod(address, mode | (needed if self._keep_readable else 0))

    def touch(self) -> Change | None:
        """Another modification time, on anything."""
        path = self._one()
        if path is None:
            return None
        time_ns = self._rng.choice(oddities.TIMES_NS)
        with place(self._root, path) as address:
            os.utime(address, ns=(time_ns, time_ns), follow_symlinks=False)
        return Change("touch", path)

    def set_xattr(self) -> Change | None:
        """A new or changed attribute, or an ACL."""
        path = self._one(stat.S_IFREG, stat.S_IFDIR)
        if path is None:
            return None
        choices = (*oddities.USER_XATTRS, oddities.ACCESS_ACL, oddities.MASKED_ACL)
        name, value = self._rng.choice(choices)
        if name.startswith(b"user."):
            value = value[::-1] + self._rng.randbytes(3)
        with place(self._root, path) as address:
            os.setxattr(address, name, value, follow_symlinks=False)
            if name == oddities.ACCESS_ACL[0]:
                # The list has set the mode as well (acl(5)).
                self._set_mode(address, stat.S_IMODE(os.lstat(address).st_mode))
        return Change("set_xattr", path)

    def remove_xattr(self) -> Change | None:
        """One attribute goes."""
        path = self._one(stat.S_IFREG, stat.S_IFDIR)
        if path is None:
            return None
        with place(self._root, path) as address:
            names = sorted(os.listxattr(address, follow_symlinks=False))
            if not names:
                return None
            os.removexattr(address, self._rng.choice(names), follow_symlinks=False)
        return Change("remove_xattr", path)

    def add_link(self) -> Change | None:
        """One more name for an entry."""
        path, new_path = self._one(stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO), self._free_path()
        if path is None:
            return None
        with place(self._root, path) as source, place(self._root, new_path) as target:
            os.link(source, target, follow_symlinks=False)
        return Change("add_link", path, new_path)

    def break_link(self) -> Change | None:
        """One name of several gets a file of its own with the same bytes."""
        linked = [path for path, kind in self._known if kind == stat.S_IFREG and self._link_count(path) > 1]
        if not linked:
            return None
        path = self._rng.choice(linked)
        with place(self._root, path) as address:
            with open(address, "rb") as source:
                data = source.read()
            temporary = address.rpartition(b"/")[0] + b"/separate %d" % self._rng.randrange(10**9)
            _write_new(temporary, data)
            os.rename(temporary, address)
        return Change("break_link", path)

    def _link_count(self, path: bytes) -> int:
        with place(self._root, path) as address:
            return os.lstat(address).st_nlink

    def _make_file(self, address: bytes) -> None:
        _write_new(address, self._rng.randbytes(self._rng.choice((*oddities.SMALL_SIZES, *oddities.EDGE_SIZES))))

    def _make_symlink(self, address: bytes) -> None:
        os.symlink(self._rng.choice(oddities.TARGETS), address)


def _append(data: bytes, file_fd: int, size_bytes: int) -> None:
    write_all(file_fd, data, size_bytes)


def _write_new(address: bytes, data: bytes) -> None:
    file_fd = os.open(address, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        write_all(file_fd, data, 0)
    finally:
        os.close(file_fd)


def _make_folder(address: bytes) -> None:
    os.mkdir(address, 0o755)


def _make_fifo(address: bytes) -> None:
    os.mkfifo(address, 0o644)


def _remove(address: bytes) -> None:
    if stat.S_ISDIR(os.lstat(address).st_mode):
        remove_tree(Path(os.fsdecode(address)))
    else:
        os.unlink(address)
