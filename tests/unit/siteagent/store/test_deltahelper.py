"""Deltas of small files made by another process: the same as without it, whatever becomes of the process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.errors import UnavailableError
from siteagent.disk import child as child_module
from siteagent.disk.child import Child
from siteagent.home import Home
from siteagent.jobs.verify import verify
from siteagent.store import deltahelper
from siteagent.store.delta import Base, BaseChunk
from siteagent.store.deltahelper import DeltaHelper
from siteagent.store.deltaprocess import DeltaRequest, DeltaSetup
from siteagent.store.deltawork import DeltaLoad, Encoding
from siteagent.store.index import Index
from siteagent.store.reader import SegmentReader
from tests.support.homes import Place, contents, flip_in_body, incompressible, newest, segment_of
from tests.support.stores import MemoryPacks, keyring

COUNT = 60
HAS_ANSWERED = Child.has_answered


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A home with one snapshot, and a source of which every file was edited since; the process is asked at once."""
    monkeypatch.setattr(deltahelper, "_WORTH_A_PROCESS", 0)
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
    """Files that are larger than half of what may wait in the pipe are left to the process that reads."""
    monkeypatch.setattr(Child, "reply_room_bytes", 16 << 10)
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


def test_only_what_the_process_can_make_counts_towards_starting_it(tmp_path: Path) -> None:
    """A base that is a delta itself is read by the process that has the index."""
    setup = DeltaSetup(str(tmp_path), [], b"key")
    helper = DeltaHelper(setup, SegmentReader(MemoryPacks(), Index(str(tmp_path / "index")), keyring()))
    load = DeltaLoad(b"plain", (bytes(32),), (5,), Base((BaseChunk(bytes(20), bytes(32)),), depth=1))
    assert not any(helper.take(Encoding(load)) for _ in range(100))
    assert helper._child is None


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
