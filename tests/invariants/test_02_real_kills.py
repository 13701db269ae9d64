"""A real command killed at any moment leaves the previous state plus garbage only: the home opens at once, what was
acknowledged restores, the next backup works, and it goes on from what the killed one stored (invariants 1 and 2).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from siteagent.store.pack import PACK_BYTES
from tests.support.farkeep import Farkeep
from tests.support.killed_site import COMMANDS, KilledSite
from tests.support.places import remove_tree
from tests.support.scratch import memory, scratch_folder
from tests.support.sessions import allocated, await_end, bytes_written, growth, members
from tests.support.tally import Tally
from tests.support.walker import compare, describe

_LEAST_BYTES = 1 << 30
_PART = 5
"""Kills per test: each test has a site of its own, so that they run side by side."""
_SHARE_MAX = 0.55
_SHORT_BYTES, _LONG_BYTES = 4 * PACK_BYTES - (6 << 20), 24 * PACK_BYTES


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is enough of it: a kill leaves what the kernel has, on whatever disk."""
    with scratch_folder(memory(6 * _LEAST_BYTES)) as made:
        yield made


@pytest.mark.parametrize("part", range(20 if os.environ.get("FARKEEP_TEST_LONG") == "1" else 2))
def test_a_command_that_is_killed(part: int, folder: Path, seed: int, tally: Tally,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    site, killed = KilledSite(folder, seed * 1000 + part), Counter[str]()
    turn = part * _PART
    for _ in range(6 * _PART):
        command = COMMANDS[turn % len(COMMANDS)]
        if site.kill(command):
            site.require_survival()
            killed[command] += 1
            turn += 1
        if killed.total() == _PART:
            break
    with capsys.disabled():
        print(f"\nseed {seed}, part {part}: killed {dict(killed)}, {site.helpers_seen} with helpers", flush=True)
    assert killed.total() == _PART
    tally("real kills", killed.total())


def test_after_a_kill_at_half_the_next_backup_writes_the_rest(folder: Path, seed: int, is_long_run: bool,
                                                              tally: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    """In the short form the kill comes when the second of four packs is whole; a long backup may be hit anywhere.

    What is lost is the pack that was being written, 64 MiB at most: of a backup of four packs that can be a quarter.
    """
    source, size_bytes = folder / "source", _LONG_BYTES if is_long_run else _SHORT_BYTES
    fill(source, size_bytes, random.Random(seed))
    whole_bytes, whole_growth = whole_backup(Farkeep(folder / "whole"), source, folder)
    remove_tree(folder / "whole")
    farkeep = Farkeep(folder / "home")
    farkeep.init()
    left = kill_at_half(farkeep, source, folder, size_bytes, is_anywhere=is_long_run)
    rest_bytes, rest_growth = backup(farkeep, source, folder, allocated(folder / "home"))
    assert await_end(left) == [], "sealing processes outlived the command that started them"
    with capsys.disabled():
        print(f"\nafter a kill at half: {rest_bytes} of {whole_bytes} bytes written, "
              f"{rest_growth} of {whole_growth} grown", flush=True)  # fmt: skip
    if rest_bytes is not None and whole_bytes is not None:
        assert rest_bytes <= _SHARE_MAX * whole_bytes, f"{rest_bytes} of {whole_bytes}"
    assert rest_growth <= _SHARE_MAX * whole_growth, f"{rest_growth} of {whole_growth}"
    assert farkeep.verify("--read-data").exit_code == 0
    farkeep.restore(f"docs@latest:{source}", folder / "restored")
    assert compare(describe(source), describe(folder / "restored")) == []
    tally("kills at half of a long backup", 1)


def fill(source: Path, size_bytes: int, chance: random.Random) -> None:
    """Files of 8 MiB that do not shrink."""
    source.mkdir()
    for number, at in enumerate(range(0, size_bytes, 8 << 20)):
        (source / str(number)).write_bytes(chance.randbytes(min(8 << 20, size_bytes - at)))


def whole_backup(farkeep: Farkeep, source: Path, folder: Path) -> tuple[int | None, int]:
    farkeep.init()
    return backup(farkeep, source, folder, allocated(farkeep.home))


def start(farkeep: Farkeep, source: Path, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "user").mkdir(exist_ok=True)
    return farkeep.start("backup", source, "--name", "docs", user_home=folder / "user")


def backup(farkeep: Farkeep, source: Path, folder: Path, before: dict[int, int]) -> tuple[int | None, int]:
    """Back up; bytes written as the kernel counts the process's writes (if it tells), and as the disk grew."""
    process = start(farkeep, source, folder)
    written = bytes_written(process)
    output, errors = process.communicate()
    assert process.returncode == 0, (output, errors)
    return written, growth(before, allocated(farkeep.home))


def kill_at_half(farkeep: Farkeep, source: Path, folder: Path, size_bytes: int, *, is_anywhere: bool) -> list[int]:
    """Kill a first backup when half of it is stored; returns the processes it had started, which nobody killed."""
    process = start(farkeep, source, folder)
    packs = farkeep.home / "packs"
    while process.poll() is None:
        if is_anywhere and sum(allocated(packs).values()) >= size_bytes // 2:
            break
        if not is_anywhere and len(list(packs.glob("*.pack"))) >= 2:
            break
    started = [member for member in members(process.pid) if member != process.pid]
    assert started, "there were no sealing processes"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return started
