"""The workers that turn filled slots into stored segments: compress, seal, append, read back, compare.

One thread reads and fills; as many workers as there are processors do the rest, with a bounded number of reused slots
between them. A worker is a thread; once a run proves to be long it has a process of its own compute for it, while all
disk calls stay in this process. The first failure of a worker ends the job: it is raised in the filling thread.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from blake3 import blake3
from msgspec import Struct, field

from shared.epochkeys import EpochKeys
from shared.errors import DamagedError, HostileError
from shared.secret import Secret
from siteagent.disk.disk import Buffer
from siteagent.disk.local import write_error
from siteagent.store.delta import Base
from siteagent.store.deltahelpers import DeltaHelpers
from siteagent.store.deltawork import DeltaLoad, Encoding, make_delta
from siteagent.store.frame import RAW
from siteagent.store.names import SegmentName, segment_name, shown_segment
from siteagent.store.packwriter import PackWriter, StoredSegment
from siteagent.store.sealhelper import SealHelper, SharedMemory, Slot
from siteagent.store.sealprocess import Setup
from siteagent.store.sealwork import Load, check_opens, check_stored, seal_load
from siteagent.store.segment import DATA, Sealer
from siteagent.store.table import Frame, Table, encode_table

_LONG_RUN_SEGMENTS = 24
_WORTH_A_WORKER_BYTES = 32 << 10
_ENCODINGS_AHEAD = 32


class ReadyMade(Struct):
    """Frames that are compressed already: their rows, the frame of every chunk, base segments and their closure.

    `digest` is fed with the frames' bytes when they come, to be compared with what was stored in the end.
    """

    frames: list[Frame]
    chunk_frames: list[int]
    bases: list[SegmentName]
    closure: list[SegmentName]
    digest: blake3 = field(default_factory=blake3)


class Filled(Struct):
    """A slot full of chunks (or of ready-made frames), to become segment `number`."""

    kind: int
    number: int
    slot: Slot
    size_bytes: int
    ids: list[bytes]
    lengths: list[int]
    sides: list[bytes] = field(default_factory=list)
    made: ReadyMade | None = None


class SealingKeys(Secret, frozen=True):
    """What a pipeline seals with."""

    site: bytes
    domain: bytes
    epoch: EpochKeys
    id_keys: dict[int, bytes]

    def setup(self, run: bytes, memory_bytes: int) -> Setup:
        """The first message to a sealing process."""
        return Setup(self.site, self.domain, run, self.epoch, {str(kind): key for kind, key in self.id_keys.items()},
                     memory_bytes)  # fmt: skip


def _typed(error: BaseException) -> BaseException:
    """A failure of the store must never look like trouble with the source, which is an OSError."""
    return write_error(error, "packs") if isinstance(error, OSError) else error


class Pipeline:
    """Workers and slots of one run."""

    def __init__(self, run: bytes, keys: SealingKeys, writers: dict[int, PackWriter],
                 plains: Callable[[Base], Sequence[bytes | memoryview]], workers: int = 0,
                 may_start_processes: bool = True) -> None:
        """`writers` are by kind of segment, `plains` reads the chunks of a base; `workers` 0: one per processor."""
        self._run, self._keys, self._writers, self._plains = run, keys, writers, plains
        self._sealer = Sealer(keys.site, keys.domain, keys.epoch, run)
        count = workers or max(1, os.cpu_count() or 1)
        self._memory = SharedMemory(2 * count + 2)
        self._may_start = may_start_processes and self._memory.handle >= 0
        self._jobs: queue.Queue[Filled | Encoding | None] = queue.Queue(maxsize=count + _ENCODINGS_AHEAD)
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._to_compress = 0
        self.incompressible_bytes = 0
        self.delta_helpers: DeltaHelpers | None = None
        for slot in self._memory.slots:
            self._free.put(slot)
        self._threads = [threading.Thread(target=self._work, name=f"seal-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def slot(self) -> Slot:
        """A free slot; waits for one."""
        self._raise_failure()
        return self._free.get()

    def submit(self, filled: Filled) -> None:
        """Hand a filled slot over; raises what a worker failed with."""
        self._raise_failure()
        self._to_compress += filled.made is None
        self._jobs.put(filled)

    def encode(self, load: DeltaLoad) -> Encoding:
        """Have a delta frame made: by another process, else a large one by a worker, a small one at once.

        Handing the interpreter's lock to and fro costs more than a small one itself (ARCHITECTURE.md).
        """
        self._raise_failure()
        encoding = Encoding(load)
        if self.delta_helpers is not None and self.delta_helpers.take(encoding):
            return encoding
        if len(load.plain) >= _WORTH_A_WORKER_BYTES:
            self._jobs.put(encoding)
        else:
            self._encode(encoding)
        return encoding

    def _encode(self, encoding: Encoding) -> None:
        packed, load = None, encoding.load
        # A base that does not read is noted as damaged by the reader; what should have rested on it is kept whole.
        with suppress(DamagedError, HostileError):
            packed = make_delta(load, self._plains(load.base), self._keys.id_keys[DATA])
        encoding.settle(packed)

    def drain(self) -> None:
        """Wait until everything that was submitted is stored; raises what a worker failed with."""
        self._jobs.join()
        self._raise_failure()

    def close(self) -> None:
        """End the workers, whatever state they are in."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        if self.delta_helpers is not None:
            self.delta_helpers.close()
        self._memory.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        helper: SealHelper | None = None
        while (job := self._jobs.get()) is not None:
            try:
                if self._failure is None:
                    helper = self._perform(job, helper)
            except BaseException as error:
                self._failure = self._failure or _typed(error)
            finally:
                if isinstance(job, Encoding):
                    job.done.set()
                else:
                    self._free.put(job.slot)
                self._jobs.task_done()
        self._jobs.task_done()
        if helper is not None:
            helper.close()

    def _perform(self, job: Filled | Encoding, helper: SealHelper | None) -> SealHelper | None:
        """Do one job; returns the helping process, once there is one."""
        if isinstance(job, Encoding):
            self._encode(job)
        elif job.made is not None:
            self._store_made(job, job.made)
        else:
            helper = helper or self._start_helper()
            self._store(job, helper)
        return helper

    def _store_made(self, filled: Filled, made: ReadyMade) -> None:
        """Seal frames that are compressed, checked and small: no other process is worth its while."""
        ids = b"".join(filled.ids)
        bases = tuple(made.bases)
        table = Table(made.frames, ids, made.chunk_frames, filled.lengths, filled.sides, bases, tuple(made.closure))
        frames: list[bytes | memoryview] = [filled.slot.plain[: filled.size_bytes]]
        segment = self._sealer.seal(filled.kind, filled.number, encode_table(table), frames, bases)
        depths = [made.frames[frame].depth for frame in made.chunk_frames]
        stored = StoredSegment(segment.name, segment.digest(), ids, depths)
        self._writers[filled.kind].add(
            stored, segment.parts, lambda data: self._check_made(data, filled, made, encode_table(table))
        )

    def _check_made(self, data: bytes, filled: Filled, made: ReadyMade, table: bytes) -> None:
        header, body = check_opens(data, f"segment {filled.number}", self._keys.epoch, table)
        if blake3(body[: filled.size_bytes]).digest() != made.digest.digest():
            raise DamagedError("delta frames changed before they were stored: memory is at fault",
                               subject=shown_segment(header.name),
                               next_step="test this machine's memory, then back up again")

    def _start_helper(self) -> SealHelper | None:
        if not self._may_start or self._to_compress <= _LONG_RUN_SEGMENTS:
            return None
        try:
            return SealHelper(self._keys.setup(self._run, self._memory.size_bytes), self._memory)
        except OSError:
            self._may_start = False
            return None

    def _store(self, filled: Filled, helper: SealHelper | None) -> None:
        load = Load(filled.kind, filled.number, b"".join(filled.ids), filled.lengths, filled.sides)
        slot, size = filled.slot, filled.size_bytes
        if helper is not None:
            reply = helper.ask(load, slot, size)
            ends = (reply.parts[0], reply.parts[0] + reply.parts[1], sum(reply.parts))
            parts: tuple[Buffer, ...] = (slot.out[: ends[0]], slot.out[ends[0] : ends[1]], slot.out[ends[1] : ends[2]])
            frame, digest = Frame(*reply.frame), reply.digest
        else:
            sealed = seal_load(self._sealer, load, slot.plain[:size], self._keys.id_keys[load.kind])
            parts, frame, digest = sealed.segment.parts, sealed.frame, sealed.digest
        if frame.codec == RAW:
            with self._lock:
                self.incompressible_bytes += size

        def check(data: bytes) -> None:
            if helper is None:
                check_stored(data, load, frame, self._keys.epoch, self._keys.id_keys[load.kind])
                return
            slot.out[: len(data)] = data
            helper.ask(load, slot, size, (frame.codec, frame.plain_bytes, frame.stored_bytes), len(data))

        name: SegmentName = segment_name(self._run, filled.number)
        stored = StoredSegment(name, digest, load.ids, [frame.depth] * len(load.lengths))
        self._writers[filled.kind].add(stored, parts, check)
