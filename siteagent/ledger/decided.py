"""Folding decisions about what is kept into the state: labels, forgotten and recalled snapshots, holds, sweeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from shared.decisions import (
    HoldPlaced,
    HoldPlacedSealed,
    HoldReleased,
    SegmentsSuperseded,
    SegmentsSwept,
    SnapshotLabelled,
    SnapshotLabelledSealed,
    SnapshotsForgotten,
    SnapshotsRecalled,
)
from shared.facts import Part
from siteagent.ledger.reading import RecordedFact
from siteagent.ledger.state import Hold, Row, State, open_snapshot, raw

Rows = dict[bytes, Row]


def _labelled(_: State, rows: Rows, fact: RecordedFact, clear: SnapshotLabelled) -> None:
    row, sealed = rows.get(clear.snapshot), fact.sealed
    if row is None or not isinstance(sealed, SnapshotLabelledSealed):
        return
    entry = open_snapshot(row)
    tags = [tag for tag in entry.tags if tag not in sealed.tags_removed]
    tags += [tag for tag in sealed.tags_added if tag not in tags]
    row.entry = raw(replace(entry, tags=tuple(tags), note=entry.note if sealed.note is None else sealed.note))


def _forgotten(state: State, rows: Rows, fact: RecordedFact, clear: SnapshotsForgotten) -> None:
    from_ns = fact.time_ns if fact.time_ns < clear.sweep_after_ns else _asked_ns(state, fact)
    counted_ns = state.counted.now_ns + max(0, clear.sweep_after_ns - from_ns)
    for row in filter(None, map(rows.get, clear.snapshots)):
        row.is_forgotten = True
        row.entry = raw(replace(open_snapshot(row), forgotten_ns=fact.time_ns, sweep_after_ns=clear.sweep_after_ns,
                                sweep_counted_ns=counted_ns))  # fmt: skip


def _recalled(_: State, rows: Rows, __: RecordedFact, clear: SnapshotsRecalled) -> None:
    for row in filter(None, map(rows.get, clear.snapshots)):
        row.is_forgotten = False
        row.entry = raw(replace(open_snapshot(row), forgotten_ns=0, sweep_after_ns=0, sweep_counted_ns=0))


def _asked_ns(state: State, fact: RecordedFact) -> int:
    """The log time at which somebody chose the moment that a fact names: before a jump that was noted with it."""
    return min(fact.time_ns, state.jumped_from_ns) if fact.time_ns == state.jumped_at_ns else fact.time_ns


def _hold_placed(state: State, _: Rows, fact: RecordedFact, clear: HoldPlaced) -> None:
    sealed = fact.sealed if isinstance(fact.sealed, HoldPlacedSealed) else HoldPlacedSealed(user="", host="")
    counted_ns = state.counted.now_ns + max(0, clear.until_ns - _asked_ns(state, fact)) if clear.until_ns else 0
    state.holds.append(Hold(
        id=clear.hold, placed_ns=fact.time_ns, until_ns=clear.until_ns,
        until_counted_ns=counted_ns,
        is_lock=clear.is_lock, is_whole=clear.is_whole, snapshots=clear.snapshots, name=sealed.name, user=sealed.user,
        reason=sealed.reason, subject=fact.subject,
    ))  # fmt: skip


def _hold_released(state: State, _: Rows, __: RecordedFact, clear: HoldReleased) -> None:
    state.holds = [hold for hold in state.holds if hold.id != clear.hold
                   or (hold.is_lock and not hold.is_over(state.counted.now_ns))]  # fmt: skip


def _superseded(state: State, _: Rows, __: RecordedFact, clear: SegmentsSuperseded) -> None:
    state.superseded.append((clear.new, clear.old))


def _swept(state: State, rows: Rows, _: RecordedFact, clear: SegmentsSwept) -> None:
    gone = set(clear.snapshots)
    state.swept += clear.snapshots
    state.snapshots = [row for row in state.snapshots if row.id not in gone]
    for snapshot in gone:
        rows.pop(snapshot, None)
    if clear.segments:
        state.swept_segments.append(clear.segments)


DECIDED: dict[type[Part], Callable[[State, Rows, RecordedFact, Any], None]] = {
    SnapshotLabelled: _labelled,
    SnapshotsForgotten: _forgotten,
    SnapshotsRecalled: _recalled,
    HoldPlaced: _hold_placed,
    HoldReleased: _hold_released,
    SegmentsSuperseded: _superseded,
    SegmentsSwept: _swept,
}
