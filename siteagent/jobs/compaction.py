"""Compaction: segments of which little is still used are superseded by new ones that hold what is.

Only segments of runs whose snapshot does not stay can hold anything unused; what is used may yet be heavy
(siteagent.jobs.heavy) wherever it is. What a crash between two steps leaves:

| step | durable after it                                  | a crash then leaves                                      |
| ---- | ------------------------------------------------- | -------------------------------------------------------- |
| 1    | fact job.started (compact, names the run)         | a job without an end                                     |
| 2    | packs of a batch                                  | whole packs, taken over like those of a backup; nothing  |
|      |                                                   | rests on them, the next prune gives them up              |
| 3    | facts segments.superseded, with the packs         | a batch that is done; the old segments are swept by the  |
|      |                                                   | next prune                                               |

Reaches, pages and manifests stay as they are: whoever reads follows the facts (siteagent.store.successors).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

from shared.decisions import SegmentsSuperseded
from shared.errors import DamagedError, FarkeepError
from shared.facts import Fact
from siteagent.home import Home
from siteagent.jobs.copying import Copied, Copying
from siteagent.jobs.heavy import Heavy
from siteagent.jobs.needed import Runs
from siteagent.jobs.packplan import views
from siteagent.jobs.record import Who, recorded
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalog import Root
from siteagent.store.liveness import Liveness
from siteagent.store.nameruns import pack_names
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.nameset import NameSet
from siteagent.store.table import Table
from siteagent.store.writer import RunKeys, StoreWriter

LIVE_SHARE_MAX = 0.75
"""Segments of which more is used stay (measured: ARCHITECTURE.md)."""
CANDIDATES_MAX = 1 << 18
"""One bit per chunk of each: some 256 GiB of segments, 30 to 250 MB. What is beyond waits for the next prune."""
GROUP_BYTES, BATCH_BYTES = 8 << 20, 64 << 20


class Used(Struct, frozen=True):
    """A segment to be compacted: bits of the places that are used, and the share of its bytes that they are."""

    name: SegmentName
    kind: int
    bits: int
    share: float
    stored_bytes: int

    @property
    def is_unused(self) -> bool:
        """True when nothing of it is used: then nothing has to be looked for instead of it."""
        return not self.bits

    @property
    def copied_bytes(self) -> int:
        """About what its used part will take."""
        return int(self.share * self.stored_bytes)


class Compacted(Struct):
    """What a compaction did. `lighter`: delta frames that rest on less now."""

    superseded: int = 0
    bytes_rewritten: int = 0
    bytes_held_by_deltas: int = 0
    lighter: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, other: Compacted) -> None:
        """Count in another pass; what deltas hold is what they hold after the last one."""
        self.superseded += other.superseded
        self.bytes_rewritten += other.bytes_rewritten
        self.lighter += other.lighter
        self.bytes_held_by_deltas = other.bytes_held_by_deltas
        self.notes += other.notes


def candidates(home: Home, needed: NameSet, runs: Runs) -> dict[SegmentName, tuple[int, int]]:
    """(kind, length) of the segments that may hold what nothing uses any more."""
    found: dict[SegmentName, tuple[int, int]] = {}
    damaged = home.ledger.history().damaged
    for view in views(home):
        for row in view.rows:
            if row.name in needed and row.name[:16] not in runs.kept and row.name not in damaged and view.is_known:
                found[row.name] = (view.about.kind, row.length)
    if len(found) <= CANDIDATES_MAX:
        return found
    names = sorted(found)
    start = int.from_bytes(home.world.randomness.bits(8), "little") % len(names)
    return {name: found[name] for name in [*names[start:], *names[:start]][:CANDIDATES_MAX]}


def followed(home: Home, staying: list[SnapshotEntry], names: dict[SegmentName, tuple[int, int]]) -> Liveness:
    """What of these segments the snapshots that stay use; raises when a catalog does not read or may not be read."""
    live = Liveness(home.reader, names)
    for entry in staying:
        if entry.summary is None:
            raise DamagedError("what is recorded of a snapshot cannot be read", subject=entry.id.hex())
        live.follow(Root(entry.summary.root_page, entry.summary.root_segment, entry.summary.levels))
    return live


def chosen(home: Home, live: Liveness, heavy: Heavy, names: dict[SegmentName, tuple[int, int]],
           budget_bytes: int) -> list[Used]:
    """The segments to compact: most gain first, as many as the budget allows to be written again; in order of names."""
    with_heavy = {name for name, _ in heavy.held}
    found = [used for name, (kind, length) in names.items()
             if (used := _used(home, live, name, kind, length))
             and (used.share <= LIVE_SHARE_MAX or name in with_heavy)]  # fmt: skip
    found += [used for name in sorted(with_heavy) if name not in names and (used := _whole(home, name))]
    taken, left = list[Used](), budget_bytes
    for used in sorted(found, key=lambda used: (used.share, used.name)):
        if used.copied_bytes <= left:
            left -= used.copied_bytes
            taken.append(used)
    return sorted(taken, key=lambda used: (used.kind, used.is_unused, used.name))


def _used(home: Home, live: Liveness, name: SegmentName, kind: int, length: int) -> Used | None:
    """How much of a segment is used; None when it must stay as it is."""
    bits = live.live[name] | live.based[name]
    if not bits:
        return Used(name, kind, 0, 0.0, length)
    try:
        opened = home.reader.table(name)
    except FarkeepError:
        return None
    if opened.header.domain != home.keyring.default_domain.id:
        return None
    return Used(name, kind, bits, _share(opened.table, bits), length)


def _share(table: Table, bits: int) -> float:
    """The share of a segment's stored bytes that the chunks at these places take; delta frames count whole."""
    plain = [0] * len(table.frames)
    for place, (number, length) in enumerate(zip(table.chunk_frames, table.lengths, strict=True)):
        plain[number] += length * (bits >> place & 1)
    used = sum(row.stored_bytes * (1.0 if row.bases and size else size / row.plain_bytes)
               for row, size in zip(table.frames, plain, strict=True) if row.plain_bytes)  # fmt: skip
    total = sum(row.stored_bytes for row in table.frames)
    return used / total if total else 1.0


def _whole(home: Home, name: SegmentName) -> Used | None:
    """All of a segment of a run whose snapshot stays."""
    try:
        opened, spot = home.reader.table(name), home.reader.spot(name)
    except FarkeepError:
        return None
    if opened.header.domain != home.keyring.default_domain.id or name in home.ledger.history().damaged:
        return None
    return Used(name, opened.header.kind, (1 << len(opened.table)) - 1, 1.0, spot.length)


def held_by_deltas(live: Liveness, names: dict[SegmentName, tuple[int, int]]) -> int:
    """Bytes of the segments that stay only because deltas rest on them."""
    return sum(length for name, (_, length) in names.items() if live.based[name] and not live.live[name])


def compact(home: Home, who: Who, used: list[Used], heavy: Heavy) -> Compacted:
    """Write what is used of these segments anew and record that they are superseded."""
    lease, done = home.leases.register("compaction"), Compacted()
    keys = RunKeys(home.keyring.site_id, home.keyring.current, home.keyring.default_domain)
    writer = StoreWriter(home.packs, home.index, home.reader, keys, lease, home.cited, home.world.randomness,
                         may_start_processes=home.world.may_start_processes,
                         pack_bytes=home.world.pack_bytes)  # fmt: skip
    try:
        with recorded(home, "compact", who, (f"{len(used)} segments",), run=writer.run) as job:
            for batch in _stretches(used, BATCH_BYTES):
                _Batch(home, writer, heavy, done).write(batch)
            done.bytes_rewritten = writer.stored_bytes
            job.counters = {"segments": done.superseded, "bytes_rewritten": done.bytes_rewritten}
    finally:
        writer.close()
        lease.end()
    return done


def _stretches(used: list[Used], size_bytes: int) -> Iterator[list[Used]]:
    """Cut a list where what is to be copied gets larger than this, where the kind changes and where use begins."""
    part, size = list[Used](), 0
    for item in used:
        if part and (size + item.copied_bytes > size_bytes or _class(item) != _class(part[0])):
            yield part
            part, size = [], 0
        part.append(item)
        size += item.copied_bytes
    if part:
        yield part


def _class(used: Used) -> tuple[int, bool]:
    return used.kind, used.is_unused


class _Batch:
    """Segments that are written and recorded together."""

    def __init__(self, home: Home, writer: StoreWriter, heavy: Heavy, done: Compacted) -> None:
        self._home, self._writer, self._done = home, writer, done
        self._copying = Copying(home, writer, heavy)

    def write(self, batch: list[Used]) -> None:
        """Copy, make durable, record."""
        groups = list[tuple[set[SegmentName], list[SegmentName]]]()
        for part in _stretches(batch, GROUP_BYTES):
            new, old = set[SegmentName](), list[SegmentName]()
            for used in part:
                if (copied := self._copy(used)) is not None:
                    new |= copied.segments
                    old.append(used.name)
                    self._done.lighter += copied.lighter
            if old:
                groups.append((new, old))
        packs = tuple(self._writer.finish())
        facts = [
            Fact(SegmentsSuperseded(run=self._writer.run, new=pack_names(new), old=pack_names(old),
                                    packs=packs if number == 0 else ()))
            for number, (new, old) in enumerate(groups)
        ]  # fmt: skip
        self._home.ledger.record(*facts)
        self._done.superseded += sum(len(old) for _, old in groups)

    def _copy(self, used: Used) -> Copied | None:
        """Copy what is used of a segment; None when it has to stay."""
        try:
            return self._copying.copy(used.name, used.bits, is_worth_it=used.share <= LIVE_SHARE_MAX)
        except FarkeepError as error:
            self._done.notes.append(f"segment {shown_segment(used.name)} is not compacted: {error.message}")
            return None
