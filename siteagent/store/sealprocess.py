"""A process that compresses and seals, so that the process that reads is not held up by a shared interpreter lock.

Measured on two processors and 80 000 small files: with sealing in threads of the reading process every system call of
the reader waited for the lock (read 1.8 s instead of 0.25 s in sum); ARCHITECTURE.md has the figures.

The parent hands over shared memory (siteagent.disk.child: descriptor 5). The first message carries the keys.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable

import msgspec

from shared.epochkeys import EpochKeys
from shared.errors import FarkeepError, UnavailableError
from shared.secret import Secret
from siteagent.disk.child import FIRST_EXTRA, REQUESTS, receive, serve
from siteagent.store.sealwork import Load, Sealed, check_stored, seal_load
from siteagent.store.segment import Sealer
from siteagent.store.table import Frame

MEMORY = FIRST_EXTRA


class Setup(Secret, frozen=True):
    """The first message: what to seal with."""

    site: bytes
    domain: bytes
    run: bytes
    epoch: EpochKeys
    id_keys: dict[str, bytes]
    memory_bytes: int


class Request(msgspec.Struct, frozen=True):
    """Seal the load at `start` of the shared memory, or (with `frame`) check the stored bytes at `out`."""

    kind: int
    number: int
    ids: bytes
    lengths: list[int]
    sides: list[bytes]
    start: int
    size: int
    out: int
    out_size: int
    frame: tuple[int, int, int] | None = None


class Reply(msgspec.Struct, frozen=True):
    """Lengths of the three parts written to `out`, the digest and the frame; or an error's words."""

    parts: tuple[int, int, int] = (0, 0, 0)
    digest: bytes = b""
    frame: tuple[int, int, int] = (0, 0, 0)
    error: str = ""


def place(sealed: Sealed, memory: memoryview) -> Reply:
    """Write a sealed segment into shared memory."""
    at = 0
    if sealed.segment.length > len(memory):
        raise UnavailableError("a segment is larger than the memory between the processes",
                               next_step="report this; nothing was stored")
    for part in sealed.segment.parts:
        memory[at : at + len(part)] = part
        at += len(part)
    header, table, body = map(len, sealed.segment.parts)
    frame = sealed.frame
    return Reply((header, table, body), sealed.digest, (frame.codec, frame.plain_bytes, frame.stored_bytes))


def _answer(setup: Setup, sealer: Sealer, memory: memoryview) -> Callable[[Request], list[Reply]]:
    def answer(request: Request) -> list[Reply]:
        load = Load(request.kind, request.number, request.ids, request.lengths, request.sides)
        out = memory[request.out : request.out + request.out_size]
        try:
            id_key = setup.id_keys[str(request.kind)]
            if request.frame is None:
                plain = memory[request.start : request.start + request.size]
                return [place(seal_load(sealer, load, plain, id_key), out)]
            check_stored(out, load, Frame(*request.frame), setup.epoch, id_key)
            return [Reply()]
        except FarkeepError as error:
            return [Reply(error=str(error))]

    return answer


def main() -> int:
    """Serve until the requests end."""
    setup: Setup | None = receive(REQUESTS, Setup)
    if setup is not None:
        sealer = Sealer(setup.site, setup.domain, setup.epoch, setup.run)
        with mmap.mmap(MEMORY, setup.memory_bytes) as shared, memoryview(shared) as memory:
            serve(Request, _answer(setup, sealer, memory))
    return 0
