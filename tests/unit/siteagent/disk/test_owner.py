"""One owner per home: a second one is told who and since when, a dead one never blocks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import DamagedError, UnavailableError
from siteagent.disk.owner import take_home
from tests.support.determined import StandingClock

_HOLDER = """
import sys
from shared.clock import SystemClock
from siteagent.disk.owner import take_home
owner = take_home(sys.argv[1], "backup", SystemClock())
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_owner_is_told_who_holds_the_home_and_since_when(tmp_path: Path) -> None:
    clock = StandingClock()
    owner = take_home(str(tmp_path), "backup", clock)
    with pytest.raises(UnavailableError) as raised:
        take_home(str(tmp_path), "verify", clock)
    assert "`farkeep backup`" in raised.value.message
    assert f"process {os.getpid()}" in raised.value.message
    assert "2026-01-01" in raised.value.message or "2025-12-31" in raised.value.message
    assert "--wait" in raised.value.next_step
    owner.release()
    owner.release()
    take_home(str(tmp_path), "verify", clock).release()


def test_waiting_ends_when_the_time_is_over(tmp_path: Path) -> None:
    clock = StandingClock()
    owner = take_home(str(tmp_path), "backup", clock)
    before = clock.monotonic_ns()
    with pytest.raises(UnavailableError):
        take_home(str(tmp_path), "verify", clock, wait_s=3)
    assert 3e9 <= clock.monotonic_ns() - before < 4e9
    owner.release()


def test_waiting_ends_when_the_home_is_given_back(tmp_path: Path) -> None:
    owner = take_home(str(tmp_path), "backup", StandingClock())

    class ReleasingClock(StandingClock):
        def sleep(self, wait_s: float) -> None:
            super().sleep(wait_s)
            owner.release()

    take_home(str(tmp_path), "verify", ReleasingClock(), wait_s=60).release()


def test_a_holder_that_is_killed_does_not_block(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UnavailableError, match=f"process {holder.pid}"):
            take_home(str(tmp_path), "verify", StandingClock())
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        take_home(str(tmp_path), "verify", StandingClock()).release()
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("note", [b"", b"not json", b"[]", b'{"process": "x"}', b'{"process": 1, "command": "c", '
                                  b'"since_ns": 1e30, "machine": "m"}', b"\xff" * 5000])
def test_an_unreadable_note_is_no_obstacle(tmp_path: Path, note: bytes) -> None:
    owner = take_home(str(tmp_path), "backup", StandingClock())
    (tmp_path / "owner").write_bytes(note)
    with pytest.raises(UnavailableError, match="in use by another process"):
        take_home(str(tmp_path), "verify", StandingClock())
    owner.release()


def test_a_link_in_place_of_the_note_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "owner").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match="symbolic"):
        take_home(str(tmp_path), "backup", StandingClock())
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
