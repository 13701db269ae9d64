"""Pruning between nights of deltas: what a kept snapshot rests on stays, compacted or not, and everything reads."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import DamagedError
from siteagent.home import Home
from siteagent.store.names import SegmentName, run_of
from tests.support.days import Days, ids, pruned
from tests.support.homes import Place, forget, incompressible


class Nights(Days):
    """A database and small files that are edited in place, so that nearly everything is a delta."""

    def __init__(self, place: Place, seed: int) -> None:
        super().__init__(place)
        self._chance = random.Random(seed)
        self._database = bytearray(incompressible("database", 700_000))
        self._small = {f"small/{n}": bytearray(incompressible(f"small {n}", 5_000)) for n in range(20)}

    def night(self, home: Home) -> bytes:
        """Edit some of it, and take a snapshot."""
        chance = self._chance
        for _ in range(chance.randrange(1, 25)):
            self._edit(self._database)
        for name in chance.sample(sorted(self._small), chance.randrange(6)):
            if chance.random() < 0.15:
                self._small[name] = bytearray(chance.randbytes(6_000))
            self._edit(self._small[name])
        if chance.random() < 0.2:
            at = chance.randrange(len(self._database))
            self._database[at:at] = chance.randbytes(3_000)
        self.place.write("database", bytes(self._database))
        for name, data in self._small.items():
            self.place.write(name, bytes(data))
        return self.take(home)

    def _edit(self, data: bytearray) -> None:
        at = self._chance.randrange(len(data) - 8)
        data[at : at + 8] = self._chance.randbytes(8)


@given(st.integers(0, 2**32))
@example(1)  # A lighter frame would lose what it rests on if that were not recorded with what supersedes its segment.
@example(13)  # A frame that got deeper would be refused by those that rest on it.
@settings(max_examples=3, deadline=None)
def test_whatever_is_forgotten_the_rest_reads(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = random.Random(seed)
    made = Nights(Place(tmp_path_factory.mktemp("nights")).create(), seed)
    with made.place.open() as home:
        for _ in range(chance.randrange(3, 7)):
            share = chance.choice([0.3, 0.6, 0.9])
            for _ in range(chance.randrange(1, 7)):
                made.night(home)
            taken = ids(home)
            going = [one for one in taken[:-1] if chance.random() < share]
            if going:
                forget(home, going)
                pruned(home)
            assert ids(home) == [one for one in taken if one not in going]
            made.require_whole(home)
    with made.place.open() as home:
        made.night(home)
        made.require_whole(home)


def test_the_first_night_may_go_while_others_rest_on_it(tmp_path: Path) -> None:
    made = Nights(Place(tmp_path).create(), 5)
    with made.place.open() as home:
        first = made.night(home)
        run = home.ledger.history().snapshots[0].taken.run
        for _ in range(3):
            made.night(home)
        forget(home, [first])
        report = pruned(home)
        assert report.snapshots == [first]
        made.require_whole(home)
        assert any(run_of(name) == run for name in home.snapshots.segments(ids(home)[-1]))
        made.night(home)
        forget(home, ids(home)[:-1])
        pruned(home)
        made.require_whole(home)


def test_a_frame_that_nobody_uses_may_lose_its_base(tmp_path: Path) -> None:
    """It is no damage then, and content that it would give back is stored anew when it comes again."""
    made = Days(Place(tmp_path).create())
    before = {number: incompressible(f"before {number}", 20_000) for number in range(20)}
    after = {number: data[:10_000] + b"edited" + data[10_000:] for number, data in before.items()}
    with made.place.open() as home:
        for number, data in before.items():
            made.place.write(f"edited/{number}", data)
            made.place.write(f"leaves/{number}", incompressible(f"leaves {number}", 20_000))
        made.take(home)
        for number in before:
            made.place.write(f"edited/{number}", after[number])
            (made.place.source / f"leaves/{number}").unlink()
        made.take(home)
        made.place.write("edited/0", incompressible("another", 20_000))
        for number in range(1, 20):
            made.place.write(f"copies/{number}", before[number])
        made.take(home)
        segment, chunk_id = first_chunk(home, -2, made.place.path("edited/0"))
        forget(home, ids(home)[:-1])
        assert pruned(home).segments_superseded
        made.require_whole(home)
        assert segment in home.index.segments()
        with pytest.raises(DamagedError):
            home.reader.chunk(segment, chunk_id)
        made.place.write("edited/0", after[0])
        made.take(home)
        made.require_whole(home)


def first_chunk(home: Home, snapshot: int, path: bytes) -> tuple[SegmentName, bytes]:
    """Where a small file of a snapshot is, and its chunk."""
    entries = home.catalog(home.ledger.history().snapshots[snapshot]).entries()
    return next((entry.segments[0], entry.ids) for entry in entries if entry.path == path)
