"""Nothing stored names code: topics are looked up in a closed register, settings come from nowhere."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import msgspec
import pytest

from shared.chain import decode_envelope, hash_envelope, sign_head
from shared.errors import BugError, DamagedError, RefusedError
from siteagent.ledger.reading import Mark
from tests.support.ledgers import Site

TRAP = "tests.support.no_such_trap:Trap.Event"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


def rewrite_last(site: Site, **changes: object) -> None:
    """Give the last fact another envelope, hash and signature, as a hostile copy of the keys could."""
    with sqlite3.connect(site.database) as connection:
        place, encoded = connection.execute("SELECT place, envelope FROM facts ORDER BY place DESC").fetchone()
        envelope = msgspec.structs.replace(decode_envelope(encoded), **changes)
        fact_hash = hash_envelope(envelope.encode())
        signature = sign_head(envelope.position(fact_hash), site.keyring.identity).signature
        connection.execute("UPDATE facts SET envelope = ?, hash = ?, signature = ? WHERE place = ?",
                           (envelope.encode(), fact_hash, signature, place))  # fmt: skip


@pytest.mark.parametrize("changes", [{"kind": "antigravity:fly"}, {"kind": "this:s"}, {"kind_version": 2}])
def test_a_stored_topic_is_never_imported(site: Site, changes: dict[str, object]) -> None:
    site.mark = None
    with site.create() as ledger:
        ledger.record(*site.backup())
    rewrite_last(site, **changes)
    with site.open(is_trusted=False) as ledger:
        last = list(ledger.facts())[-1]
        assert (last.clear, last.sealed) == (Mark.NEWER, Mark.NEWER)
        assert ledger.history().newer == 1
        with pytest.raises(RefusedError, match="made by a newer Farkeep") as caught:
            ledger.open_log_epoch("asked")
        assert "update" in caught.value.next_step
    assert not {"antigravity", "this"} & set(sys.modules)


def test_an_aggregate_with_a_newer_fact_is_not_continued(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup()[:1])
    rewrite_last(site, kind_version=9)
    with site.open(is_trusted=False) as ledger:
        stored = ledger.recorder.select_notifications(None, 99)[-1]
        with pytest.raises(RefusedError, match="cannot be continued"):
            ledger._application.mapper.to_domain_event(stored)


def test_a_body_under_another_envelope_does_not_open(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
    rewrite_last(site, fact_id=bytes(16))
    with site.open(is_trusted=False) as ledger:
        with pytest.raises(DamagedError, match="does not open"):
            list(ledger.facts())


def test_environment_variables_change_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERSISTENCE_MODULE", "MAPPER_TOPIC", "TRANSCODER_TOPIC", "CIPHER_TOPIC", "COMPRESSOR_TOPIC",
                 "APPLICATION_RECORDER_TOPIC", "INFRASTRUCTURE_FACTORY"):  # fmt: skip
        monkeypatch.setenv(name, TRAP)
        monkeypatch.setenv(f"LEDGERAPPLICATION_{name}", TRAP)
    monkeypatch.setenv("IS_SNAPSHOTTING_ENABLED", "y")
    monkeypatch.setenv("AGGREGATE_CACHE_MAXSIZE", "trap")
    monkeypatch.setenv("SQLITE_DBNAME", ":memory:")
    with site.create() as ledger:
        ledger.record(*site.backup())
        assert ledger._application.repository.cache is None
    with sqlite3.connect(site.database) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"log_epochs", "facts", "bodies", "settings"}


def test_only_facts_pass_the_mapper(site: Site) -> None:
    with site.create() as ledger:
        with pytest.raises(BugError):
            ledger._application.mapper.to_stored_event(object())  # type: ignore[arg-type]
        with pytest.raises(BugError):
            ledger._application.mapper.to_domain_event(object())  # type: ignore[arg-type]


