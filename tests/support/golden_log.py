"""The golden logs: `tests/golden/log` (two log epochs, two key epochs, an erased subject) and `tests/golden/decisions`.

Together they hold every kind of fact.

`python -m tests.support.golden_log` writes files that are missing. A file that exists is never written again: it stands
for what users already have, and only a new version of a format adds files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from shared.facts import Fact, KeyAdded
from shared.keyringfile import encode_keyring, open_keyring
from shared.organisation import create
from siteagent.ledger.ledger import Ledger
from siteagent.ledger.reading import Mark, RecordedFact
from tests.support.determined import LabelledRandomness
from tests.support.ledgers import MINUTE_NS, SOURCE, USER, Site, sample_parts

GOLDEN = Path(__file__).parent.parent / "golden"
FOLDER = GOLDEN / "log"
DECISIONS = GOLDEN / "decisions"
SITE_SECRET = b"golden log site secret, 32 bytes"


def open_golden(folder: Path, golden: Path = FOLDER) -> Ledger:
    """Open a copy of a golden log that is made in `folder` (a home)."""
    keyring = open_keyring((golden / "keyring.bin").read_bytes(), SITE_SECRET)
    site = Site(folder)
    site.keyring = keyring
    (folder / "log").mkdir()
    shutil.copy(golden / "log.db", folder / "log" / "log.db")
    return site.open(is_trusted=False)


def shown(fact: RecordedFact) -> dict[str, Any]:
    """A fact as plain JSON values."""
    return {
        "log_epoch": fact.position.log_epoch.hex(),
        "sequence": fact.position.sequence,
        "hash": fact.position.hash.hex(),
        "kind": fact.kind,
        "version": fact.kind_version,
        "time_ns": fact.time_ns,
        "wall_ns": fact.wall_ns,
        "subject": fact.subject.hex(),
        "fact_id": fact.fact_id.hex(),
        "clear": _plain(fact.clear),
        "sealed": _plain(fact.sealed),
    }


def _plain(part: object) -> object:
    return part.value if isinstance(part, Mark) else msgspec.json.decode(msgspec.json.encode(part))


def write_log(site: Site) -> None:
    """Record the golden facts in a new log."""
    site.randomness = LabelledRandomness("farkeep golden log 1")
    organisation = create("Golden organisation", site.randomness.bits(32))
    keyring = type(site.keyring).create(SITE_SECRET, organisation, site.randomness, site.clock)
    site.keyring = keyring
    parts = sample_parts(keyring)
    with site.create() as ledger:
        ledger.record(*site.backup("golden", subject=SOURCE))
        ledger.record(*site.backup("golden", subject=USER))
        site.clock.pass_ns(90 * MINUTE_NS)
        for kind in ("job.started", "verification.done", "restore.done", "job.ended", "packs.stored", "run.abandoned",
                     "log.readopted"):  # fmt: skip
            ledger.record(Fact(*parts[kind]))
        site.keyring = keyring.rotated(site.randomness, site.clock)
        ledger.use_keyring(site.keyring)
        ledger.record(Fact(KeyAdded(record=site.keyring.records[-1])))
        site.clock.wall_ns -= 30 * MINUTE_NS
        ledger.record(*site.backup("golden", quality="partial", subject=SOURCE))
        ledger.open_log_epoch("asked", "a note")
        ledger.erase_subject(USER, "asked for")


def write_decisions(site: Site) -> None:
    """Record decisions about what is kept, and what was done about them."""
    site.randomness = LabelledRandomness("farkeep golden log 2")
    site.keyring = type(site.keyring).create(SITE_SECRET, None, site.randomness, site.clock)
    parts = sample_parts(site.keyring)
    with site.create() as ledger:
        ledger.record(*site.backup("golden"))
        for kind in ("snapshot.taken", "snapshot.labelled", "hold.placed", "hold.released", "snapshots.forgotten",
                     "snapshots.recalled", "job.started", "packs.replaced", "segments.superseded", "segments.swept",
                     "job.ended"):  # fmt: skip
            site.clock.pass_ns(MINUTE_NS)
            ledger.record(Fact(*parts[kind]))


def write_missing() -> None:
    """Write the golden files that do not exist yet."""
    _write_missing(FOLDER, write_log)
    _write_missing(DECISIONS, write_decisions)


def _write_missing(golden: Path, write: Callable[[Site], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "home")
        write(site)
        with site.open() as ledger:
            expected = [shown(fact) for fact in ledger.facts()]
        contents = {
            "log.db": site.database.read_bytes(),
            "keyring.bin": encode_keyring(site.keyring),
            "expected.json": msgspec.json.format(msgspec.json.encode(expected), indent=1) + b"\n",
        }
    golden.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if not (golden / name).exists():
            (golden / name).write_bytes(content)


if __name__ == "__main__":
    write_missing()
