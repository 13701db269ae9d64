"""Sweeping: segments that nothing needs are condemned, waited for, asked for again, given up by a fact.

Everything before the fact may be left at any moment. `free` removes what the fact names; salvage does the same when a
crash came between.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from msgspec import Struct

from shared.decisions import PacksReplaced, SegmentsSwept
from shared.errors import DamagedError, ExhaustedError, FarkeepError, UnavailableError
from shared.facts import Fact
from siteagent.home import Home
from siteagent.jobs.holds import hold_of
from siteagent.jobs.leaving import Leaving
from siteagent.jobs.needed import needed_segments, runs_of
from siteagent.jobs.packplan import Plan, dead_segments, plan_packs, views
from siteagent.jobs.repack import Repacking
from siteagent.store.clearing import Clearing
from siteagent.store.nameruns import pack_names
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.nameset import NameSet
from siteagent.store.pack import read_trailer

_NAMES_PER_FACT = 100_000
"""So that a fact stays below its limit however scattered the names are."""


class Swept(Struct):
    """What a sweep did to packs; sizes in bytes."""

    segments: int = 0
    deleted: int = 0
    punched: int = 0
    repacked: int = 0
    bytes_rewritten: int = 0


def require_present(home: Home, needed: NameSet) -> None:
    """Refuse to give anything up while something is missing that is not known to be damaged.

    Whoever knows not what became of a segment does not know what it may be in now. Raises DamagedError.
    """
    there = NameSet()
    for view in views(home):
        for row in view.rows:
            if row.name in needed:
                there.add(row.name)
    if len(there) == len(needed):
        return
    damaged = home.ledger.history().damaged
    for entry in home.ledger.history().snapshots:
        for name in home.successors.closed(home.snapshots.segments(entry.id, entry.taken.reach)):
            if name in needed and name not in there and name not in damaged:
                raise DamagedError("a segment that a snapshot needs is in no pack that reads: nothing is given up",
                                   subject=shown_segment(name),
                                   next_step="run `farkeep verify`, which notes what is lost, and `farkeep repair "
                                             "packs`, then prune again")


def sweep(home: Home, job: bytes, *, is_now: bool, budget_bytes: int) -> Swept:
    """Give up what nothing needs, as facts and on the disk."""
    staying = home.ledger.history().snapshots
    condemned = dead_segments(home, needed_segments(home, staying), runs_of(home, staying, is_now=is_now))
    newest = home.leases.condemn(condemned)
    try:
        home.leases.wait_until_clear(newest, home.access.wait_s)
        # Snapshots that were taken meanwhile by jobs that did not know: what they need stays.
        needed = needed_segments(home, home.ledger.history().snapshots)
        dead = frozenset(name for name in condemned if name not in needed)
        plan = plan_packs(home, needed, dead, can_punch=_can_punch(home, dead))
        return _give_up(home, job, plan, dead, budget_bytes)
    finally:
        home.leases.release(condemned)


def _give_up(home: Home, job: bytes, plan: Plan, dead: frozenset[SegmentName], budget_bytes: int) -> Swept:
    repacking = Repacking(home)
    rewritten = _repacked(plan, repacking, dead, budget_bytes)
    home.notes += repacking.notes
    going = tuple(pack.pack_id for pack in plan.treated("delete"))
    facts = list(_swept_facts(job, dead, going))
    if repacking.removed:
        facts.insert(0, Fact(PacksReplaced(job=job, packs=tuple(repacking.packs), removed=tuple(repacking.removed))))
    home.ledger.record(*facts)
    done = Swept(len(dead), bytes_rewritten=rewritten, repacked=len(repacking.removed))
    done.deleted, done.punched = free(home, plan)
    done.deleted = max(0, done.deleted - len(repacking.removed))
    return done


def _repacked(plan: Plan, repacking: Repacking, dead: frozenset[SegmentName], budget_bytes: int) -> int:
    """Copy what is to be copied, if there is room for that; returns the bytes written."""
    try:
        _repack(plan, repacking, dead, budget_bytes)
        return repacking.finish()
    except ExhaustedError as error:
        repacking.take_back()
        repacking.notes.append(f"no pack is copied: {error.message}; prune again when there is room")
        for pack in plan.treated("repack"):
            pack.treatment = "punch"
        return 0
    except BaseException:
        with contextlib.suppress(FarkeepError):
            repacking.take_back()
        raise


def _repack(plan: Plan, repacking: Repacking, dead: frozenset[SegmentName], budget_bytes: int) -> None:
    for pack in sorted(plan.treated("repack"), key=lambda pack: (pack.kind, pack.staying_bytes, pack.pack_id)):
        if pack.staying_bytes > budget_bytes or not repacking.copy(pack, dead):
            pack.treatment = "punch"
            continue
        budget_bytes -= pack.staying_bytes


def _swept_facts(job: bytes, dead: frozenset[SegmentName], packs: tuple[bytes, ...]) -> Iterator[Fact]:
    names = sorted(dead)
    for start in range(0, max(len(names), len(packs)), _NAMES_PER_FACT):
        part = slice(start, start + _NAMES_PER_FACT)
        yield Fact(SegmentsSwept(job=job, snapshots=(), segments=pack_names(names[part]), packs=packs[part]))


def free(home: Home, plan: Plan) -> tuple[int, int]:
    """Remove what facts have given up; returns how many packs went and how many got holes.

    First what is given up is noted beside the packs; then the index, so that nothing leads to what is about to go; then
    whole packs, then stretches.
    """
    home.note_changes()
    if not _are_readers_gone(home):
        return 0, 0
    # Whoever comes now knows these facts; it may look for packs when what goes is out of the index, too.
    with home.arranging:
        return _remove(home, plan)


def _remove(home: Home, plan: Plan) -> tuple[int, int]:
    history = home.ledger.history()
    for pack in plan.packs:
        home.index.drop_segments(pack.going)
    home.snapshots.remove(history.swept, set(history.snapshot_ids))
    clearing = Clearing(home.packs, home.index, history.packs_gone, home.retired)
    deleted = len(clearing.delete_gone())
    punched = 0
    for pack in plan.treated("punch"):
        reader = home.packs.open(pack.pack_id)
        _, rows = read_trailer(reader, pack.pack_id.hex())
        going = [row for row in rows if row.name in home.retired]
        punched += clearing.punch(pack.pack_id, reader.size_bytes, going)
    home.notes += clearing.notes
    return deleted, punched


def _are_readers_gone(home: Home) -> bool:
    """Wait for jobs that may have asked where segments lie before packs were copied; False when they are still there.

    Then what was given up by facts stays for now: the next writer finds it and removes it.
    """
    try:
        home.leases.wait_until_clear(home.leases.condemn(frozenset()), home.access.wait_s)
    except UnavailableError as error:
        home.notes.append(f"what was given up is removed by the next job: {error.message}")
        return False
    return True


def _can_punch(home: Home, dead: frozenset[SegmentName]) -> bool:
    try:
        return not dead or home.packs.can_punch(home.world.randomness.bits(16))
    except ExhaustedError:
        # No room for the probe: then holes are the only way to make some.
        return True


def give_up_snapshots(home: Home, job: bytes, found: Leaving) -> int:
    """Record that snapshots are swept: from here on nobody can recall or open them. Returns how many."""
    with home.deciding:
        history, counted_ns = home.ledger.history(), home.ledger.counted().now_ns
        known = {entry.id: entry for entry in history.forgotten}
        going = [entry.id for entry in found.going
                 if entry.id in known and hold_of(history.holds, known[entry.id], counted_ns) is None]  # fmt: skip
        if going:
            home.ledger.record(Fact(SegmentsSwept(job=job, snapshots=tuple(going), segments=b"")))
    return len(going)
