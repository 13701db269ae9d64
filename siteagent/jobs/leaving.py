"""Which snapshots a prune gives up: forgotten ones whose waiting time is over and that nothing holds."""

from __future__ import annotations

from msgspec import Struct, field

from siteagent.home import Home
from siteagent.jobs.holds import hold_of
from siteagent.ledger.history import History
from siteagent.ledger.state import SnapshotEntry

_MINUTE_NS = 60 * 10**9


class Leaving(Struct):
    """The snapshots that go and those that stay, each oldest first, and what is to be said about it.

    `waiting`: those that stay only because their waiting time is not over; `next_due_ns`: when the first of them is due
    (0: none waits).
    """

    going: list[SnapshotEntry] = field(default_factory=list)
    staying: list[SnapshotEntry] = field(default_factory=list)
    waiting: list[SnapshotEntry] = field(default_factory=list)
    next_due_ns: int = 0
    notes: list[str] = field(default_factory=list)


def leaving(home: Home, *, is_now: bool) -> Leaving:
    """Choose; `is_now` skips the waiting time, never a hold.

    A clock that jumped after a snapshot was forgotten says nothing about how long ago that was: such a snapshot stays.
    """
    history, found = home.ledger.history(), Leaving()
    counted_ns, held, unsure, paused = home.ledger.counted().now_ns, 0, 0, 0
    for entry in history.snapshots:
        is_due = entry.is_forgotten and (is_now or entry.is_due(counted_ns))
        has_hold = entry.is_forgotten and hold_of(history.holds, entry, counted_ns) is not None
        is_held = is_due and has_hold
        if entry.is_forgotten and not is_due and not has_hold:
            found.waiting.append(entry)
        paused += entry.is_forgotten and not is_due and entry.sweep_after_ns <= home.ledger.now_ns()
        is_unsure = is_due and not is_now and _jumped_since(history, entry.forgotten_ns)
        held, unsure = held + is_held, unsure + (is_unsure and not is_held)
        (found.going if is_due and not is_held and not is_unsure else found.staying).append(entry)
    if found.waiting:
        first_ns = min(entry.sweep_counted_ns for entry in found.waiting)
        found.next_due_ns = home.ledger.now_ns() + first_ns - counted_ns
    if held:
        found.notes.append(f"{held} forgotten snapshots are held and stay")
    if unsure:
        found.notes.append(f"{unsure} forgotten snapshots stay, for the clock has jumped since: how long ago they were "
                           "forgotten is not sure; `farkeep forget --keep ... --confirm-clock` says that the clock is "
                           "right, `farkeep prune --now` does not ask for it")  # fmt: skip
    if paused:
        found.notes.append(f"{paused} forgotten snapshots stay, for nothing was recorded for days: if the clock is "
                           "wrong now, less time has passed than it says, and of each such pause two days count; "
                           "`farkeep forget --keep ... --confirm-clock` says that the clock is right")  # fmt: skip
    return found


def _jumped_since(history: History, time_ns: int) -> bool:
    # The moments of a jump are whole minutes: one that was noted together with the decision counts as later.
    return any(max(jump.from_ns, jump.to_ns) + _MINUTE_NS > time_ns for jump in history.unconfirmed_jumps)
