"""A clock that is wrong: what it shows and what time has really passed are two things."""

from __future__ import annotations

from tests.support.determined import StandingClock

DAY_NS = 86_400 * 10**9
YEAR_NS = 365 * DAY_NS + DAY_NS // 4


class WrongClock(StandingClock):
    """Time moves when it is told to; the clock shows it moved by `offset_ns`, or stands still after `freeze`.

    `time_ns` is the true time; monotonic time follows it. With `jump_ns` the clock jumps by itself when it is looked at
    for the `looks`-th time from now.
    """

    def __init__(self, now_ns: int) -> None:
        super().__init__(now_ns)
        self.offset_ns = 0
        self.jump_ns, self.looks = 0, 0
        self._frozen_ns: int | None = None

    def freeze(self) -> None:
        """Stop what is shown."""
        self._frozen_ns = self.now_ns()

    def started_anew(self) -> WrongClock:
        """The clock of this machine after a start: it shows what it showed."""
        fresh = WrongClock(self.time_ns)
        fresh.offset_ns, fresh._frozen_ns = self.offset_ns, self._frozen_ns
        return fresh

    def set_right(self) -> None:
        """Show the true time again."""
        self.offset_ns, self._frozen_ns = 0, None

    def now_ns(self) -> int:
        """What it shows."""
        if self.jump_ns:
            self.looks -= 1
            if self.looks <= 0:
                self.offset_ns, self.jump_ns = self.offset_ns + self.jump_ns, 0
        return self.time_ns + self.offset_ns if self._frozen_ns is None else self._frozen_ns
