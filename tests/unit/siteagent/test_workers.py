"""How many workers a job has: what was asked for reaches all who start some."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.randomness import SystemRandomness
from siteagent.cli.output import Output
from siteagent.cli.parser import parse
from siteagent.cli.session import Session
from siteagent.disk.child import Child
from siteagent.home import World, open_home
from siteagent.jobs import packcheck
from siteagent.jobs.verify import verify
from siteagent.restore.crew import Processes
from siteagent.restore.messages import Setup
from siteagent.restore.spots import encode_spots
from siteagent.store.index import Spot
from siteagent.store.scrub import Scrub
from tests.support.determined import StandingClock
from tests.support.homes import Place, with_two_snapshots
from tests.support.site import WHO


@pytest.mark.parametrize(("may_start", "workers", "starts"), [
    (True, 0, True), (True, 2, True), (True, 1, False), (False, 0, False), (False, 2, False)])  # fmt: skip
def test_one_worker_means_one_process(may_start: bool, workers: int, starts: bool) -> None:
    world = World(StandingClock(), SystemRandomness(), may_start_processes=may_start, workers=workers)
    assert world.starts_processes is starts


@pytest.mark.parametrize("handed_in", [None, World(StandingClock(), SystemRandomness())])
def test_the_option_reaches_the_world(tmp_path: Path, handed_in: World | None) -> None:
    def made(*words: str) -> World:
        options = parse(["snapshots", "--home", str(tmp_path), *words]).options
        return Session("snapshots", options, Output(io.BytesIO(), io.StringIO()), {}, handed_in).world

    assert made("--threads", "3").workers == 3
    assert made().workers == 0


def test_a_backup_seals_with_as_many_threads(tmp_path: Path) -> None:
    place = Place(tmp_path).create()
    place.write("file", b"content")
    place.world = replace(place.world, workers=3)
    names = set[str]()
    start = threading.Thread.start

    def note(thread: threading.Thread) -> None:
        names.add(thread.name)
        start(thread)

    with pytest.MonkeyPatch.context() as patch, place.open() as home:
        patch.setattr(threading.Thread, "start", note)
        place.backup(home)
    assert {name for name in names if name.startswith("seal-")} == {"seal-0", "seal-1", "seal-2"}


def test_a_restore_starts_as_many_processes(tmp_path: Path) -> None:
    spots = encode_spots([(b"n" * 20, Spot(b"p" * 16, 0, 1, 1))])
    setup = Setup(str(tmp_path), [], b"", b"", bytes(32), True, len(spots))
    started = list[str]()

    class Noted(Child):
        def __init__(self, module: str, handles: list[int]) -> None:
            started.append(module)
            super().__init__(module, handles)

    target = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("siteagent.restore.crew.Child", Noted)
            crew = Processes(setup, spots, target, 3)
        assert (crew.size, started) == (3, ["siteagent.restore.process"] * 3)
        crew.close()
    finally:
        os.close(target)


@pytest.mark.parametrize(("asked", "given"), [(0, 2), (1, 1), (5, 5)])
def test_a_verification_reads_with_as_many_threads(
    tmp_path: Path, asked: int, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, seen = with_two_snapshots(Place(tmp_path).create()), list[int]()

    class Noted(Scrub):
        def __init__(self, *words: object, **more: object) -> None:
            super().__init__(*words, **more)  # type: ignore[arg-type]
            seen.append(self._pool._max_workers)

    monkeypatch.setattr(packcheck, "Scrub", Noted)
    with open_home(place.access, "test", replace(place.world, workers=asked)) as home:
        assert verify(home, "read-data", 100.0, None, WHO).is_good
    assert seen == [given]
