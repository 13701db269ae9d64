"""The recorder: durable settings on every connection, one chain, and what happens when the database refuses."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import BugError, DamagedError, ExhaustedError, RefusedError, UnavailableError
from siteagent.ledger import database
from siteagent.ledger.database import SYNCHRONOUS_FULL
from tests.support.ledgers import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path / "home")


def signatures(site: Site) -> list[bool]:
    with sqlite3.connect(site.database) as connection:
        return [bool(row[0]) for row in connection.execute("SELECT signature FROM facts ORDER BY place")]


def test_every_connection_is_durable_and_careful(site: Site) -> None:
    with site.create() as ledger:
        datastore = ledger.recorder.datastore
        with datastore.transaction(commit=False) as one, datastore.transaction(commit=False) as two:
            assert one is not two
            for cursor in (one, two):
                found = {}
                for name in ("journal_mode", "synchronous", "secure_delete", "page_size", "trusted_schema"):
                    cursor.execute(f"PRAGMA {name}")
                    found[name] = cursor.fetchone()[0]
                assert found == {"journal_mode": "wal", "synchronous": SYNCHRONOUS_FULL, "secure_delete": 1,
                                 "page_size": 4096, "trusted_schema": 0}  # fmt: skip


def test_a_setting_that_does_not_take_effect_is_noticed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.create().close()
    monkeypatch.setattr(database, "_SETTINGS", (("synchronous", "OFF", SYNCHRONOUS_FULL),))
    with pytest.raises(UnavailableError, match="synchronous is 0"):
        site.open()


def test_the_last_fact_of_every_append_is_signed(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        ledger.record(*site.backup()[:1])
    assert signatures(site) == [False] * 3 + [True] + [False] * 4 + [True] + [True]


def test_an_append_is_one_transaction(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        before = signatures(site)
        connection = ledger.recorder.datastore
        with connection.transaction(commit=True) as cursor:
            cursor.execute("CREATE TRIGGER stop BEFORE INSERT ON bodies WHEN (SELECT COUNT(*) FROM bodies) = 12"
                           " BEGIN SELECT RAISE(ABORT, 'stopped'); END")  # fmt: skip
        with pytest.raises(BugError, match="stopped"):
            ledger.record(*site.backup())
        assert signatures(site) == before


def test_a_full_disk_ends_recording_and_loses_nothing(site: Site) -> None:
    with site.create() as ledger:
        position = ledger.record(*site.backup())
        with ledger.recorder.datastore.transaction(commit=False) as cursor:
            cursor.execute("PRAGMA max_page_count = 1")
        with pytest.raises(ExhaustedError, match="no space left") as caught:
            for _ in range(100):
                position = ledger.record(*site.backup())
        assert "free space" in caught.value.next_step
        with pytest.raises(UnavailableError, match="failed before"):
            ledger.record(*site.backup())
        assert ledger.head.position == position
        assert list(ledger.facts())[-1].position == position
    with site.open() as ledger:
        assert ledger.head.position == position
        ledger.record(*site.backup())


def test_a_disk_that_refuses_writes_ends_recording(site: Site) -> None:
    with site.create() as ledger:
        position = ledger.record(*site.backup())
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(DamagedError, match="disk refused") as caught:
                ledger.record(*site.backup())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "check the disk" in caught.value.next_step
        with pytest.raises(UnavailableError, match="failed before"):
            ledger.record(*site.backup())
    with site.open() as ledger:
        assert ledger.head.position == position


def test_another_programs_lock_is_reported_as_busy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_WAIT_S", 0.0)
    with site.create() as ledger:
        other = sqlite3.connect(site.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(UnavailableError, match="in use by another program"):
                ledger.record(*site.backup())
        finally:
            other.rollback()
            other.close()


def test_a_second_writer_is_noticed_before_anything_is_written(site: Site) -> None:
    with site.create() as ledger, site.open() as intruder:
        intruder.record(*site.backup())
        count = len(signatures(site))
        with pytest.raises(UnavailableError, match="another program has written"):
            ledger.record(*site.backup())
        assert len(signatures(site)) == count


def test_a_damaged_database_is_reported_as_such(site: Site) -> None:
    with site.create() as ledger:
        for _ in range(20):
            ledger.record(*site.backup())
    content = bytearray(site.database.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    site.database.write_bytes(content)
    with pytest.raises(DamagedError, match="damaged") as caught:
        site.open()
    assert "repair log" in caught.value.next_step


def test_a_log_of_a_newer_farkeep_is_refused(site: Site) -> None:
    site.create().close()
    with sqlite3.connect(site.database) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(RefusedError, match="newer Farkeep"):
        site.open()


def test_a_database_of_something_else_is_no_log(site: Site) -> None:
    site.create().close()
    with sqlite3.connect(site.database) as connection:
        connection.execute("PRAGMA application_id = 7")
    with pytest.raises(DamagedError, match="not a log of Farkeep"):
        site.open()


def test_values_of_the_wrong_type_are_damage_not_a_crash(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
    with sqlite3.connect(site.database) as connection:
        connection.execute("UPDATE facts SET envelope = 'text' WHERE place = 3")
    with site.open() as ledger:
        with pytest.raises(DamagedError, match="wrong type"):
            list(ledger.facts())


def test_the_library_sees_its_own_contract(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        recorder = ledger.recorder
        assert recorder.max_notification_id() == 9
        assert [one.id for one in recorder.select_notifications(3, 4, 5)] == [3, 4, 5]
        assert [one.id for one in recorder.select_notifications(3, 4, inclusive_of_start=False)] == [4, 5, 6, 7]
        assert [one.topic for one in recorder.select_notifications(None, 99, topics=["job.ended"])] == ["job.ended"]
        vault = recorder.select_notifications(1, 1)[0].originator_id
        assert [one.originator_version for one in recorder.select_events(vault, gt=1, lte=3)] == [2, 3]
        assert [one.originator_version for one in recorder.select_events(vault, desc=True, limit=1)] == [4]
