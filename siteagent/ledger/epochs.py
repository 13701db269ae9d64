"""The tree of log epochs: which there are, where each began, and how a position written by hand is found."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from shared.chain import Position, PositionName
from shared.errors import RefusedError


class LogEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """One log epoch: its opening fact, what it continues (None: the root), why it was opened and by whom."""

    opened: Position
    parent: Position | None
    reason: str
    opener: bytes
    time_ns: int

    @property
    def id(self) -> bytes:
        """32 bytes: the hash of the opening fact."""
        return self.opened.hash


class LogEpochs:
    """All log epochs of a site that this log knows, in the order they were recorded."""

    def __init__(self, epochs: Iterable[LogEpoch]) -> None:
        self._by_id = {epoch.id: epoch for epoch in epochs}

    def lineage(self, log_epoch: bytes) -> list[LogEpoch]:
        """The log epochs from the root to this one; raises RefusedError for one that is not known."""
        line: list[LogEpoch] = []
        epoch = self._by_id.get(log_epoch)
        while epoch is not None:
            line.append(epoch)
            epoch = self._by_id.get(epoch.parent.log_epoch) if epoch.parent else None
        if not line:
            raise RefusedError("this log does not know that log epoch", subject=log_epoch.hex(),
                               next_step="list them with `farkeep events`")
        return line[::-1]

    def find(self, name: PositionName, text: str) -> bytes:
        """The id of the one log epoch that fits both prefixes; raises RefusedError for none or several."""
        fitting = [epoch.id for epoch in self._by_id.values() if name.names(epoch.opened.site, epoch.id)]
        if len(fitting) != 1:
            what = "no log epoch fits this position" if not fitting else "several log epochs fit this position"
            raise RefusedError(what, subject=text,
                               next_step="copy a position from `farkeep events`, or write more digits")
        return fitting[0]
