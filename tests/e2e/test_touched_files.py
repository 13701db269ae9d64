"""Files that were changed and do not look it: what times prove, what they do not, and what reading again finds."""

from __future__ import annotations

import mmap
import os
import random
from pathlib import Path

import pytest

from siteagent.capture.capture import CaptureOptions
from siteagent.home import Home
from siteagent.jobs.backup import BackupRequest, BackupResult, back_up
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from tests.support.coarsetimes import CoarseTimes, CoarseView
from tests.support.homes import Place, contents
from tests.support.tally import Tally

SECOND_NS = 10**9
TICKS_NS = (1, 10_000_000, SECOND_NS, 2 * SECOND_NS)
PAUSES_S = (0.001, 0.003, 0.1, 0.3, 0.9, 1.0, 1.1, 2.0, 30.0)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path).create()


def take(place: Place, home: Home, times: CoarseTimes | None = None, **options: object) -> BackupResult:
    """A backup, without any time going by."""
    node, roots = merge_roots([os.fsencode(place.source)], b"/")
    view = PosixView(node, None, None) if times is None else CoarseView(node, times)
    request = BackupRequest("docs", tuple(roots), view, "user", "host", options=CaptureOptions(**options))  # type: ignore[arg-type]
    return back_up(home, request)


def stored(home: Home) -> dict[bytes, bytes]:
    """The files of the newest snapshot."""
    return contents(home, home.ledger.history().snapshots[-1])


def everything(_: bytes) -> bool:
    return True


@pytest.mark.parametrize("size_bytes", [40, 300_000])
def test_size_and_time_put_back_do_not_hide_a_change(place: Place, size_bytes: int) -> None:
    """The time of the last change of the inode moves, whatever `touch -d` says."""
    path = os.fsdecode(place.write("file", b"a" * size_bytes))
    with place.open() as home:
        take(place, home)
        before = os.stat(path)
        with open(path, "r+b") as file:
            file.write(b"changed")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = os.stat(path)
        assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
        assert after.st_ctime_ns != before.st_ctime_ns
        assert take(place, home).summary.counts.changed == 1
        assert stored(home) == {os.fsencode(path): b"changed" + b"a" * (size_bytes - 7)}


@pytest.mark.parametrize("size_bytes", [4096, 300_000])
def test_a_store_to_mapped_memory_that_moves_no_time_is_found_by_reading_again(place: Place, size_bytes: int) -> None:
    times = CoarseTimes(place.clock, 1)
    path = place.source / "database"
    times.write(path, b"a" * size_bytes)
    place.clock.sleep(3600)
    with place.open() as home:
        take(place, home, times)
        with path.open("r+b") as file, mmap.mmap(file.fileno(), size_bytes) as memory:
            memory[100:107] = b"changed"
            assert take(place, home, times).summary.counts.unchanged
            assert stored(home)[os.fsencode(path)] == b"a" * size_bytes
            again = take(place, home, times, rechecks=everything)
        assert [alarm.path for alarm in again.alarms] == [os.fsencode(path)]
        assert again.summary.quality == "partial"
        assert stored(home)[os.fsencode(path)] == path.read_bytes()


def test_a_share_read_again_every_day_comes_to_every_file(place: Place) -> None:
    """A file that changed without moving any time is found within the days of a share."""
    times, count = CoarseTimes(place.clock, 1), 40
    for number in range(count):
        times.write(place.source / f"{number}", b"as it was")
    place.clock.sleep(3600)
    with place.open() as home:
        take(place, home, times)
        for number in range(count):
            times.write(place.source / f"{number}", b"as it is!", moves_time=False)
        found = set()
        for day in range(8):
            place.clock.sleep(86_400)
            result = take(place, home, times, rechecks=lambda key, day=day: sum(key) % 8 == day)
            found |= {alarm.path for alarm in result.alarms}
        assert len(found) == count
        assert set(stored(home).values()) == {b"as it is!"}


@pytest.mark.parametrize(("tick_ns", "behind_ns"), [
    *((tick_ns, 0) for tick_ns in TICKS_NS), (SECOND_NS, SECOND_NS), (1, 2 * SECOND_NS - 1), (10**7, -30 * SECOND_NS),
    (2 * SECOND_NS, -30 * SECOND_NS), (2 * SECOND_NS, -3600 * SECOND_NS),
])  # fmt: skip
def test_coarse_times_and_clocks_that_differ(tick_ns: int, behind_ns: int, place: Place, seed: int, is_long_run: bool,
                                             tally: Tally) -> None:
    """Whenever a file is written between two backups, the second one has it: also in the same tick of the clock."""
    chance, times = random.Random(f"{seed} {tick_ns} {behind_ns}"), CoarseTimes(place.clock, tick_ns, behind_ns)
    path, backups = place.source / "file", 0
    times.write(path, b"begin 000000")
    with place.open() as home:
        for step in range(400 if is_long_run else 25):
            place.clock.sleep(chance.choice(PAUSES_S))
            if chance.random() < 0.8:
                times.write(path, b"state %06d" % step)
            place.clock.sleep(chance.choice(PAUSES_S))
            take(place, home, times)
            backups += 1
            assert stored(home) == {os.fsencode(path): path.read_bytes()}, f"step {step}, seed {seed}"
    tally("backups under coarse times", backups)


def test_a_file_system_whose_clock_is_far_behind_and_coarse_needs_reading_again(place: Place) -> None:
    """No promise: two writes in one tick of a clock that is an hour behind look like one that is long past."""
    times = CoarseTimes(place.clock, 2 * SECOND_NS, 3600 * SECOND_NS)
    path = place.source / "file"
    place.clock.time_ns = place.clock.time_ns // (2 * SECOND_NS) * 2 * SECOND_NS
    with place.open() as home:
        times.write(path, b"first")
        place.clock.sleep(0.1)
        take(place, home, times)
        place.clock.sleep(0.1)
        times.write(path, b"later")
        place.clock.sleep(60)
        take(place, home, times)
        assert stored(home)[os.fsencode(path)] == b"first"
        assert take(place, home, times, rechecks=everything).alarms
        assert stored(home)[os.fsencode(path)] == b"later"
