"""A process that makes deltas, so that the process that reads is not held up by them.

To make a small one, on average half a segment is read and decompressed: a quarter of the reader's time in the next
version of many small files, of which one in a hundred was edited (ARCHITECTURE.md).

The first message carries the keys; it is answered once, which says that the process is ready.
"""

from __future__ import annotations

import msgspec

from shared.epochkeys import EpochKeys
from shared.errors import FarkeepError
from shared.secret import Secret
from siteagent.disk.child import REPLIES, REQUESTS, receive, send, serve
from siteagent.disk.local import LocalDisk
from siteagent.store.deltawork import DeltaLoad, make_delta
from siteagent.store.index import Spot
from siteagent.store.names import SegmentName
from siteagent.store.packs import FolderPacks
from siteagent.store.reader import SegmentReader
from siteagent.store.sentkeys import SentKeys


class DeltaSetup(Secret, frozen=True):
    """The first message: the home, what its packs are read with, and the key of chunk ids."""

    home: str
    epochs: list[EpochKeys]
    id_key: bytes


class DeltaRequest(msgspec.Struct, frozen=True, array_like=True):
    """Make the delta of a load; `spots` tells where the segments of its base lie."""

    load: DeltaLoad
    spots: list[tuple[SegmentName, Spot]]


class DeltaReply(msgspec.Struct, frozen=True, array_like=True):
    """The delta, if it wins; `damaged` are segments that did not read."""

    packed: bytes | None = None
    damaged: list[SegmentName] = []


class _SentSpots:
    """Where the segments of the newest request lie."""

    def __init__(self) -> None:
        self.known: dict[SegmentName, Spot] = {}

    def spot(self, segment: SegmentName) -> Spot | None:
        """Where a segment lies, or None."""
        return self.known.get(segment)


def main() -> int:
    """Serve until the requests end."""
    setup: DeltaSetup | None = receive(REQUESTS, DeltaSetup)
    if setup is None:
        return 0
    spots, id_key = _SentSpots(), setup.id_key
    reader = SegmentReader(FolderPacks(LocalDisk(setup.home)), spots, SentKeys(setup.epochs))

    def answer(request: DeltaRequest) -> list[DeltaReply]:
        spots.known = dict(request.spots)
        try:
            return [DeltaReply(make_delta(request.load, reader.base_plains(request.load.base), id_key))]
        except FarkeepError:
            return [DeltaReply(None, sorted(reader.damaged))]

    send(REPLIES, DeltaReply())
    serve(DeltaRequest, answer)
    return 0
