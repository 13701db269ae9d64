"""Where segments really lie: what the trailers of packs say, held against the index, which may lie."""

from __future__ import annotations

from collections.abc import Container, Iterable

from shared.errors import FarkeepError
from siteagent.store.index import Index, Spot
from siteagent.store.names import SegmentName
from siteagent.store.pack import read_trailer
from siteagent.store.packs import Packs


def mend_spots(packs: Packs, pack_ids: Iterable[bytes], index: Index, retired: Container[SegmentName]) -> int:
    """Correct the index where it says something else than the trailers of these packs; returns how many rows.

    Where a segment lies in several of them the first one counts. Packs whose trailer does not read are passed over.
    """
    count, seen = 0, set[SegmentName]()
    for pack_id in pack_ids:
        try:
            _, rows = read_trailer(packs.open(pack_id), f"packs/{pack_id.hex()}.pack")
        except FarkeepError:
            continue
        spots = {row.name: Spot(pack_id, row.offset, row.length, row.table_length) for row in rows
                 if row.name not in retired and row.name not in seen}  # fmt: skip
        seen.update(spots)
        wrong = {name: spot for name, spot in spots.items() if index.spot(name) != spot}
        if wrong:
            index.move(wrong)
        count += len(wrong)
    return count
