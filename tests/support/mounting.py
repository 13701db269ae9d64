"""Mounts that nobody else sees and that end with their process: for tests that put a file system on a device of theirs.

A process that calls `become_private` mounts into a namespace of its own. When it ends, however it ends, the kernel
takes its mounts away, and with them the loop devices under them (they detach themselves when the last user is gone).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class MountError(Exception):
    """This machine does not let the test mount; the words say what was refused."""


def end_with_parent() -> None:
    """End when the process that started this one does."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def become_private() -> None:
    """Leave the mounts of others alone from now on, and end with the process that started this one.

    To be called before there is a second thread. Raises MountError.
    """
    end_with_parent()
    _require(_LIBC.unshare(_CLONE_NEWNS), "a namespace of its own for mounts (CAP_SYS_ADMIN)")
    _require(_LIBC.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "a private namespace for mounts")


def mount_fuse(file: Path, handle: int) -> None:
    """Let /dev/fuse, open as `handle`, stand for a regular file; the server answers from then on."""
    options = b"fd=%d,rootmode=100600,user_id=0,group_id=0" % handle
    _require(_LIBC.mount(b"farkeep-test", os.fsencode(file), b"fuse", 0, options), "a FUSE mount")


def unmount_fuse(file: Path) -> None:
    """Take the file away again; the server's next read of /dev/fuse says ENODEV."""
    _require(_LIBC.umount2(os.fsencode(file), 0), "an unmount")


def make_ext4(image: Path, size_bytes: int) -> None:
    """A sparse image with an empty ext4 that has a journal of 4 MiB and writes nothing by itself later on."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    _run("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-N", "4096", "-E",
         "lazy_itable_init=0,lazy_journal_init=0", image)  # fmt: skip


@contextlib.contextmanager
def mounted_ext4(image: Path, folder: Path, options: str) -> Iterator[Path]:
    """Mount an image through a loop device that detaches itself when it is not mounted any more; gives the folder."""
    folder.mkdir(exist_ok=True)
    _run("mount", "-t", "ext4", "-o", f"loop,noatime,{options}", image, folder)
    try:
        yield folder
    finally:
        _run("umount", folder)


def _run(*words: str | Path) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MountError(f"{words[0]} is not installed (Debian: e2fsprogs, mount)") from error
    if done.returncode:
        raise MountError(f"{words[0]} {words[-1]}: {done.stderr.strip()}")


def _require(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise MountError(f"{what} was refused: {os.strerror(code)}")
