"""Holds and locks: placed and released, and what they keep from being forgotten or swept.

A hold ends when it is released or, with `--until`, by itself; a lock ends by time alone. Both go by counted time
(siteagent.ledger.counted_time): neither ends early because a clock was put forward. A hold may be placed on a forgotten
snapshot: it stays forgotten, and is not swept while the hold lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from shared.decisions import HoldPlaced, HoldPlacedSealed, HoldReleased, HoldReleasedSealed
from shared.errors import RefusedError
from shared.facts import Fact, Subject, plain_text
from siteagent.home import Home
from siteagent.jobs.record import Who, recorded
from siteagent.ledger.history import History
from siteagent.ledger.state import Hold, SnapshotEntry
from siteagent.salvage import prepare_writing

ID_SHOWN_DIGITS = 12
_PREFIX_MIN = 6
_REASON_MAX = 1000
_LATEST_NS = 2**63 - 1
"""The last moment that facts can state, in the year 2262."""


class HoldRequest(Struct, frozen=True, kw_only=True):
    """What to hold: snapshots, or all of one name, or (neither) everything; until a log time (0: until released)."""

    snapshots: tuple[bytes, ...] = ()
    name: str = ""
    until_ns: int = 0
    is_lock: bool = False
    reason: str = ""


def place_hold(home: Home, who: Who, request: HoldRequest) -> Hold:
    """Place a hold.

    Raises RefusedError for an end that is past or beyond 2262, a lock without an end, a name without snapshots, and a
    reason that is too long.
    """
    _require_sense(home, request)
    prepare_writing(home)
    with home.deciding, recorded(home, "hold", who, (_what(request),)) as job:
        hold = home.world.randomness.bits(16)
        clear = HoldPlaced(hold=hold, snapshots=request.snapshots, is_whole=not request.snapshots,
                           until_ns=request.until_ns, is_lock=request.is_lock)
        sealed = HoldPlacedSealed(user=plain_text(who.user), host=plain_text(who.host), name=request.name,
                                  reason=plain_text(request.reason))
        subject = Subject(kind="source", name=request.name) if request.name else None
        job.facts.append(Fact(clear, sealed, subject))
    return next(found for found in home.ledger.history().holds if found.id == hold)


def release_hold(home: Home, who: Who, prefix: str, reason: str = "") -> Hold:
    """End a hold that `prefix` (6 or more digits of its id) names.

    Raises RefusedError for none, several, and a lock before its time.
    """
    found = find_hold(home.ledger.history(), prefix)
    prepare_writing(home)
    with recorded(home, "release", who, (found.id.hex(),)) as job:
        _require_over(home, found)
        sealed = HoldReleasedSealed(user=plain_text(who.user), host=plain_text(who.host), reason=plain_text(reason))
        job.facts.append(Fact(HoldReleased(hold=found.id), sealed))
    return found


def _require_over(home: Home, hold: Hold) -> None:
    if not hold.is_lock or hold.is_over(home.ledger.counted().now_ns):
        return
    next_step = "wait until then; nobody can end it earlier"
    if hold.until_ns <= home.ledger.now_ns():
        next_step = ("nothing was recorded for days, and of such a pause two days count, for the clock may be wrong: "
                     "`farkeep forget --keep ... --confirm-clock` says that it is right")
    raise RefusedError(f"a lock cannot be released before its time: {_shown_end(hold)}", subject=_digits(hold),
                       next_step=next_step)


def find_hold(history: History, prefix: str) -> Hold:
    """The hold whose id begins with these digits; raises RefusedError."""
    matching = [hold for hold in history.holds if hold.id.hex().startswith(prefix.lower())]
    if len(prefix) < _PREFIX_MIN or not matching:
        raise RefusedError("there is no hold with this id", subject=prefix,
                           next_step=f"copy {_PREFIX_MIN} or more digits of an id from `farkeep holds`")
    if len(matching) > 1:
        raise RefusedError(f"{len(matching)} holds begin with these digits", subject=prefix,
                           next_step="write more digits")
    return matching[0]


def hold_of(holds: Sequence[Hold], snapshot: SnapshotEntry, counted_ns: int) -> Hold | None:
    """What keeps a snapshot at this counted time: a lock if there is one, else the oldest hold."""
    holding = [hold for hold in holds if hold.holds(snapshot, counted_ns)]
    return min(holding, key=lambda hold: not hold.is_lock, default=None)


def require_free(home: Home, snapshots: Sequence[SnapshotEntry]) -> None:
    """Raise RefusedError when one of the snapshots is held: by what, whose, why, until when, and the way out."""
    holds, counted_ns = home.ledger.history().holds, home.ledger.counted().now_ns
    held = [(entry, hold) for entry in snapshots if (hold := hold_of(holds, entry, counted_ns)) is not None]
    if not held:
        return
    entry, hold = held[0]
    more = f" (and {len(held) - 1} more are held)" if len(held) > 1 else ""
    raise RefusedError(f"{describe_hold(hold)} keeps this snapshot{more}", subject=entry.id.hex(),
                       next_step=_way_out(hold))


def describe_hold(hold: Hold) -> str:
    """A hold in words: kind, id, of whom, how long, why."""
    by = f" of {hold.user}" if hold.user else ""
    reason = f" ({hold.reason})" if hold.reason else ""
    return f"{'lock' if hold.is_lock else 'hold'} {_digits(hold)}{by}, {_shown_end(hold)}{reason},"


def _way_out(hold: Hold) -> str:
    if hold.is_lock:
        return f"it can be forgotten when the lock has ended: {_shown_end(hold)}"
    return f"when nobody needs it any more: `farkeep release {_digits(hold)}`"


def _digits(hold: Hold) -> str:
    return hold.id.hex()[:ID_SHOWN_DIGITS]


def _shown_end(hold: Hold) -> str:
    if not hold.until_ns:
        return "until it is released"
    try:
        return f"until {datetime.fromtimestamp(hold.until_ns // 10**9, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "for ever"


def _what(request: HoldRequest) -> str:
    return request.name or ("" if request.snapshots else "everything")


def _require_sense(home: Home, request: HoldRequest) -> None:
    if request.is_lock and not request.until_ns:
        raise RefusedError("a lock without an end could never be ended by anybody", subject="--lock",
                           next_step="add --until TIME, or leave --lock out: a hold lasts until it is released")
    if request.until_ns and request.until_ns <= home.ledger.now_ns():
        raise RefusedError("this time is past: the hold would be over at once", subject="--until",
                           next_step="give a later time")
    if request.until_ns > _LATEST_NS:
        raise RefusedError("this time is too far away to be kept", subject="--until",
                           next_step="give one before 2262, or none: a hold lasts until it is released")
    if len(request.reason) > _REASON_MAX:
        raise RefusedError(f"a reason has up to {_REASON_MAX} characters", subject="--reason",
                           next_step="write a shorter one")
    names = {entry.summary.name for entry in home.ledger.history().snapshots if entry.summary is not None}
    if request.name and request.name not in names:
        raise RefusedError("there is no snapshot of this name", subject=request.name,
                           next_step=f"the names are: {', '.join(sorted(names)[:10])}" if names else
                           "take one with `farkeep backup`")
