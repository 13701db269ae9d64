"""Catalogs that no honest writer makes, stored and sealed properly: what a thief of the keys could slip in."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from shared.tree import FILE, FOLDER, LINK
from siteagent.home import Home
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalogbuilder import CatalogBuilder
from siteagent.store.entry import Entry
from siteagent.store.writer import RunKeys, StoreWriter

CONTENT = b"forged content"
LARGE_BYTES = 9 << 20
_MODES = {FILE: 0o100644, FOLDER: 0o040755, LINK: 0o120777}


def forge(home: Home, model: SnapshotEntry, entries: Sequence[tuple[bytes, bytes, str]]) -> SnapshotEntry:
    """A snapshot like `model` whose catalog has these (folder key, name, kind), in key order.

    Kinds: file, large, linked, folder, link (to /).
    """
    keys = RunKeys(home.keyring.site_id, home.keyring.current, home.keyring.default_domain)
    lease = home.leases.register("forging")
    store = StoreWriter(home.packs, home.index, home.reader, keys, lease, home.cited, home.world.randomness,
                        may_start_processes=False)  # fmt: skip
    try:
        builder = CatalogBuilder(store, home.keyring.default_domain.boundary_key, lambda _: set())
        for folder, name, kind in sorted(entries, key=lambda row: _entry(store, *row).key):
            builder.add(_entry(store, folder, name, kind))
        root = builder.finish()
        store.finish()
    finally:
        store.close()
        lease.end()
    assert model.summary is not None
    summary = msgspec.structs.replace(model.summary, root_page=root.page_id, root_segment=root.segment,
                                      levels=root.level)  # fmt: skip
    return msgspec.structs.replace(model, summary=summary)


def _entry(store: StoreWriter, folder: bytes, name: bytes, kind: str) -> Entry:
    number = {"folder": FOLDER, "link": LINK}.get(kind, FILE)
    ids, lengths, segments, size = b"", tuple[int, ...](), tuple[bytes, ...](), 0
    if number == FILE:
        data = memoryview(CONTENT) if kind != "large" else memoryview(bytes(LARGE_BYTES // 16))
        chunk_id, segment = store.put(data)
        count = 16 if kind == "large" else 1
        ids, segments, size = chunk_id * count, (segment,) * count, len(data) * count
        lengths = (len(data),) * count if count > 1 else ()
    group = 99 * (kind == "linked")
    return Entry(folder, name, number, _MODES[number], os.getuid(), os.getgid(), size, 5, 5, 7, group, 0, 0, ids,
                 lengths, b"", b"\0/" if kind == "link" else b"", b"", segments)  # fmt: skip
