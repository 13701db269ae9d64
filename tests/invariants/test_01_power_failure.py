"""Success means durable, also for what SQLite and RocksDB write: after a power failure at any moment, with any legal
part of what was not flushed, all that was acknowledged is there and the next backup works (invariant 1).

The shipped command runs on a real ext4 over a disk of our own (tests.support.recorded_block), so nothing is left to a
model: the log, the index, the journal of the file system and what Farkeep writes itself all pass through it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import remove_tree
from tests.support.power_cut import Outcome, Plan, cut_power
from tests.support.scratch import memory
from tests.support.tally import Tally

pytestmark = pytest.mark.needs_root
ORDERED = "data=ordered"
HARSH = "data=writeback,noauto_da_alloc,commit=1"
"""Names may become durable before content, and ext4 does not mend what programs forget."""
MOMENTS = 26
"""Per test. A long run tries every moment with a write in flight."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place; kept when something did not hold."""
    made = Path(tempfile.mkdtemp(prefix="farkeep-test-", dir=memory(1 << 30) or tmp_path))
    yield made
    if not (made / "failed").exists():
        remove_tree(made)


def carried_out(plan: Plan) -> Outcome:
    outcome = cut_power(plan)
    if outcome.refused:
        pytest.skip(f"needs to mount (FUSE, loop, ext4): {outcome.refused}")
    return outcome


@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("options", [ORDERED, HARSH], ids=["ordered", "writeback"])
def test_what_was_acknowledged_survives_a_power_failure(options: str, part: int, folder: Path, seed: int,
                                                        is_long_run: bool, tally: Tally,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    moments, is_thorough = 0 if is_long_run else MOMENTS, is_long_run and not part
    plan = Plan(str(folder), options, moments, 2 * seed + part, is_thorough=is_thorough)
    outcome = carried_out(plan)
    with capsys.disabled():
        print(f"\n{options}, seed {plan.seed}: {outcome.events} events, {outcome.flushes} flushes; {outcome.moments} "
              f"moments (in flight: {outcome.parts}), {outcome.states} states ({outcome.flavours})", flush=True)
    assert outcome.failure == ""
    assert outcome.moments >= MOMENTS - 2
    assert {"log", "index"} <= outcome.parts.keys()
    assert len(outcome.flavours) == 4
    tally("crash points under SQLite and RocksDB", outcome.moments)
    tally("disks after a power failure under SQLite and RocksDB", outcome.states)


_SETTINGS = "tuple((name, 'OFF', 0) if name == 'synchronous' else (name, *rest) for name, *rest in database._SETTINGS)"


@pytest.mark.parametrize(("sabotage", "loss"), [
    (f"from siteagent.ledger import database\ndatabase._SETTINGS = {_SETTINGS}", "log.db|an acknowledged"),
    ("from siteagent.disk.local import LocalWriter\nLocalWriter.sync = lambda self: None", "Damaged"),
], ids=["the log is not synced", "files get their names unsynced"])  # fmt: skip
def test_a_forgotten_sync_is_found(sabotage: str, loss: str, folder: Path, seed: int) -> None:
    """The disk is no kinder than a real one: what the shipped command does not sync is lost."""
    outcome = carried_out(Plan(str(folder), ORDERED, 0, seed, sabotage=sabotage))
    (folder / "failed").unlink(missing_ok=True)
    assert re.search(loss, outcome.failure), outcome.failure
