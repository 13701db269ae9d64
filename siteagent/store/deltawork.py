"""The computing part of storing new chunks as a delta: compress them against earlier ones, and compare.

It touches no disk, so it runs as well in a thread as in a process of its own (siteagent.store.deltaprocess).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from msgspec import Struct, field

from shared.sealing import keyed_id
from siteagent.store.delta import Base, compress_delta, dictionary_of


class DeltaLoad(Struct, frozen=True):
    """New chunks back to back in `plain`, with their ids and lengths, and what they are to rest on."""

    plain: bytes
    ids: tuple[bytes, ...]
    lengths: tuple[int, ...]
    base: Base


class Encoding(Struct, eq=False):
    """A delta being made elsewhere; `collect` takes in what was made there, one answer per call."""

    load: DeltaLoad
    packed: bytes | None = None
    done: threading.Event = field(default_factory=threading.Event)
    collect: Callable[[], None] | None = None

    def settle(self, packed: bytes | None) -> None:
        """The delta is made, or is not to be."""
        self.packed = packed
        self.done.set()

    def wait(self) -> bytes | None:
        """The delta frame once it is made; None when it does not win or its base does not read."""
        while self.collect is not None and not self.done.is_set():
            self.collect()
        self.done.wait()
        return self.packed


def make_delta(load: DeltaLoad, plains: Sequence[bytes | memoryview], id_key: bytes) -> bytes | None:
    """The delta frame of a load against the plaintexts of its base's chunks.

    None when it does not win, and when memory did not keep the chunks: stored whole, they are compared with their ids
    again. Raises DamagedError, HostileError.
    """
    packed = compress_delta(load.plain, dictionary_of(load.base, plains))
    if packed is None:
        return None
    # After compressing: what changed the chunks before or meanwhile shows.
    return packed if _is_kept(load, id_key) else None


def _is_kept(load: DeltaLoad, id_key: bytes) -> bool:
    view, at = memoryview(load.plain), 0
    for chunk_id, length in zip(load.ids, load.lengths, strict=True):
        if keyed_id(id_key, view[at : at + length]) != chunk_id:
            return False
        at += length
    return True
