"""Auditing the log: every fact is counted, and the first bad one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from siteagent.jobs.audit import audit_verify
from tests.support.homes import Place, flip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path).create()
    place.write("file", b"content")
    with place.open() as home:
        place.backup(home)
    return place


def test_a_sound_log(place: Place) -> None:
    with place.open() as home:
        report = audit_verify(home)
        assert report.is_good
        assert report.facts == home.ledger.history().facts == home.ledger.head.position.sequence
        assert report.heads == [home.ledger.head.position]
        assert report.signer == home.keyring.identity.public
        assert (report.log_epochs, report.first_bad, report.problems) == (1, None, [])
        assert "nothing is missing after it" in report.messages[0]


def test_every_log_epoch_has_its_head(place: Place) -> None:
    Path(f"{place.home}.head").unlink()
    with place.open() as home:
        assert "no high-water mark" in audit_verify(home).messages[0]
        before = home.ledger.head.position
        place.backup(home)
        report = audit_verify(home)
        assert report.is_good
        assert report.log_epochs == 2
        assert report.heads == [before, home.ledger.head.position]
        assert "nothing is missing" in report.messages[0]


def test_the_first_bad_fact_is_named(place: Place) -> None:
    database = place.home / "log" / "log.db"
    with place.open() as home:
        facts = list(home.ledger.facts())
    target = next(fact for fact in facts if fact.kind == "snapshot.taken")
    flip(database, database.read_bytes().rfind(b"snapshot.taken") - 20)
    with place.open() as home:
        report = audit_verify(home)
        assert not report.is_good
        assert report.first_bad == target.position.sequence
        assert report.facts == target.position.sequence - 1
        assert len(report.problems) == 1


def test_a_log_put_back_from_an_old_copy_is_noticed_by_its_mark(place: Place) -> None:
    database = place.home / "log" / "log.db"
    old = database.read_bytes()
    with place.open() as home:
        place.backup(home)
    database.write_bytes(old)
    with place.open() as home:
        report = audit_verify(home)
        assert report.first_bad is None
        assert report.problems == ["the log is older than what lies beside it: its high-water mark is newer than it"]
    Path(f"{place.home}.head").unlink()
    with place.open() as home:
        problems = audit_verify(home).problems
        assert problems == ["the log is older than what lies beside it: a pack cites a later position"]


def test_auditing_changes_nothing(place: Place) -> None:
    with place.open() as home:
        before = home.ledger.head
        audit_verify(home)
        assert home.ledger.head == before
