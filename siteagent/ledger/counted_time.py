"""Counted time: how much time has passed that may end something (a waiting time, a hold), as far as a log can tell.

A clock that is put forward while no process runs looks like a machine that was switched off, and nothing on the machine
tells the two apart for certain. So of a pause between two facts at most `PAUSE_MAX_NS` count; time before the newest
wall time that was ever recorded counts not at all, nor does a jump that a running process noticed. Waiting times and
ends of holds go by this time: they may come later than the clock says, never more than two days per pause earlier than
they should. A person who says that the clock is right (`--confirm-clock`) lets the whole of the last pauses count.

It begins as the log time of the first fact, so that in an ordinary log the two are the same.
"""

from __future__ import annotations

import msgspec

from siteagent.ledger.log_clock import BACKWARD_LIMIT_NS, FORWARD_LIMIT_NS

PAUSE_MAX_NS = 2 * 86_400 * 1_000_000_000


class CountedTime(msgspec.Struct, frozen=True):
    """Counted time up to a fact, the newest wall time by then, and what of the pauses since then may be added yet."""

    now_ns: int = 0
    newest_wall_ns: int | None = None
    doubtful_ns: int = 0

    @property
    def is_doubtful(self) -> bool:
        """True when over an hour has not been counted that a person could confirm."""
        return self.doubtful_ns >= FORWARD_LIMIT_NS

    def at(self, wall_ns: int) -> CountedTime:
        """When the clock says this."""
        if self.newest_wall_ns is None:
            return CountedTime(wall_ns, wall_ns)
        passed_ns = wall_ns - self.newest_wall_ns
        if passed_ns <= 0:
            # A clock that was put back was wrong before: what it had said then must not be confirmed later.
            is_back = passed_ns < -BACKWARD_LIMIT_NS
            return CountedTime(self.now_ns, self.newest_wall_ns, 0 if is_back else self.doubtful_ns)
        counted_ns = min(passed_ns, PAUSE_MAX_NS)
        return CountedTime(self.now_ns + counted_ns, wall_ns, self.doubtful_ns + passed_ns - counted_ns)

    def jumped(self, from_ns: int, to_ns: int) -> CountedTime:
        """After a jump of the clock that was noticed: what lies between the two moments has not passed."""
        before = self.at(from_ns)
        return CountedTime(before.now_ns, max(before.newest_wall_ns or from_ns, to_ns), 0)

    def confirmed(self, wall_ns: int) -> CountedTime:
        """When a person says that this is the right time."""
        before = self.at(wall_ns)
        return CountedTime(before.now_ns + before.doubtful_ns, wall_ns)
