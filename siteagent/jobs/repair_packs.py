"""Mending packs: what can be read of a damaged one is copied into a sound one, and what is lost is recorded.

Concerned are packs without a sound trailer (they are walked from segment to segment) and packs with segments that
`farkeep verify` recorded as damaged. No readable byte is removed: the old pack goes only when nothing of it is lost,
otherwise it is set aside under a name that stands for no pack.

| step | durable after it                                   | a crash then leaves                                      |
| ---- | -------------------------------------------------- | -------------------------------------------------------- |
| 1    | new packs with all segments that open              | the same segments twice: taken over by the next writer   |
| 2    | facts packs.replaced, verification.done (the lost) | an old pack that was given up and does not read: kept by |
|      |                                                    | the next writer, set aside by the next repair            |
| 3    | the old pack has another name, or is gone          |                                                          |
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from shared.decisions import PacksReplaced
from shared.errors import FarkeepError
from shared.facts import Fact, PackRef, VerificationDone, VerificationDoneSealed
from siteagent.home import Home
from siteagent.jobs.record import RunningJob, Who, recorded_writing
from siteagent.jobs.repack import Repacking
from siteagent.salvage import refresh_index
from siteagent.store.clearing import Clearing
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.pack import Cited, PackHeader, Reads, Row, read_trailer
from siteagent.store.packwalk import walk_pack
from siteagent.store.scrub import check_whole
from siteagent.store.segment import HEADER_BYTES, parse_header


class MendedPack(Struct):
    """One pack: what was wrong, how many segments were saved, which are lost, and where the old file is (empty: gone).

    `unnamed`: lost segments of which nothing tells the name.
    """

    pack_id: bytes
    damage: str
    saved: int = 0
    lost: list[str] = field(default_factory=list)
    unnamed: int = 0
    aside: str = ""

    @property
    def is_whole(self) -> bool:
        """True when nothing of it is lost."""
        return not self.lost and not self.unnamed


class PackRepair(Struct):
    """What was done."""

    packs: int = 0
    mended: list[MendedPack] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """True when nothing is lost."""
        return all(pack.is_whole for pack in self.mended)


def repair_packs(home: Home, who: Who | None = None, watch: Callable[[PackRepair], None] | None = None) -> PackRepair:
    """Mend all damaged packs; raises like `prepare_writing`, DamagedError when a copy does not read back."""
    report, began_ns = PackRepair(), home.world.clock.monotonic_ns()
    if watch is not None:
        watch(report)
    with home.leases.pruning():
        with recorded_writing(home, "repair", who or Who("", ""), ("packs",)) as job:
            for pack_id in home.packs.finished():
                _look_at(home, pack_id, job, report)
            job.outcome = "done" if report.is_good else "partial"
            job.counters = {"packs": report.packs, "mended": len(report.mended)}
    report.seconds = (home.world.clock.monotonic_ns() - began_ns) / 1e9
    report.notes += home.notes
    return report


def _look_at(home: Home, pack_id: bytes, job: RunningJob, report: PackRepair) -> None:
    recorded_pack = home.ledger.history().packs.get(pack_id)
    report.packs += 1
    if recorded_pack is None:
        if pack_id in home.ledger.history().packs_gone:
            _put_away(home, MendedPack(pack_id, "it was given up before"), report, is_gone=False)
        return
    try:
        pack = home.packs.open(pack_id)
        found = _find(home, pack, pack_id)
    except FarkeepError as error:
        report.notes.append(f"{_subject(pack_id)} cannot be read at all and is left alone: {error.message}")
        return
    if found is not None:
        _mend(home, pack, recorded_pack, found, job, report)


class _Found(Struct):
    """What a damaged pack still holds, and the names that it should hold; `known`: segments of known name, retired
    ones too."""

    damage: str
    rows: list[tuple[PackHeader, Row]]
    names: set[SegmentName]
    known: int


def _find(home: Home, pack: Reads, pack_id: bytes) -> _Found | None:
    """What a pack still holds; None when it is sound as far as is known."""
    try:
        about, rows = read_trailer(pack, _subject(pack_id))
    except FarkeepError as error:
        return _walked(home, pack, pack_id, error.message)
    rows = [row for row in rows if row.name not in home.retired]
    damaged = home.ledger.history().damaged
    if not any(row.name in damaged for row in rows):
        return None
    sound = [(about, row) for row in rows if _holds(home, pack, about, row)]
    if len(sound) == len(rows):
        return None
    return _Found("it holds damaged segments", sound, {row.name for row in rows}, 1 << 32)


def _walked(home: Home, pack: Reads, pack_id: bytes, damage: str) -> _Found:
    """What lies in a pack without its trailer; the index may still know the names of what does not open."""
    found = [row for row, _ in walk_pack(pack, pack_id, _subject(pack_id), home.keyring)]
    saved = [row for row in found if row.name not in home.retired]
    names = {name for name in home.index.segments() if (spot := home.index.spot(name)) and spot.pack_id == pack_id}
    names |= {row.name for row in found}
    needed = {name for name in names if name not in home.retired}
    return _Found(damage, [(_about(home, pack, pack_id, row), row) for row in saved], needed, len(names))


def _about(home: Home, pack: Reads, pack_id: bytes, row: Row) -> PackHeader:
    kind = parse_header(pack.read_at(row.offset, HEADER_BYTES), _subject(pack_id)).kind
    return PackHeader(kind, home.keyring.site_id, pack_id, Cited(bytes(32), 0, bytes(32)))


def _holds(home: Home, pack: Reads, about: PackHeader, row: Row) -> bool:
    try:
        check_whole(pack, about, row, home.keyring)
    except FarkeepError:
        return False
    return True


def _mend(home: Home, pack: Reads, before: PackRef, found: _Found, job: RunningJob, report: PackRepair) -> None:
    copying = Repacking(home)
    try:
        for about, row in found.rows:
            copying.add(pack, about, [row])
        copying.finish()
    finally:
        copying.discard()
    lost = found.names - {row.name for _, row in found.rows}
    mended = MendedPack(before.id, found.damage, len(found.rows), sorted(map(shown_segment, lost)),
                        max(0, before.segments - found.known))
    done = VerificationDone(job=job.id, mode="repair", segments_checked=len(found.names), bytes_read=pack.size_bytes,
                            damaged=tuple(sorted(lost)))  # fmt: skip
    home.ledger.record(
        Fact(PacksReplaced(job=job.id, packs=tuple(copying.packs), removed=(before.id,))),
        Fact(done, VerificationDoneSealed(percent=100.0, message=f"mending {_subject(before.id)}")),
    )
    home.leases.wait_until_clear(home.leases.condemn(frozenset()), home.access.wait_s)
    with home.arranging:
        clearing = Clearing(home.packs, home.index, [before.id], home.retired)
        is_gone = mended.is_whole and clearing.delete_unreadable(before.id, found.names)
        _put_away(home, mended, report, is_gone=is_gone)


def _put_away(home: Home, mended: MendedPack, report: PackRepair, *, is_gone: bool) -> None:
    """Give an old pack that is still there a name that stands for no pack."""
    if not is_gone:
        mended.aside = home.packs.set_aside(mended.pack_id)
    refresh_index(home)
    report.mended.append(mended)


def _subject(pack_id: bytes) -> str:
    return f"packs/{pack_id.hex()}.pack"
