"""The log's time: wall time that never decreases, with a note whenever the clock was moved.

Log time is the greater of wall time and the last log time, so retention never runs backwards. Wall time is kept beside
it as it was. A jump is noticed when wall time is over a minute earlier than at the last fact (also of an earlier
process; smaller steps are the ordinary correction of a clock), or when within one process it is over an hour ahead of
what the monotonic clock says has passed.
"""

from __future__ import annotations

import msgspec

from shared.clock import Clock

BACKWARD_LIMIT_NS = 60 * 1_000_000_000
FORWARD_LIMIT_NS = 3600 * 1_000_000_000


class Stamp(msgspec.Struct, frozen=True):
    """Log time and wall time of one append, nanoseconds since 1970."""

    time_ns: int
    wall_ns: int


class Jump(msgspec.Struct, frozen=True):
    """Wall time that was expected, and what was found."""

    from_ns: int
    to_ns: int


class Reading(msgspec.Struct, frozen=True):
    """What the clock says now: the stamp of an append, the jump before it if there was one, and monotonic time."""

    stamp: Stamp
    jump: Jump | None
    monotonic_ns: int


class LogClock:
    """Gives the stamps of one log's appends. `last` is the stamp of the newest fact, None for a new log."""

    def __init__(self, clock: Clock, last: Stamp | None) -> None:
        self._clock = clock
        self._last = last
        self._last_monotonic_ns: int | None = None

    def read(self) -> Reading:
        """The time of an append that is about to happen; `settle` it when it has."""
        wall_ns, monotonic_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        time_ns = wall_ns if self._last is None else max(wall_ns, self._last.time_ns)
        return Reading(Stamp(time_ns, wall_ns), self._jump(wall_ns, monotonic_ns), monotonic_ns)

    def settle(self, reading: Reading) -> None:
        """The append of this reading is in the log: later ones are measured against it."""
        self._last = reading.stamp
        self._last_monotonic_ns = reading.monotonic_ns

    def _jump(self, wall_ns: int, monotonic_ns: int) -> Jump | None:
        if self._last is None:
            return None
        expected_ns = self._last.wall_ns
        if self._last_monotonic_ns is not None:
            expected_ns += monotonic_ns - self._last_monotonic_ns
            if wall_ns > expected_ns + FORWARD_LIMIT_NS:
                return Jump(expected_ns, wall_ns)
        return Jump(expected_ns, wall_ns) if wall_ns < self._last.wall_ns - BACKWARD_LIMIT_NS else None
