"""Removing from packs what facts say is given up: whole packs, and stretches of packs that stay.

May be repeated at any time and be cut off anywhere: what is done follows from facts and from what lies on the disk. A
pack goes only when each of its segments is retired or is found in another pack, whatever a fact says of it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from shared.errors import FarkeepError
from siteagent.store.holes import BLOCK_BYTES, hole_bytes, holes
from siteagent.store.index import Index, Spot
from siteagent.store.names import SegmentName
from siteagent.store.pack import Row, read_trailer
from siteagent.store.packs import Packs
from siteagent.store.segment import HEADER_BYTES, parse_header


class Clearing:
    """Clears the packs of one home. `gone`: packs that were given up; `retired`: segments that were."""

    def __init__(self, packs: Packs, index: Index, gone: Iterable[bytes], retired: Container[SegmentName]) -> None:
        self._packs, self._index, self._gone, self._retired = packs, index, set(gone), retired
        self.notes: list[str] = []

    def delete_gone(self) -> list[bytes]:
        """Delete the packs that were given up and are still there; returns those that went."""
        there = set(self._packs.finished())
        return [pack_id for pack_id in sorted(there & self._gone) if self._delete(pack_id, there - self._gone)]

    def _delete(self, pack_id: bytes, others: set[bytes]) -> bool:
        try:
            _, rows = read_trailer(self._packs.open(pack_id), _subject(pack_id))
        except FarkeepError as error:
            self.notes.append(f"{_subject(pack_id)} was given up and is kept: it does not read: {error.message}")
            return False
        return self._delete_with(pack_id, {row.name for row in rows if row.name not in self._retired}, others)

    def delete_unreadable(self, pack_id: bytes, names: set[SegmentName]) -> bool:
        """Delete a pack whose trailer does not read and that holds these segments; False when it has to stay."""
        return self._delete_with(pack_id, names, set(self._packs.finished()) - self._gone)

    def _delete_with(self, pack_id: bytes, wanted: set[SegmentName], others: set[bytes]) -> bool:
        if lacking := wanted - self._found_elsewhere(wanted, others):
            self.notes.append(f"{_subject(pack_id)} was given up and is kept: {len(lacking)} of its segments are in no "
                              "other pack")  # fmt: skip
            return False
        self._index.drop_pack(pack_id)
        self._packs.delete(pack_id)
        return True

    def _found_elsewhere(self, wanted: set[SegmentName], others: set[bytes]) -> set[SegmentName]:
        """Those of the segments that other packs hold; the index is told where, when it says otherwise."""
        spots = ((name, self._index.spot(name)) for name in wanted)
        found = {name for name, spot in spots if spot and spot.pack_id in others and self._is_at(name, spot)}
        if found == wanted:
            return found
        for pack_id in sorted(others):
            found |= self._found_in(pack_id, wanted - found)
        return found

    def _found_in(self, pack_id: bytes, wanted: set[SegmentName]) -> set[SegmentName]:
        try:
            _, rows = read_trailer(self._packs.open(pack_id), _subject(pack_id))
        except FarkeepError:
            return set()
        spots = {row.name: Spot(pack_id, row.offset, row.length, row.table_length) for row in rows
                 if row.name in wanted}  # fmt: skip
        found = {name: spot for name, spot in spots.items() if self._is_at(name, spot)}
        self._index.move(found)
        return set(found)

    def _is_at(self, name: SegmentName, spot: Spot) -> bool:
        try:
            data = self._packs.open(spot.pack_id).read_at(spot.offset, HEADER_BYTES)
            return parse_header(data, _subject(spot.pack_id)).name == name
        except FarkeepError:
            return False

    def punch_all(self) -> list[bytes]:
        """Punch what is retired out of every pack; returns those that got smaller."""
        return [pack_id for pack_id in self._packs.finished() if self._punch(pack_id)]

    def _punch(self, pack_id: bytes) -> bool:
        try:
            pack = self._packs.open(pack_id)
            _, rows = read_trailer(pack, _subject(pack_id))
        except FarkeepError:
            return False
        return self.punch(pack_id, pack.size_bytes, [row for row in rows if row.name in self._retired])

    def punch(self, pack_id: bytes, size_bytes: int, rows: list[Row]) -> bool:
        """Punch these segments out of a pack, unless that was done; False when nothing changed."""
        if not rows or self._packs.allocated(pack_id) <= size_bytes - hole_bytes(rows) + BLOCK_BYTES:
            return False
        results = [self._packs.punch(pack_id, offset, length) for offset, length in holes(rows)]
        return any(results)


def _subject(pack_id: bytes) -> str:
    return f"packs/{pack_id.hex()}.pack"
