"""A reserve: room that is taken while there is enough of it, and given back when a full disk stands in the way.

File H/reserve holds nothing and is allocated for real. What a full disk must not stop are the log, `forget` and
`prune`, since they are the way out. So the reserve goes when a home is opened and there is hardly any room, or when a
write to the log meets a full disk; a backup takes it again before it writes anything and does not begin without it. No
backup can therefore eat the room that the way out needs. It counts in no figure of what a home holds or grows by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.errors import ExhaustedError, FarkeepError
from siteagent.disk.disk import Disk
from siteagent.disk.durable import PART, remove_quietly

RESERVE_FILE = "reserve"
RESERVE_BYTES = 4 << 20
"""At most; at most a hundredth of the free space as well, but no less than is needed. A small home is not to look large
for it."""
NEEDED_BYTES = 2 << 20
"""What opening index and log, forgetting and the facts of a prune take at most, measured, with as much again."""
T = TypeVar("T")


class Reserve:
    """The reserve of one home. `limit_bytes` 0: there is none, and none is asked for."""

    def __init__(self, disk: Disk, limit_bytes: int = RESERVE_BYTES) -> None:
        self._disk, self._limit_bytes = disk, limit_bytes

    def make(self) -> bool:
        """Take the room unless it is taken; False when there is not enough of it."""
        if not self._limit_bytes or self._disk.size(RESERVE_FILE) is not None:
            return True
        part = RESERVE_FILE + PART
        try:
            remove_quietly(self._disk, part)
            free_bytes = self._disk.free_bytes()
            size_bytes = min(self._limit_bytes, max(free_bytes // 100, NEEDED_BYTES))
            if free_bytes < 2 * size_bytes:
                return False
            self._disk.allocate(part, size_bytes)
            self._disk.rename(part, RESERVE_FILE)
        except ExhaustedError:
            remove_quietly(self._disk, part)
            return False
        # A sync that fails tells of more names than this one.
        self._disk.sync_folder("")
        return True

    def require(self) -> None:
        """Take the room; raises ExhaustedError when there is not enough of it."""
        if not self.make():
            raise ExhaustedError(
                "the disk is full, and the last room is kept for the log, `forget` and `prune`", subject=RESERVE_FILE,
                next_step="free space on the disk of the home: `farkeep forget`, then `farkeep prune --now`; what was "
                          "acknowledged is safe",
            )  # fmt: skip

    def give_up(self) -> bool:
        """Give the room back; False when there was none to give."""
        if not self._limit_bytes or self._disk.size(RESERVE_FILE) is None:
            return False
        remove_quietly(self._disk, RESERVE_FILE)
        return True

    def make_room(self) -> None:
        """Give the room back when there is hardly any other; a disk that refuses that is told of by the next write."""
        try:
            if self._limit_bytes and self._disk.free_bytes() < NEEDED_BYTES:
                self.give_up()
        except (FarkeepError, OSError):
            return

    def retry(self, write: Callable[[], T]) -> T:
        """Do a write that may be done twice; once more when the disk was full and there was room to give back."""
        try:
            return write()
        except ExhaustedError:
            if not self.give_up():
                raise
            return write()
