"""A part of a snapshot as a tar archive on a stream: every piece of content checked before it is handed on.

Names are such that unpacking in DIR gives what restoring into DIR gives: a folder's contents stand below `./` (which
carries the folder's metadata), a file stands under its own name, a whole snapshot under its absolute paths without the
leading `/`. Holes are written as zeros, because a sparse member must be described before it is read.
"""

from __future__ import annotations

import heapq
import os

from msgspec import Struct, field

from shared.errors import HostileError
from shared.tree import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    FIFO,
    FILE,
    FOLDER,
    LINK,
    UNREADABLE,
    child_folder,
    components_of,
)
from siteagent.disk.confined import safe_component
from siteagent.home import Home
from siteagent.jobs.content import Sink, chunk_key, pieces
from siteagent.jobs.reading import catalog_of, find_entry, folder_below, reading
from siteagent.jobs.record import Who, note_reading, recorded_reading
from siteagent.ledger.state import SnapshotEntry
from siteagent.restore import pax
from siteagent.restore.restorer import one_file
from siteagent.sources.base import SourceError
from siteagent.sources.xattrs import decode_xattrs
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry

_KINDS = {FILE: pax.FILE, FOLDER: pax.FOLDER, LINK: pax.LINK, FIFO: pax.FIFO,
          CHARACTER_DEVICE: pax.CHARACTER_DEVICE, BLOCK_DEVICE: pax.BLOCK_DEVICE}  # fmt: skip


class ArchiveResult(Struct):
    """What was written; `errors` names files whose content is not in the snapshot: they are left out."""

    files: int = 0
    members: int = 0
    bytes_written: int = 0
    errors: list[SourceError] = field(default_factory=list)


def write_archive(home: Home, snapshot: SnapshotEntry, path: bytes | None, who: Who, sink: Sink) -> ArchiveResult:
    """Hand an archive of what lies at `path` (None: the whole snapshot) to `sink`, piece by piece.

    Raises RefusedError when there is no such path, DamagedError when something does not read: the archive then ends
    in the middle, which every reader of tar notices.
    """
    with reading(home, "dump"):
        catalog = catalog_of(home, snapshot)
        entry = find_entry(catalog, path or b"/")
        shown = os.fsdecode(path or b"/")
        with recorded_reading(home, who, ("dump", snapshot.id.hex(), shown)) as job:
            archive = _Archive(home, catalog, chunk_key(home, snapshot), sink)
            archive.write(entry)
            result = archive.result
            job.outcome = "partial" if result.errors else "done"
            note_reading(job, who, snapshot, path or b"/", {"files": result.files, "bytes": result.bytes_written})
    return result


class _Archive:
    def __init__(self, home: Home, catalog: Catalog, key: bytes, sink: Sink) -> None:
        self._home, self._catalog, self._key, self._sink = home, catalog, key, sink
        self._links: dict[tuple[object, ...], bytes] = {}
        self._expected: list[bytes] = []
        self._folder: bytes | None = None
        self.result = ArchiveResult()

    def write(self, top: Entry | None) -> None:
        """Everything that an entry (None: `/`) stands for, and the end of the archive."""
        if top is not None and top.type != FOLDER:
            self._member(top, safe_component(top.name))
        else:
            folder = folder_below(top)
            depth = len(components_of(folder))
            if top is not None:
                self._member(top, b"./")
            self._expected = [folder]
            for entry in self._catalog.below(folder):
                self._require_folder(entry)
                below = [*components_of(entry.folder)[depth:], entry.name]
                start, end = b"./" if depth else b"", b"/" if entry.type == FOLDER else b""
                self._member(entry, start + b"/".join(map(safe_component, below)) + end)
        self._put(pax.END)

    def _require_folder(self, entry: Entry) -> None:
        """Refuse an entry whose folder did not come as one before: unpacking it could follow what came instead."""
        if entry.folder != self._folder:
            while self._expected and self._expected[0] < entry.folder:
                heapq.heappop(self._expected)
            if not self._expected or heapq.heappop(self._expected) != entry.folder:
                raise HostileError("an entry lies in what is no folder", subject=os.fsdecode(entry.path),
                                   next_step="do not unpack this snapshot; run `farkeep verify`")
            self._folder = entry.folder
        if entry.type == FOLDER:
            heapq.heappush(self._expected, child_folder(entry.folder, entry.name))

    def _member(self, entry: Entry, name: bytes) -> None:
        if entry.flags & UNREADABLE:
            self.result.errors.append(SourceError(entry.path, "it could not be read when the snapshot was taken"))
            return
        self.result.members += 1
        self.result.files += entry.type == FILE
        known = self._links.get(one_file(entry)) if entry.link_group else None
        if known is not None:
            self._put(pax.header(self._described(entry, name, pax.HARD_LINK, 0, known)))
            return
        if entry.link_group:
            self._links[one_file(entry)] = name
        if entry.type != FILE:
            target = self._catalog.target(entry) if entry.type == LINK else b""
            self._put(pax.header(self._described(entry, name, _KINDS[entry.type], 0, target)))
            return
        self._put(pax.header(self._described(entry, name, pax.FILE, entry.size, b"")))
        for data in pieces(self._home, self._catalog, entry, self._key):
            self._put(data)
        self._put(pax.padding(entry.size))

    def _described(self, entry: Entry, name: bytes, kind: bytes, size: int, link: bytes) -> pax.Member:
        device = (os.major(entry.device), os.minor(entry.device)) if entry.device else (0, 0)
        xattrs = decode_xattrs(self._catalog.xattrs(entry)) if kind != pax.HARD_LINK else {}
        return pax.Member(name, kind, entry.mode, entry.uid, entry.gid, size, entry.mtime_ns, link, device, xattrs)

    def _put(self, data: bytes | memoryview) -> None:
        if len(data):
            self._sink(data)
            self.result.bytes_written += len(data)
