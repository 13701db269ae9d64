"""The command without root's right to read and write what permissions forbid.

As root it runs through setpriv(1) without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: still root, so that it reaches an
interpreter below /root, but bound to permissions like everybody else. As an ordinary user it is the command itself.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.farkeep import Farkeep

_RIGHTS = ("dac_override", "dac_read_search")


def bound_by_permissions(home: Path, folder: Path, *more: str) -> Farkeep:
    """The command on `home`, as root without these and `more` rights; a wrapper is put into `folder` where needed."""
    if os.geteuid() != 0:
        return Farkeep(home)
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux) to be bound by permissions as root")
    wrapper = folder / "farkeep-bound-by-permissions"
    command = os.fsdecode(Farkeep(home).command("version")[0])
    rights = ",".join(f"-{right}" for right in (*_RIGHTS, *more))
    wrapper.write_text(f'#!/bin/sh\nexec setpriv --bounding-set={rights} --inh-caps={rights} "{command}" "$@"\n')
    wrapper.chmod(0o755)
    return Farkeep(home, executable=wrapper)
