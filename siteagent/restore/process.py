"""A restore's worker in a process of its own: it reads packs, writes below the target, and touches nothing else."""

from __future__ import annotations

import mmap
import os

from siteagent.disk.child import FIRST_EXTRA, REQUESTS, receive, serve
from siteagent.disk.confined import Confined
from siteagent.disk.local import LocalDisk
from siteagent.restore.messages import Request, Setup
from siteagent.restore.spots import Spots
from siteagent.restore.worker import Mapping, Worker
from siteagent.store.packs import FolderPacks
from siteagent.store.reader import SegmentReader
from siteagent.store.sentkeys import SentKeys
from siteagent.store.successors import Successors

MEMORY, TARGET = FIRST_EXTRA, FIRST_EXTRA + 1


def main() -> int:
    """Serve until the requests end."""
    setup: Setup | None = receive(REQUESTS, Setup)
    if setup is None:
        return 0
    os.umask(0)
    with mmap.mmap(MEMORY, setup.spots_bytes, prot=mmap.PROT_READ) as table:
        spots = Spots(bytes(table))
    reader = SegmentReader(FolderPacks(LocalDisk(setup.home)), spots, SentKeys(setup.epochs),
                           Successors(lambda: setup.superseded))  # fmt: skip
    confined = Confined(TARGET, is_fresh=setup.is_fresh)
    worker = Worker(reader, confined, Mapping(setup.prefix, setup.only_name), setup.chunk_key)
    serve(Request, worker.perform)
    return 0
