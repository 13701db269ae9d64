"""No success after a failed write, on a really full disk: a backup fails and says so, while the log, `forget` and
`prune` work, for which a reserve is kept; then the backup works. No backup begins that would eat the reserve.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import ExhaustedError
from siteagent.disk.local import LocalDisk
from siteagent.disk.reserve import NEEDED_BYTES, RESERVE_BYTES, Reserve
from siteagent.jobs.forget import Manner, forget_named
from siteagent.jobs.record import Who
from tests.support.farkeep import Farkeep
from tests.support.homes import Place, incompressible
from tests.support.tally import Tally

NO_SPACE = ExhaustedError.exit_code


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "farkeep-test", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> None:
    """Leave no room at all."""
    with (disk / "filled").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


@pytest.mark.needs_root
def test_through_the_command_line(small_disk: Path, tmp_path: Path, tally: Tally) -> None:
    source, reserve, farkeep = tmp_path / "source", small_disk / "home" / "reserve", Farkeep(small_disk / "home")
    source.mkdir()
    farkeep.init()
    assert reserve.stat().st_blocks * 512 >= reserve.stat().st_size == NEEDED_BYTES
    for name in ("first", "second"):
        (source / name).write_bytes(incompressible(name, 5 << 20))
        farkeep.backup(source)
    (source / "too much").write_bytes(incompressible("too much", 60 << 20))
    for _ in range(3):
        assert farkeep.backup(source, check=False).exit_code == NO_SPACE
    (source / "too much").unlink()
    fill(small_disk)
    refused = farkeep.backup(source, check=False)
    assert refused.exit_code == NO_SPACE
    assert "prune" in refused.json()["error"]["next"]
    assert os.statvfs(small_disk).f_bavail * 4096 >= NEEDED_BYTES // 2, "the reserve was not given back, or is eaten up"
    shown = farkeep.snapshots().json()
    first = min(shown, key=lambda snapshot: snapshot["time"])["snapshot"]
    farkeep.run("forget", first)
    farkeep.run("prune", "--now")
    assert farkeep.run("verify", "--read-data").exit_code == 0
    (small_disk / "filled").unlink()
    farkeep.run("prune", "--now")
    assert reserve.exists()
    farkeep.backup(source)
    for name in ("first", "second"):
        read = farkeep.run("cat", b"latest:" + os.fsencode(source / name), is_json=False)
        assert read.stdout == incompressible(name, 5 << 20)
    tally("commands on a full disk", 7)


@pytest.mark.needs_root
@pytest.mark.parametrize("what", ["an open log", "a closed log"])
def test_the_log_goes_on_when_it_meets_a_full_disk(what: str, small_disk: Path, tmp_path: Path) -> None:
    """While it is open the disk becomes full: the reserve is given back and the fact is there, once."""
    place = Place(small_disk)
    place.world = place.world.__class__(place.clock, place.randomness, network_kind=lambda _: None,
                                        may_start_processes=False)
    place.create().write("file", incompressible("file", 1 << 20))
    home = place.open()
    place.backup(home)
    place.write("file", incompressible("file again", 1 << 20))
    place.backup(home)
    if what == "a closed log":
        home.close()
    fill(small_disk)
    if what == "a closed log":
        home = place.open()
    facts = home.ledger.history().facts
    for snapshot in home.ledger.history().snapshots[:1]:
        forget_named(home, Who("user", "host"), [snapshot], Manner())
    assert len(home.ledger.history().forgotten) == 1
    assert home.ledger.history().facts == facts + 3
    assert not (place.home / "reserve").exists()
    with pytest.raises(ExhaustedError, match="the last room"):
        place.backup(home)
    home.close()
    with place.open() as home:
        assert len(home.ledger.history().forgotten) == 1


def test_it_takes_its_room_once_and_gives_it_back_once(tmp_path: Path) -> None:
    reserve = Reserve(LocalDisk(str(tmp_path)), 1 << 20)
    assert reserve.make()
    assert reserve.make()
    about = (tmp_path / "reserve").stat()
    assert (about.st_size, about.st_blocks * 512 >= about.st_size) == (1 << 20, True)
    assert reserve.give_up()
    assert not reserve.give_up()
    assert os.listdir(tmp_path) == []


def test_it_is_small_beside_the_free_space(tmp_path: Path) -> None:
    class Roomy(LocalDisk):
        free = 0
        made = 0

        def free_bytes(self) -> int:
            return self.free

        def allocate(self, path: str, size_bytes: int) -> None:
            self.made = size_bytes
            super().allocate(path, 4096)

    for free, expected in ((1 << 40, RESERVE_BYTES), (300 << 20, (300 << 20) // 100), (10 << 20, NEEDED_BYTES)):
        disk = Roomy(str(tmp_path))
        disk.free = free
        assert Reserve(disk).make()
        assert disk.made == expected
        assert Reserve(disk).give_up()
    disk.free = NEEDED_BYTES
    assert not Reserve(disk).make()
    with pytest.raises(ExhaustedError):
        Reserve(disk).require()
    assert Reserve(disk, 0).make()
    assert os.listdir(tmp_path) == []
