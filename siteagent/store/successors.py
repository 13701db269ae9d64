"""Successors: which segments hold what is still needed of those that a compaction replaced.

Reaches, pages and delta frames keep the names they were written with. A fact says that the segments `new` hold whatever
is needed of the segments `old`; which of the new ones holds a certain chunk is told by their tables. What superseded a
segment may have been superseded in turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from siteagent.store.namebits import NameBits
from siteagent.store.nameruns import unpack_names
from siteagent.store.names import SegmentName, run_of

Superseding = tuple[bytes, bytes]
"""(new, old): two sets of names (siteagent.store.nameruns.pack_names)."""
_KNOWN_MAX = 1 << 17


class _Group(Struct, frozen=True):
    """One fact: each of the old segments is superseded by all of the new ones."""

    new: tuple[SegmentName, ...]
    old: NameBits


class Successors:
    """What facts say was superseded by what; read from the log when it is first asked for. Safe for several threads."""

    def __init__(self, load: Callable[[], Sequence[Superseding]] = tuple) -> None:
        """`load` returns all that was superseded so far, oldest first; what it returns only ever grows."""
        self._load = load
        self._is_loaded = False
        self._lock = threading.Lock()
        self._groups: list[_Group] = []
        self._by_run: dict[bytes, list[_Group]] = {}
        self._known: dict[SegmentName, tuple[SegmentName, ...] | None] = {}

    def refresh(self) -> None:
        """Take in what was recorded since; raises what `load` raises."""
        # Not under the lock: who asks the log may be waited for by who appends to it and comes here.
        loaded = list(self._load())
        with self._lock:
            for new, old in loaded[len(self._groups) :]:
                group = _Group(tuple(unpack_names(new)), NameBits(old))
                self._groups.append(group)
                for run in group.old.runs():
                    self._by_run.setdefault(run, []).append(group)
            self._known, self._is_loaded = {}, True

    def of(self, name: SegmentName) -> tuple[SegmentName, ...] | None:
        """The segments to look in instead of this one; None when it was not superseded."""
        if not self._is_loaded:
            self.refresh()
        if not self._groups:
            return None
        known = self._known
        if name not in known:
            if len(known) >= _KNOWN_MAX:
                known.clear()
            known[name] = self._find(name)
        return known[name]

    def _find(self, name: SegmentName) -> tuple[SegmentName, ...] | None:
        direct = self._direct(name)
        if direct is None:
            return None
        found: dict[SegmentName, None] = {}
        waiting, seen = list(direct), {name}
        while waiting:
            next_name = waiting.pop(0)
            if next_name in seen:
                continue
            seen.add(next_name)
            below = self._direct(next_name)
            if below is None:
                found[next_name] = None
            else:
                waiting += below
        return tuple(found)

    def _direct(self, name: SegmentName) -> list[SegmentName] | None:
        groups = [group for group in self._by_run.get(run_of(name), ()) if name in group.old]
        return [new for group in groups for new in group.new] if groups else None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and self.of(name) is not None

    def closed(self, names: Iterable[SegmentName]) -> set[SegmentName]:
        """The segments that must be there so that whatever these names stand for can be read."""
        found: set[SegmentName] = set()
        for name in names:
            instead = self.of(name)
            found.update((name,) if instead is None else instead)
        return found

    def are_within(self, needed: set[SegmentName], own: set[SegmentName]) -> bool:
        """True when a set of names holds all that is needed, by these names or by those that took their place."""
        return needed <= own or self.closed(needed) <= self.closed(own)

    def before(self, names: Iterable[SegmentName]) -> set[SegmentName]:
        """The superseded segments that any of these may be looked in for."""
        if not self._is_loaded:
            self.refresh()
        wanted, found = set(names), set[SegmentName]()
        for group in reversed(self._groups):
            if not wanted.isdisjoint(group.new):
                found.update(group.old)
                wanted.update(group.old)
        return found

    def concerning(self, names: set[SegmentName]) -> list[Superseding]:
        """As much of all this as it takes to resolve these names, in the form that `load` returns."""
        if not self._is_loaded:
            self.refresh()
        wanted, chosen = set(names), list[Superseding]()
        for group, row in zip(self._groups, self._load(), strict=False):
            if not wanted.isdisjoint(group.old):
                chosen.append(row)
                wanted.update(group.new)
        return chosen
