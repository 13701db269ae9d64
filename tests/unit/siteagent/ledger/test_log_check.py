"""`check_log` accepts a whole log and names the first sequence of any other."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from shared.errors import FarkeepError
from siteagent.ledger.log_check import LogReport, check_log
from tests.support.ledgers import SOURCE, USER, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A log of 16 facts in two log epochs, with one erased subject."""
    site = Site(tmp_path / "home")
    with site.create() as ledger:
        ledger.record(*site.backup())
        ledger.open_log_epoch("asked")
        ledger.record(*site.backup(subject=USER))
        ledger.erase_subject(USER, "asked for")
    return site


def check(site: Site) -> LogReport:
    with site.open(is_trusted=False) as ledger:
        return check_log(ledger)


def change(site: Site, statement: str) -> None:
    with sqlite3.connect(site.database) as connection:
        assert connection.execute(statement).rowcount > 0


def test_a_whole_log_is_good(site: Site) -> None:
    report = check(site)
    assert (report.is_good, report.problem, report.first_bad) == (True, "", None)
    assert (report.facts, report.log_epochs, report.erased, report.unreadable, report.newer) == (16, 2, 4, 0, 0)
    assert report.signed is not None and report.signed.position.sequence == 16


def flipped(column: str) -> str:
    """SQL for the same value with its seventh byte changed."""
    return (f"CAST(substr({column}, 1, 6) || (CASE WHEN substr({column}, 7, 1) = x'41' THEN x'42' ELSE x'41' END)"
            f" || substr({column}, 8) AS BLOB)")  # fmt: skip


@pytest.mark.parametrize("place", [1, 4, 7, 10, 15, 16])
@pytest.mark.parametrize("column", ["envelope", "hash", "aggregate"])
def test_a_changed_fact_is_named(site: Site, place: int, column: str) -> None:
    change(site, f"UPDATE facts SET {column} = {flipped(column)} WHERE place = {place}")
    report = check(site)
    assert (report.is_good, report.first_bad) == (False, place)
    assert report.facts == place - 1


@pytest.mark.parametrize("place", [2, 6, 8, 16])
def test_a_changed_body_is_named(site: Site, place: int) -> None:
    change(site, f"UPDATE bodies SET body = {flipped('body')} WHERE place = {place}")
    assert check(site).first_bad == place


@pytest.mark.parametrize("place", [4, 9, 10, 15, 16])
def test_a_changed_signature_is_named(site: Site, place: int) -> None:
    change(site, f"UPDATE facts SET signature = {flipped('signature')} WHERE place = {place}")
    report = check(site)
    assert report.first_bad == place and "not signed" in report.problem


@pytest.mark.parametrize("place", [2, 9, 12])
def test_a_missing_fact_is_named(site: Site, place: int) -> None:
    change(site, f"DELETE FROM facts WHERE place = {place}")
    assert check(site).first_bad == place


def test_facts_cut_off_behind_the_last_signature_are_noticed(site: Site) -> None:
    with site.open() as ledger:
        ledger.record(*site.backup())
    change(site, "DELETE FROM facts WHERE place = 20")
    report = check(site)
    assert (report.facts, report.first_bad, report.problem) == (19, 17, "the newest facts are not signed")


def test_a_body_that_vanished_without_an_erasure_is_named(site: Site) -> None:
    change(site, "DELETE FROM bodies WHERE place = 7")
    assert check(site).first_bad == 7
    change(site, "DELETE FROM bodies WHERE place = 5")
    assert check(site).first_bad == 7


def test_a_subject_key_that_vanished_without_an_erasure_is_named(site: Site) -> None:
    change(site, "DELETE FROM bodies WHERE place = 5")
    report = check(site)
    assert (report.first_bad, report.problem) == (5, "a body was destroyed that no recorded erasure explains")


@pytest.mark.parametrize("change_made", ["sequence = 99", "aggregate_version = 77", "log_epoch = 2"])
def test_a_row_that_contradicts_its_envelope_is_named(site: Site, change_made: str) -> None:
    change(site, f"UPDATE facts SET {change_made} WHERE place = 6")
    report = check(site)
    assert report.first_bad == 6 and "contradicts" in report.problem


def test_values_of_the_wrong_type_are_named(site: Site) -> None:
    change(site, "UPDATE facts SET envelope = 'text' WHERE place = 6")
    assert check(site).first_bad == 6


def test_a_database_that_is_inconsistent_is_reported(site: Site) -> None:
    with sqlite3.connect(site.database) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'facts_by_aggregate'")
    try:
        report = check(site)
    except FarkeepError:
        return
    assert not report.is_good and "inconsistent" in report.problem


def test_a_keyring_without_the_newest_key_epoch_checks_all_but_the_seals(site: Site) -> None:
    old = site.keyring
    site.keyring = old.rotated(site.randomness, site.clock)
    with site.open() as ledger:
        ledger.record(*site.backup(subject=SOURCE))
    site.keyring = old
    report = check(site)
    assert report.is_good and report.unreadable == 5
