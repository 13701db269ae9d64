"""The content of one file of a snapshot, piece by piece, each checked before it is handed on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from shared.errors import DamagedError, RefusedError
from shared.sealing import keyed_id
from shared.tree import FILE, HOLE, LINK, TYPE_NAMES, UNREADABLE
from siteagent.home import Home
from siteagent.jobs.reading import catalog_of, find_entry, reading
from siteagent.jobs.record import Who, note_reading, recorded_reading
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry

Sink = Callable[[bytes | memoryview], object]
_ZEROS = bytes(1 << 20)


def copy_file(home: Home, snapshot: SnapshotEntry, path: bytes, who: Who, sink: Sink) -> int:
    """Hand the content of a file to `sink`; returns its length in bytes.

    Raises RefusedError when the path names no file with content, DamagedError when a piece does not read: what was
    handed on before is good, what follows is missing.
    """
    with reading(home, "cat"):
        catalog = catalog_of(home, snapshot)
        entry = find_entry(catalog, path)
        if entry is None or entry.type != FILE:
            raise _no_file(catalog, entry, path)
        require_content(entry)
        what = ("cat", snapshot.id.hex(), os.fsdecode(path))
        with recorded_reading(home, who, what) as job:
            size = 0
            for data in pieces(home, catalog, entry, chunk_key(home, snapshot)):
                sink(data)
                size += len(data)
            note_reading(job, who, snapshot, path, {"files": 1, "bytes": size})
    return size


def pieces(home: Home, catalog: Catalog, entry: Entry, key: bytes) -> Iterator[bytes | memoryview]:
    """The content of a file in order, holes as zeros; raises DamagedError when it is not what was recorded."""
    size = 0
    for piece in catalog.pieces(entry):
        size += piece.length
        if piece.chunk_id == HOLE:
            for start in range(0, piece.length, len(_ZEROS)):
                yield _ZEROS[: piece.length - start]
            continue
        data = home.reader.chunk(piece.segment, piece.chunk_id)
        if len(data) != piece.length or keyed_id(key, data) != piece.chunk_id:
            raise _wrong("a piece of a file is not what was recorded", entry)
        yield data
    if size != entry.size:
        raise _wrong("the pieces of a file do not add up to its size", entry)


def require_content(entry: Entry) -> None:
    """Raise RefusedError when a file could not be read when the snapshot was taken."""
    if entry.flags & UNREADABLE:
        raise RefusedError("the file could not be read when the snapshot was taken: its content is not there",
                           subject=os.fsdecode(entry.path), next_step="look for it in an older snapshot")


def chunk_key(home: Home, snapshot: SnapshotEntry) -> bytes:
    """The key of the chunk ids of a snapshot."""
    summary = snapshot.summary
    return (home.keyring.domain(summary.domain) if summary else home.keyring.default_domain).chunk_id_key


def _no_file(catalog: Catalog, entry: Entry | None, path: bytes) -> RefusedError:
    kind = TYPE_NAMES[entry.type] if entry is not None else "folder"
    next_step = "name a file; `farkeep dump` writes folders as a tar archive"
    if entry is not None and entry.type == LINK:
        next_step = f"it leads to {os.fsdecode(catalog.target(entry))!r}: name that file"
    return RefusedError(f"this is no file but a {kind}", subject=os.fsdecode(path), next_step=next_step)


def _wrong(message: str, entry: Entry) -> DamagedError:
    return DamagedError(message, subject=os.fsdecode(entry.path), next_step="run `farkeep verify --read-data`")
