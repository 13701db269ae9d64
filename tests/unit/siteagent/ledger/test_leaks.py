"""Nothing a person could read is in the files of the log: names, paths, hosts, users, messages."""

from __future__ import annotations

import os
from pathlib import Path

from shared.facts import Fact
from shared.organisation import create
from siteagent.ledger.ledger import CACHED_TAIL_FACTS
from tests.support.ledgers import SOURCE, USER, Site, sample_parts


def contents(folder: str) -> dict[str, bytes]:
    return {name: (Path(folder) / name).read_bytes() for name in os.listdir(folder)}


def test_no_canary_is_in_any_file(tmp_path: Path) -> None:
    site = Site(tmp_path / "home")
    organisation = create("canary-organisation", bytes(32))
    site.keyring = site.keyring.with_organisation(organisation, site.randomness)
    parts = sample_parts(site.keyring)
    with site.create() as ledger:
        for number in range(CACHED_TAIL_FACTS // 2):
            ledger.record(*site.backup(f"canary-name-{number}", subject=(SOURCE, USER, None)[number % 3]))
        for kind in ("job.started", "verification.done", "restore.done", "job.ended", "packs.stored", "run.abandoned",
                     "log.readopted"):  # fmt: skip
            ledger.record(Fact(*parts[kind], subject=USER))
        ledger.open_log_epoch("asked", "canary-note")
        ledger.history()
        found = contents(site.folder)
        assert set(found) >= {"log.db", "log.db-wal"}
        shown = repr([fact.sealed for fact in ledger.facts()])
    for canary in ("canary-name-3", "canary-organisation", "canary-note", "canary-site-name", "canary-source-name"):
        assert canary in shown
    found |= {f"closed {name}": content for name, content in contents(site.folder).items()}
    assert "closed history" in found
    for name, content in found.items():
        assert b"canary" not in content.lower(), name
        assert "canary".encode("utf-16-le") not in content, name
