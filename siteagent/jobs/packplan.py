"""What is to become of each pack: it stays, goes, gets holes, or what is left of it is copied into another pack.

A pack without anything that stays goes. Holes cost nothing and are the rule; a pack that would still waste more than a
quarter after punching (a small one, mostly) is copied. So that a thousand nights do not leave two thousand files, packs
of about one size are copied together once there are eight of them: each byte is copied once per eightfold growth.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Literal

from msgspec import Struct, field

from shared.errors import FarkeepError
from siteagent.home import Home
from siteagent.jobs.needed import Runs
from siteagent.store.holes import hole_bytes
from siteagent.store.names import SegmentName
from siteagent.store.nameset import NameSet
from siteagent.store.pack import PackHeader, Row, read_trailer

Treatment = Literal["keep", "delete", "punch", "repack"]
WASTE_SHARE, WASTE_BYTES = 0.25, 8192
TIER_PACKS, TIER_BITS = 8, 3


class PackView(Struct, frozen=True):
    """A pack that is there: what its trailer says, and whether the log knows it."""

    about: PackHeader
    rows: list[Row]
    size_bytes: int
    is_known: bool

    @property
    def pack_id(self) -> bytes:
        """The pack's id."""
        return self.about.pack_id


class PackPlan(Struct):
    """One pack: bytes of the segments that stay, names that go, and what is done. `is_open`: not to be copied."""

    pack_id: bytes
    kind: int
    staying_bytes: int
    going: list[SegmentName]
    treatment: Treatment
    is_open: bool


class Plan(Struct):
    """All packs; `placed`: segments that stay in those looked at so far."""

    packs: list[PackPlan] = field(default_factory=list)
    placed: NameSet = field(default_factory=NameSet)

    def treated(self, treatment: Treatment) -> list[PackPlan]:
        """The packs with which this is done."""
        return [plan for plan in self.packs if plan.treatment == treatment]


def views(home: Home, notes: list[str] | None = None) -> Iterator[PackView]:
    """Every pack whose trailer reads, those the log knows first; the others are left alone, and `notes` says so."""
    known, gone = home.ledger.history().packs, set(home.ledger.history().packs_gone)
    there = [pack_id for pack_id in home.packs.finished() if pack_id not in gone]
    for pack_id in sorted(there, key=lambda pack_id: (pack_id not in known, pack_id)):
        subject = f"packs/{pack_id.hex()}.pack"
        try:
            pack = home.packs.open(pack_id)
            about, rows = read_trailer(pack, subject)
        except FarkeepError as error:
            if notes is not None:
                notes.append(f"{subject} is left alone: {error.message}; see `farkeep repair packs`")
            continue
        if about.pack_id == pack_id:
            yield PackView(about, rows, pack.size_bytes, pack_id in known)


def dead_segments(home: Home, needed: NameSet, runs: Runs) -> frozenset[SegmentName]:
    """Segments in packs that nothing needs and that nobody will come to need."""
    return frozenset(row.name for view in views(home) for row in view.rows
                     if row.name not in needed and row.name not in home.retired and runs.is_over(row.name))


def plan_packs(home: Home, needed: NameSet, dead: Container[SegmentName], *, can_punch: bool) -> Plan:
    """Decide about every pack."""
    plan, notes = Plan(), list[str]()
    for view in views(home, notes):
        plan.packs.append(_plan_one(home, view, needed, dead, plan, can_punch=can_punch))
    home.notes += notes
    _merge_small(plan, home.world.pack_bytes)
    return plan


def _plan_one(home: Home, view: PackView, needed: NameSet, dead: Container[SegmentName], plan: Plan, *,
              can_punch: bool) -> PackPlan:
    going = [row for row in view.rows if row.name in dead or row.name in home.retired]
    left = [row for row in view.rows if row.name not in dead and row.name not in home.retired]
    staying = [row for row in left if row.name not in plan.placed]
    for row in left:
        plan.placed.add(row.name)
    staying_bytes = sum(row.length for row in staying)
    holes_bytes = hole_bytes(going) if can_punch else 0
    waste = view.size_bytes - holes_bytes - staying_bytes
    treatment: Treatment = "punch" if going and holes_bytes else "keep"
    is_open = any(row.name not in needed for row in left) or not view.is_known
    if not staying:
        treatment = "delete"
    elif not is_open and (going or len(left) > len(staying)) and waste > max(WASTE_BYTES, WASTE_SHARE * staying_bytes):
        treatment = "repack"
    return PackPlan(view.pack_id, view.about.kind, staying_bytes, [row.name for row in going], treatment, is_open)


def _merge_small(plan: Plan, pack_bytes: int) -> None:
    """Copy packs of about one size together when there are many of them."""
    tiers: dict[tuple[int, int], list[PackPlan]] = {}
    for pack in plan.packs:
        if pack.treatment != "delete" and not pack.is_open and pack.staying_bytes < pack_bytes // 2:
            tiers.setdefault((pack.kind, pack.staying_bytes.bit_length() // TIER_BITS), []).append(pack)
    for tier in tiers.values():
        if len(tier) >= TIER_PACKS:
            for pack in tier:
                pack.treatment = "repack"
