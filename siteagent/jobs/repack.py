"""Copying what stays of some packs into new ones: header, table and body of each segment as they are."""

from __future__ import annotations

from shared.errors import DamagedError, FarkeepError
from shared.facts import PackRef
from shared.merkle import digest_of
from siteagent.home import Home
from siteagent.jobs.packplan import PackPlan
from siteagent.store.index import Spot
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.nameset import NameSet
from siteagent.store.pack import PackHeader, Reads, Row, read_trailer
from siteagent.store.packwriter import PackWriter, StoredSegment
from siteagent.store.scrub import check_head
from siteagent.store.segment import HEADER_BYTES, KIND_NAMES


class Repacking:
    """Copies packs. `packs` are new and durable when `finish` has returned, `removed` are those they stand in for."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._writers = {
            kind: PackWriter(home.packs, home.index, home.keyring.site_id, kind, home.cited, home.world.randomness,
                             home.world.pack_bytes)
            for kind in KIND_NAMES
        }  # fmt: skip
        self._done = NameSet()
        self._from: dict[SegmentName, Spot] = {}
        self.removed: list[bytes] = []
        self.packs: list[PackRef] = []
        self.notes: list[str] = []

    def copy(self, plan: PackPlan, going: frozenset[SegmentName]) -> bool:
        """Copy one pack without `going` and what is retired; False when it does not read and has to stay."""
        subject = f"packs/{plan.pack_id.hex()}.pack"
        try:
            pack = self._home.packs.open(plan.pack_id)
            about, rows = read_trailer(pack, subject)
            rows = [row for row in rows if row.name not in going and row.name not in self._home.retired
                    and row.name not in self._done]  # fmt: skip
            for row in rows:
                _read(pack, row)
        except FarkeepError as error:
            self.notes.append(f"{subject} is not copied: {error.message}; see `farkeep repair packs`")
            return False
        self.add(pack, about, rows)
        self.removed.append(plan.pack_id)
        return True

    def add(self, pack: Reads, about: PackHeader, rows: list[Row]) -> None:
        """Copy these segments of a pack; raises when one of them is not what the row says."""
        for row in rows:
            data, table = _read(pack, row), check_head(pack, about, row, self._home.keyring)
            depths = [table.frames[frame].depth for frame in table.chunk_frames]
            stored = StoredSegment(row.name, row.digest, table.ids, depths)
            split = HEADER_BYTES + row.table_length
            parts = (data[:HEADER_BYTES], data[HEADER_BYTES:split], data[split:])
            self._writers[about.kind].add(stored, parts, _Same(row.name, data))
            self._done.add(row.name)
            self._from[row.name] = Spot(about.pack_id, row.offset, row.length, row.table_length)

    def finish(self) -> int:
        """Make the new packs durable; returns their bytes."""
        for writer in self._writers.values():
            writer.flush()
            self.packs += writer.take()
        return sum(pack.size_bytes for pack in self.packs)

    def take_back(self) -> None:
        """Remove the copies that were made: no fact names them yet. While jobs run that may have been led to them they
        are left to the next writer, who takes them over."""
        self.discard()
        for writer in self._writers.values():
            self.packs += writer.take()
        for pack in self.packs:
            self._home.index.drop_pack(pack.id)
        self._home.index.move(self._from)
        for pack in () if self._home.leases.held() else self.packs:
            self._home.packs.delete(pack.id)
        self.packs, self.removed = [], []

    def discard(self) -> None:
        """Give up what is not finished."""
        for writer in self._writers.values():
            writer.discard()


class _Same:
    """Compares what was read back with what was written."""

    def __init__(self, name: SegmentName, data: bytes) -> None:
        self._name, self._data = name, data

    def __call__(self, data: bytes) -> None:
        if data != self._data:
            raise DamagedError("a copied segment does not read back as it was written: memory or disk is at fault",
                               subject=shown_segment(self._name),
                               next_step="check the disk (dmesg, smartctl), then run the command again")  # fmt: skip


def _read(pack: Reads, row: Row) -> bytes:
    data = pack.read_at(row.offset, row.length)
    if digest_of([data]) != row.digest:
        raise DamagedError("a segment's bytes are not those its pack's trailer has the digest of",
                           subject=shown_segment(row.name), next_step="run `farkeep verify --read-data`")
    return data
