"""A file system with coarse times and a clock of its own, laid over a folder of a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from siteagent.sources.base import Batch, Identity, Metadata, Reader, SmallFile
from siteagent.sources.posix import PosixView
from siteagent.sources.posixfile import PosixReader
from siteagent.sources.roots import Node
from tests.support.determined import StandingClock


class CoarseTimes:
    """When each file was changed, as this file system knows it: `tick_ns` apart, `behind_ns` after the clock."""

    def __init__(self, clock: StandingClock, tick_ns: int, behind_ns: int = 0) -> None:
        self._clock, self._tick_ns, self._behind_ns = clock, tick_ns, behind_ns
        self.stamps: dict[bytes, int] = {}

    def write(self, path: Path, data: bytes, *, moves_time: bool = True) -> None:
        """Change a file's content in place."""
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(data)
        if moves_time:
            now_ns = self._clock.time_ns - self._behind_ns
            self.stamps[path.name.encode()] = now_ns // self._tick_ns * self._tick_ns

    def identity(self, name: bytes, real: Identity) -> Identity:
        """An identity with these times for the real ones."""
        stamp = self.stamps.get(name)
        return real if stamp is None else (*real[:2], stamp, stamp, real[4])


class _CoarseReader(PosixReader):
    """An open file of it."""

    __slots__ = ("_name", "_times")

    def __init__(self, reader: PosixReader, name: bytes, times: CoarseTimes) -> None:
        super().__init__(reader._handle)
        self._name, self._times = name, times

    def identity(self) -> Identity:
        return self._times.identity(self._name, super().identity())


class CoarseView(PosixView):
    """A view of it."""

    def __init__(self, roots: Node, times: CoarseTimes) -> None:
        super().__init__(roots, None, None)
        self._times = times

    def batches(self) -> Iterator[Batch]:
        for batch in super().batches():
            pairs = zip(batch.names, batch.identities, strict=True)
            batch.identities[:] = [self._times.identity(name, identity) for name, identity in pairs]
            yield batch

    def describe(self, batch: Batch, place: int) -> Metadata:
        found, stamp = super().describe(batch, place), self._times.stamps.get(batch.names[place])
        return found if stamp is None else found._replace(mtime_ns=stamp, ctime_ns=stamp)

    def read_small(self, batch: Batch, places: list[int], buffer: memoryview) -> list[SmallFile]:
        return [SmallFile(places[0], 0, -1, b"")]

    def open(self, batch: Batch, place: int) -> PosixReader:
        return _CoarseReader(super().open(batch, place), batch.names[place], self._times)

    def refresh(self, batch: Batch, place: int, reader: Reader) -> None:
        super().refresh(batch, place, reader)
        name = batch.names[place]
        batch.identities[place] = self._times.identity(name, batch.identities[place])
