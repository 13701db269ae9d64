"""A process that is killed while it records loses nothing it was told is recorded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from siteagent.ledger.log_check import check_log
from tests.support.ledgers import Site

RECORDER = """
import sys
from pathlib import Path
from tests.support.ledgers import Site
site = Site(Path(sys.argv[1]))
ledger = site.create()
while True:
    position = ledger.record(*site.backup())
    sys.stdout.write(position.encode().hex() + "\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("appends", [1, 7, 40])
def test_acknowledged_facts_survive_a_kill(tmp_path: Path, appends: int) -> None:
    home = tmp_path / "home"
    root = Path(__file__).parents[4]
    process = subprocess.Popen([sys.executable, "-c", RECORDER, str(home)], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(appends)]
    process.kill()
    acknowledged += process.stdout.read().split("\n")
    process.wait()
    process.stdout.close()
    whole = [line for line in acknowledged if len(line) == 176]
    assert len(whole) >= appends
    with Site(home).open(is_trusted=False) as ledger:
        held = {fact.position.encode().hex() for fact in ledger.facts()}
        assert held >= set(whole)
        assert check_log(ledger).is_good
        ledger.open_log_epoch("unproven")
