"""The reach of a catalog worked out from what is stored: what a backup adds up while it builds must be the same."""

from __future__ import annotations

from siteagent.store.catalog import Catalog
from siteagent.store.chunklist import PageSource
from siteagent.store.names import SegmentName
from siteagent.store.page import side_segments


def reach_of(catalog: Catalog, source: PageSource) -> set[SegmentName]:
    """Every segment a catalog needs, from its pages' own sets; reads index pages and tables, no entry page."""
    needed: set[SegmentName] = set()
    for row, _ in catalog.index_rows():
        needed.add(row.segment)
        needed |= source.frame_closure(row.segment, row.page_id)
        needed.update(side_segments(source.side(row.segment, row.page_id)))
    return needed
