"""Deltas made by other processes: the same as without them, whatever becomes of the processes."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.errors import UnavailableError
from siteagent.disk import child as child_module
from siteagent.disk.child import Child
from siteagent.home import Home
from siteagent.jobs.verify import verify
from siteagent.store import deltahelpers
from siteagent.store.deltahelper import DeltaHelper
from siteagent.store.deltahelpers import DeltaHelpers
from siteagent.store.deltaprocess import DeltaRequest
from siteagent.store.deltawork import DeltaLoad
from tests.support.homes import Place, contents, flip_in_body, incompressible, newest, segment_of

COUNT = 60
HAS_ANSWERED = Child.has_answered


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A home with one snapshot, and a source of which every file was edited since; the process is asked at once."""
    monkeypatch.setattr(deltahelpers, "_WORTH_A_PROCESS", 0)
    # Wait for the process instead of going on without it until it is there.
    monkeypatch.setattr(Child, "has_answered", lambda child: True)
    made = Place(tmp_path).create()
    _write(made, b"")
    with made.open() as home:
        made.backup(home)
    _write(made, b"edited")
    made.world = replace(made.world, may_start_processes=True, workers=2)
    return made


def _write(place: Place, edit: bytes) -> None:
    for number in range(COUNT):
        data = incompressible(f"file {number}", 3000 + 450 * number)
        place.write(f"file {number:02}", edit + data[len(edit) :])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bytes | None]:
    """What the process answered."""
    answers: list[bytes | None] = []
    plain = DeltaHelper._settle

    def settle(helper: DeltaHelper, packed: bytes | None) -> None:
        answers.append(packed)
        plain(helper, packed)

    monkeypatch.setattr(DeltaHelper, "_settle", settle)
    return answers


@pytest.fixture
def busy() -> list[int]:
    """How many processes there were when each delta was asked for."""
    return []


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, busy: list[int]) -> list[DeltaRequest | None]:
    """What processes were asked to make; None where they could not have made it."""
    requests: list[DeltaRequest | None] = []
    plain = DeltaHelpers._request

    def request(helpers: DeltaHelpers, load: DeltaLoad) -> DeltaRequest | None:
        requests.append(plain(helpers, load))
        busy.append(len(helpers._helpers))
        return requests[-1]

    monkeypatch.setattr(DeltaHelpers, "_request", request)
    return requests


def _require_whole(place: Place, home: Home) -> None:
    truth = {place.path(path.name): path.read_bytes() for path in place.source.iterdir()}
    assert contents(home, newest(home)) == truth


def test_every_edited_file_is_a_delta_and_reads(place: Place, made: list[bytes | None]) -> None:
    with place.open() as home:
        before = sum(path.stat().st_size for path in place.packs())
        place.backup(home)
        grown = sum(path.stat().st_size for path in place.packs()) - before
        _require_whole(place, home)
        assert verify(home, "read-data").is_good
    assert len(made) == COUNT
    assert None not in made
    assert grown < COUNT * 600


def test_a_pipe_of_one_page_does_not_stop_both_sides(
    place: Place, made: list[bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are larger than what may wait in the pipe are left to the process that reads."""
    monkeypatch.setattr(Child, "reply_room_bytes", 16 << 10)
    send, waiting = Child.send, list[int]()

    def sent(child: Child, message: DeltaRequest) -> None:
        if isinstance(message, DeltaRequest):
            waiting.append(len(message.load.plain))
            assert sum(waiting[len(made) :]) <= 16 << 10
        send(child, message)

    monkeypatch.setattr(Child, "send", sent)
    with place.open() as home:
        place.backup(home)
        _require_whole(place, home)
    assert 0 < len(made) < COUNT


def test_a_process_that_ends_midway_ends_the_backup(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, asked = Child.send, 0

    def send(child: Child, message: object) -> None:
        nonlocal asked
        asked += isinstance(message, DeltaRequest)
        if asked == 20:
            os.kill(child.process, signal.SIGKILL)
            os.waitid(os.P_PID, child.process, os.WEXITED | os.WNOWAIT)
        plain(child, message)  # type: ignore[arg-type]

    with place.open() as home:
        with monkeypatch.context() as patched:
            patched.setattr(Child, "send", send)
            with pytest.raises(UnavailableError) as caught:
                place.backup(home)
        assert caught.value.next_step
        assert len(home.ledger.history().snapshots) == 1
        place.backup(home)
        _require_whole(place, home)


@pytest.mark.parametrize("trouble", ["it cannot be started", "it ends at once"])
def test_without_the_process_the_reader_makes_them(
    trouble: str, place: Place, made: list[bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> int:
        raise OSError("no processes here")

    if trouble == "it cannot be started":
        monkeypatch.setattr(os, "posix_spawn", refuse)
    else:
        monkeypatch.setattr(child_module, "_command", lambda module: ["python", "-c", "pass"])
    with place.open() as home:
        before = sum(path.stat().st_size for path in place.packs())
        place.backup(home)
        grown = sum(path.stat().st_size for path in place.packs()) - before
        _require_whole(place, home)
    assert made == []
    assert grown < COUNT * 600


def test_a_base_that_does_not_read_is_told_and_not_relied_on(place: Place, made: list[bytes | None]) -> None:
    with place.open() as home:
        base = segment_of(home, newest(home), place.path("file 00"))
        flip_in_body(place, home, base)
    with place.open() as home:
        place.backup(home)
        assert base in home.reader.damaged
        _require_whole(place, home)
    assert made[0] is None


def _nights(place: Place, home: Home, count: int) -> None:
    """A database of which a few pages change between one backup and the next."""
    data, chance = bytearray(incompressible("database", 3 << 20)), random.Random(3)
    for _ in range(count):
        path = place.write("base.db", bytes(data))
        place.backup(home)
        assert contents(home, newest(home))[path] == data
        for at in chance.sample(range(0, len(data), 4096), 60):
            data[at : at + 8] = chance.randbytes(8)


def _depths(home: Home) -> set[int]:
    tables = [home.reader.table(name).table for name in home.index.segments()]
    return {frame.depth for table in tables for frame in table.frames}


@pytest.mark.parametrize("processes", [2, 3])
def test_night_after_night_deltas_rest_on_deltas(
    processes: int, place: Place, made: list[bytes | None], asked: list[DeltaRequest | None], busy: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deltahelpers, "_WORTH_ANOTHER_BYTES", 0)
    place.world = replace(place.world, workers=processes)
    with place.open() as home:
        _nights(place, home, 5)
        assert verify(home, "read-data").is_good
        assert _depths(home) == {0, 1, 2}
        assert not home.reader.damaged
    assert None not in (*asked, *made)
    assert len(made) == len(asked) > 4 * 10
    assert max(busy) == processes


def test_what_was_copied_below_a_base_is_found_by_the_process_that_knows_where(
    place: Place, made: list[bytes | None], asked: list[DeltaRequest | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.open() as home:
        monkeypatch.setattr(home.reader.successors, "of", lambda name: (name,))
        _nights(place, home, 4)
        assert _depths(home) == {0, 1, 2}
    assert {request.load.base.depth for request in asked if request is not None} == {0}
    assert len(made) == len(asked) - asked.count(None) < len(asked)


def test_a_process_is_asked_through_handles_of_any_number(place: Place, made: list[bytes | None]) -> None:
    """select(2) knows the first 1024 only."""
    handles = [os.open(place.folder, os.O_RDONLY) for _ in range(1100)]
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Child, "has_answered", HAS_ANSWERED)
            with place.open() as home:
                place.backup(home)
                _require_whole(place, home)
    finally:
        for handle in handles:
            os.close(handle)
