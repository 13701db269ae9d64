"""Heavy deltas: what is kept for one frame's sake is given up once the frame can rest on what stays anyhow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from siteagent.home import Home
from siteagent.jobs.heavy import held_bytes
from siteagent.jobs.prune import allocated_bytes
from siteagent.store.catalog import Root
from siteagent.store.liveness import Liveness
from siteagent.store.names import SegmentName
from tests.support.days import Days, ids, pruned
from tests.support.homes import Place, forget, incompressible

SIZE_BYTES, EDIT_BYTES = 900_000, 2_000


class Database(Days):
    """A file of one size that is edited at a different place every night."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._data, self._night = bytearray(incompressible("database", SIZE_BYTES)), 0

    def night(self, home: Home, step_bytes: int = 70_001) -> bytes:
        """Edit so far from where the last night did, and take a snapshot."""
        self._night += 1
        at = self._night * step_bytes % (SIZE_BYTES - EDIT_BYTES)
        self._data[at : at + EDIT_BYTES] = incompressible(f"night {self._night}", EDIT_BYTES)
        self.place.write("database", bytes(self._data))
        return self.take(home)


@pytest.fixture
def made(tmp_path: Path) -> Database:
    return Database(Place(tmp_path).create())


@pytest.fixture
def home(made: Database) -> Iterator[Home]:
    with made.place.open() as opened:
        yield opened


def held(home: Home) -> int:
    """Bytes that are kept for the sake of frames alone."""
    live = Liveness(home.reader, home.index.segments())
    for entry in home.ledger.history().snapshots:
        assert entry.summary is not None
        live.follow(Root(entry.summary.root_page, entry.summary.root_segment, entry.summary.levels))
    return sum(held_bytes(home.reader, live).values())


def depths(home: Home) -> dict[tuple[bytes, SegmentName], int]:
    """How deep every chunk of the database of every snapshot is."""
    pieces = (piece for snapshot in home.ledger.history().snapshots
              for entry in home.catalog(snapshot).entries() if entry.type == 1
              for piece in home.catalog(snapshot).pieces(entry))  # fmt: skip
    return {(piece.chunk_id, piece.segment): home.reader.depth(piece.segment, piece.chunk_id) for piece in pieces}


def test_nights_that_went_are_not_kept_for_those_that_rest_on_them(made: Database, home: Home) -> None:
    for _ in range(24):
        made.night(home)
    kept = ids(home)[::8]
    going = [snapshot for snapshot in ids(home) if snapshot not in kept]
    before = depths(home)
    forget(home, going)
    report = pruned(home)
    made.require_whole(home)
    assert report.bytes_rewritten > 0
    assert held(home) < EDIT_BYTES
    after = depths(home)
    assert all(depth <= before[key] for key, depth in after.items())
    assert any(depth < before[key] for key, depth in after.items())
    fresh = SIZE_BYTES + 2 * 8 * EDIT_BYTES
    assert allocated_bytes(home) < 1.15 * fresh + 100_000
    made.night(home)
    made.require_whole(home)


def test_what_a_lighter_frame_rests_on_stays_when_its_snapshot_goes(made: Database, home: Home) -> None:
    for _ in range(20):
        made.night(home)
    older, newer = ids(home)[3], ids(home)[-1]
    forget(home, [snapshot for snapshot in ids(home) if snapshot not in (older, newer)])
    pruned(home)
    made.require_whole(home)
    (first, second) = home.ledger.history().snapshots
    needed = home.successors.closed(home.snapshots.segments(second.id))
    assert needed & home.successors.closed(home.snapshots.segments(first.id))
    forget(home, [older])
    pruned(home)
    made.require_whole(home)
    assert ids(home) == [newer]
    made.night(home)
    made.require_whole(home)


def test_nothing_is_written_again_that_cannot_get_lighter(made: Database, home: Home) -> None:
    """Three versions of one stretch rest on a fourth: any of them stored plain would take more than that one does."""
    for _ in range(6):
        made.night(home, 0)
    first, third, fifth = ids(home)[0], ids(home)[3], ids(home)[5]
    forget(home, [first, third, fifth])
    pruned(home)
    made.require_whole(home)
    assert held(home) > 50_000
    spare = made.take(home)
    forget(home, [spare])
    assert pruned(home).bytes_rewritten == 0
    assert held(home) > 50_000
    made.require_whole(home)
