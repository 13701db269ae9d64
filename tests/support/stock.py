"""A second opinion on what a home needs and what it has: sets of names, from reaches, tables and packs as they lie."""

from __future__ import annotations

from shared.errors import FarkeepError
from shared.merkle import digest_of
from siteagent.home import Home
from siteagent.salvage import refresh_index
from siteagent.store.nameruns import unpack_names
from siteagent.store.names import SegmentName, run_of
from siteagent.store.pack import read_trailer


def held(home: Home) -> set[SegmentName]:
    """The segments that lie in some pack with all their bytes."""
    found = set[SegmentName]()
    for pack_id in home.packs.finished():
        try:
            pack = home.packs.open(pack_id)
            _, rows = read_trailer(pack, pack_id.hex())
        except FarkeepError:
            continue
        found |= {row.name for row in rows if digest_of([pack.read_at(row.offset, row.length)]) == row.digest}
    return found


def needed(home: Home) -> set[SegmentName]:
    """What the snapshots of the log need: their reaches, superseded names followed to what stands for them now."""
    history, leads = home.ledger.history(), dict[SegmentName, set[SegmentName]]()
    for new, old in history.superseded:
        for name in unpack_names(old):
            leads.setdefault(name, set()).update(unpack_names(new))
    wanted = set[SegmentName]()
    for entry in history.snapshots:
        waiting = set(home.snapshots.segments(entry.id, entry.taken.reach))
        while waiting:
            name = waiting.pop()
            if name in leads:
                waiting |= leads[name]
            else:
                wanted.add(name)
    return wanted


def require_all_needed(home: Home) -> int:
    """Everything needed is held, with the bases of all deltas; returns how many segments that are."""
    refresh_index(home)
    wanted, there = needed(home), held(home)
    assert wanted <= there, f"{len(wanted - there)} of {len(wanted)} needed segments are in no pack"
    for name in wanted:
        rests_on = set(home.reader.table(name).table.bases)
        assert {base for base in rests_on if home.successors.of(base) is None} <= wanted, "a base is in no reach"
    return len(wanted)


def of_run(names: set[SegmentName], run: bytes) -> set[SegmentName]:
    """Those of one run."""
    return {name for name in names if run_of(name) == run}
