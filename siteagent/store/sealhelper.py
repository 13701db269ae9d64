"""Starting and talking to sealing processes (siteagent.store.sealprocess), and the memory shared with them."""

from __future__ import annotations

import mmap
import os

from msgspec import Struct

from shared.errors import DamagedError
from siteagent.disk.child import Child
from siteagent.store.frame import FRAME_BYTES_MAX
from siteagent.store.sealprocess import Reply, Request, Setup
from siteagent.store.sealwork import Load
from siteagent.store.segment import HEADER_BYTES

OUT_BYTES = 2 * FRAME_BYTES_MAX
SLOT_BYTES = FRAME_BYTES_MAX + OUT_BYTES


class Slot(Struct, frozen=True):
    """One buffer for chunks (`plain`) and the place where they are sealed to (`out`), both in shared memory."""

    start: int
    plain: memoryview
    out: memoryview


class SharedMemory:
    """The slots; `handle` is what a sealing process maps (-1 where this system cannot share it)."""

    def __init__(self, count: int) -> None:
        self.size_bytes = count * SLOT_BYTES
        self.handle = os.memfd_create("farkeep", os.MFD_CLOEXEC) if hasattr(os, "memfd_create") else -1
        if self.handle >= 0:
            os.ftruncate(self.handle, self.size_bytes)
        self._memory = mmap.mmap(self.handle, self.size_bytes)
        view = memoryview(self._memory)
        self.slots = [
            Slot(at, view[at : at + FRAME_BYTES_MAX], view[at + FRAME_BYTES_MAX : at + SLOT_BYTES])
            for at in range(0, self.size_bytes, SLOT_BYTES)
        ]

    def close(self) -> None:
        """Give the shared file back; the mapping goes with its last view."""
        if self.handle >= 0:
            handle, self.handle = self.handle, -1
            os.close(handle)


class SealHelper:
    """One sealing process."""

    def __init__(self, setup: Setup, memory: SharedMemory) -> None:
        """Start the process and hand it its keys; raises OSError where processes cannot be started."""
        self._child = Child("siteagent.store.sealprocess", [memory.handle])
        self._child.send(setup)

    def ask(self, load: Load, slot: Slot, size: int, frame: tuple[int, int, int] | None = None,
            out_size: int = OUT_BYTES) -> Reply:
        """Have a load sealed, or a stored segment checked; raises DamagedError or UnavailableError."""
        out = slot.start + FRAME_BYTES_MAX
        self._child.send(Request(load.kind, load.number, load.ids, load.lengths, load.sides, slot.start, size, out,
                                 out_size, frame))  # fmt: skip
        reply = self._child.receive(Reply)
        if reply.error:
            raise DamagedError(reply.error, next_step="test this machine's memory and disk, then back up again")
        if frame is None and not HEADER_BYTES <= sum(reply.parts) <= OUT_BYTES:
            raise DamagedError("a sealing process answered nonsense", next_step="test this machine's memory")
        return reply

    def close(self) -> None:
        """End the process."""
        self._child.close()
