"""Catalogs that no honest writer makes, stored and sealed properly: what a thief of the keys could slip in."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec

from shared.tree import FILE, FOLDER, LINK
from siteagent.home import Home
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalog import Root
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
    return forge_rows(home, model, lambda store: sorted((forged_entry(store, *row) for row in entries),
                                                        key=lambda entry: entry.key))  # fmt: skip


def forge_rows(home: Home, model: SnapshotEntry, make: Callable[[StoreWriter], list[Entry]]) -> SnapshotEntry:
    """The same with any rows, in the order in which they are given."""

    def build(store: StoreWriter) -> Root:
        builder = CatalogBuilder(store, home.keyring.default_domain.boundary_key, lambda _: set())
        for entry in make(store):
            builder.add(entry)
        return builder.finish()

    return forge_root(home, model, build)


def forge_root(home: Home, model: SnapshotEntry, build: Callable[[StoreWriter], Root]) -> SnapshotEntry:
    """A snapshot like `model` with the root that `build` made of pages of its own."""
    keys = RunKeys(home.keyring.site_id, home.keyring.current, home.keyring.default_domain)
    lease = home.leases.register("forging")
    store = StoreWriter(home.packs, home.index, home.reader, keys, lease, home.cited, home.world.randomness,
                        may_start_processes=False)  # fmt: skip
    try:
        root = build(store)
        store.finish()
    finally:
        store.close()
        lease.end()
    assert model.summary is not None
    summary = msgspec.structs.replace(model.summary, root_page=root.page_id, root_segment=root.segment,
                                      levels=root.level)  # fmt: skip
    return msgspec.structs.replace(model, summary=summary)


def forged_entry(store: StoreWriter, folder: bytes, name: bytes, kind: str) -> Entry:
    """A row of a kind, its content stored."""
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
