"""A restore's worker in a process of its own: it reads packs, writes below the target, and touches nothing else."""

from __future__ import annotations

import mmap
import os

from shared.epochkeys import EpochKeys
from shared.errors import DamagedError
from siteagent.disk.child import FIRST_EXTRA, REQUESTS, receive, serve
from siteagent.disk.confined import Confined
from siteagent.disk.local import LocalDisk
from siteagent.restore.messages import Request, Setup
from siteagent.restore.spots import Spots
from siteagent.restore.worker import Mapping, Worker
from siteagent.store.packs import FolderPacks
from siteagent.store.reader import SegmentReader
from siteagent.store.successors import Successors

MEMORY, TARGET = FIRST_EXTRA, FIRST_EXTRA + 1


class SentKeys:
    """The key epochs that the leading process sent."""

    def __init__(self, epochs: list[EpochKeys]) -> None:
        self._epochs = {keys.number: keys for keys in epochs}

    def epoch(self, number: int) -> EpochKeys:
        """The keys of one key epoch; raises DamagedError when it was not sent."""
        keys = self._epochs.get(number)
        if keys is None:
            raise DamagedError(f"a segment names key epoch {number}, which the keyring does not have",
                               next_step="run `farkeep key show` and `farkeep verify`")
        return keys


def main() -> int:
    """Serve until the requests end."""
    setup: Setup | None = receive(REQUESTS, Setup)
    if setup is None:
        return 0
    os.umask(0)
    keys = SentKeys([EpochKeys(epoch.number, epoch.seal_key, epoch.manifest_key, epoch.fact_key, epoch.mark_key)
                     for epoch in setup.epochs])  # fmt: skip
    with mmap.mmap(MEMORY, setup.spots_bytes, prot=mmap.PROT_READ) as table:
        spots = Spots(bytes(table))
    reader = SegmentReader(FolderPacks(LocalDisk(setup.home)), spots, keys, Successors(lambda: setup.superseded))
    confined = Confined(TARGET, is_fresh=setup.is_fresh)
    worker = Worker(reader, confined, Mapping(setup.prefix, setup.only_name), setup.chunk_key)
    serve(Request, worker.perform)
    return 0
