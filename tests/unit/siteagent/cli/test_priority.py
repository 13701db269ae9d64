"""Giving way to other programs. What is set is set for good, so it is tried in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from shared.errors import RefusedError
from siteagent.cli import priority
from siteagent.cli.settings import DiskPriority

_SCRIPT = """
import ctypes, json, os, subprocess, sys
from siteagent.cli.priority import _CALLS, take_priority
from siteagent.cli.settings import DiskPriority

def get():
    return ctypes.CDLL(None).syscall(_CALLS[os.uname().machine] + 1, 1, 0)

if len(sys.argv) == 1:
    seen = []
    take_priority(7, DiskPriority(False, 6))
    seen.append([os.nice(0), get()])
    take_priority(9, DiskPriority(True))
    seen.append([os.nice(0), get()])
    child = subprocess.run([sys.executable, __file__, "child"], capture_output=True, check=True)
    seen.append(json.loads(child.stdout))
    print(json.dumps(seen))
else:
    print(json.dumps([os.nice(0), get()]))
"""
_BEST_EFFORT, _IDLE = 2 << 13, 3 << 13


def test_priorities_are_taken_and_handed_down(tmp_path: "os.PathLike[str]") -> None:
    script = os.path.join(tmp_path, "script.py")
    with open(script, "w") as file:
        file.write(_SCRIPT)
    ran = subprocess.run([sys.executable, script], capture_output=True, check=True, env={"PYTHONPATH": os.getcwd()})
    assert json.loads(ran.stdout) == [[7, _BEST_EFFORT + 6], [9, _IDLE], [9, _IDLE]]


@pytest.mark.parametrize(("system", "machine"), [("darwin", "x86_64"), ("linux", "vax")])
def test_elsewhere_the_disk_priority_is_refused(system: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(RefusedError, match="on this system"):
        priority._set_disk_priority(DiskPriority(True), machine)


def test_a_priority_this_user_may_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    with pytest.raises(RefusedError, match="higher priority"):
        priority.take_priority(-5, None)
