"""What an entry of a catalog refers to: segment and id of every chunk and page that it names itself."""

from __future__ import annotations

from collections.abc import Iterator

from shared.tree import HOLE
from siteagent.store.columns import split_items
from siteagent.store.entry import Entry
from siteagent.store.names import SegmentName

_ID = 32


def references(entry: Entry) -> Iterator[tuple[SegmentName, bytes]]:
    """(segment, id), in the order of the page's side record: chunks, root of the chunk list, values out of line."""
    return zip(entry.segments, _ids(entry), strict=True)


def _ids(entry: Entry) -> Iterator[bytes]:
    yield from (chunk_id for chunk_id in split_items(entry.ids, _ID) if chunk_id != HOLE)
    if entry.tree:
        yield entry.tree[1:]
    yield from (stored[5:37] for stored in (entry.target, entry.xattrs) if stored[:1] == b"\1")
