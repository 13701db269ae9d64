"""The high-water mark: what it proves, what it does not, and what the ledger then allows."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from shared.errors import BugError, DamagedError, RefusedError
from siteagent.ledger.high_water import HighWater, Verdict, encode_high_water, read_high_water
from siteagent.ledger.ledger import Ledger
from tests.support.determined import LabelledRandomness
from tests.support.ledgers import SOURCE, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


def test_a_mark_survives_a_round_trip_and_no_changed_byte(site: Site) -> None:
    with site.create() as ledger:
        mark = HighWater(ledger.head.position, 2**63 + 5)
    data = encode_high_water(mark, site.keyring.current)
    assert read_high_water(data, site.keyring) == mark
    assert data[:9] == b"FKhw\x01\x00\x00\x00\x01"
    for at in range(len(data)):
        assert read_high_water(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], site.keyring) is None
    assert read_high_water(data[:-1], site.keyring) is None
    assert read_high_water(None, site.keyring) is None


def test_a_mark_is_one_sites_only_and_survives_rotation(site: Site, tmp_path: Path) -> None:
    site.create().close()
    other = Site(tmp_path / "other", randomness=LabelledRandomness("other"))
    assert read_high_water(site.mark, other.keyring) is None
    rotated = site.keyring.rotated(site.randomness, site.clock)
    assert read_high_water(site.mark, rotated) is not None


def test_a_log_that_contains_the_mark_is_fresh(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        older = site.mark
        ledger.record(*site.backup())
    with site.open() as ledger:
        assert ledger.verdict is Verdict.FRESH
        epoch = ledger.head.position.log_epoch
        ledger.record(*site.backup())
        assert ledger.head.position.log_epoch == epoch
    with site.open_with(read_high_water(older, site.keyring)) as ledger:
        assert ledger.verdict is Verdict.FRESH


def test_without_a_mark_a_new_log_epoch_comes_first(site: Site) -> None:
    with site.create() as ledger:
        before = ledger.record(*site.backup())
    with site.open(is_trusted=False) as ledger:
        assert ledger.verdict is Verdict.UNPROVEN
        assert len(list(ledger.facts())) == 9
        with pytest.raises(BugError, match="log epoch must be opened first"):
            ledger.record(*site.backup())
        opened = ledger.open_log_epoch("unproven", "no mark")
        assert (opened.sequence, opened.log_epoch) == (before.sequence + 1, opened.hash)
        ledger.record(*site.backup())
        line = ledger.history().log_epochs.lineage(ledger.head.position.log_epoch)
        assert [(epoch.reason, epoch.parent) for epoch in line] == [("created", None), ("unproven", before)]
    with site.open() as ledger:
        assert ledger.verdict is Verdict.FRESH
        assert ledger.head.position.log_epoch == opened.hash


def test_a_copied_home_is_unproven(site: Site, tmp_path: Path) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
    shutil.copytree(site.home, tmp_path / "copy")
    mark = read_high_water(site.mark, site.keyring)
    with Ledger.open(str(tmp_path / "copy" / "log"), site.keyring, site.clock, site.randomness, mark) as copy:
        assert copy.verdict is Verdict.UNPROVEN
        copied = copy.open_log_epoch("unproven")
    with site.open() as ledger:
        original = ledger.record(*site.backup()[:1])
        assert original.sequence == copied.sequence
        assert original.log_epoch != copied.log_epoch


def test_a_home_put_back_from_an_old_copy_is_rewound_and_read_only(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
    old = site.database.read_bytes()
    with site.open() as ledger:
        lost = ledger.record(*site.backup())
    site.database.write_bytes(old)
    with site.open() as ledger:
        assert ledger.verdict is Verdict.REWOUND
        with pytest.raises(RefusedError, match="older than its high-water mark") as caught:
            ledger.record(*site.backup())
        assert "repair log" in caught.value.next_step
        with pytest.raises(RefusedError, match="older than its high-water mark"):
            ledger.erase_subject(SOURCE, "asked for")
        assert len(list(ledger.facts())) == 9
        ledger.open_log_epoch("rewound", "repair log")
        again = ledger.record(*site.backup()[:1])
        assert again.sequence < lost.sequence and again.log_epoch != lost.log_epoch
        assert not ledger.contains(lost)
    with site.open() as ledger:
        assert ledger.verdict is Verdict.FRESH


def test_another_key_than_the_openers_needs_its_own_log_epoch(site: Site) -> None:
    site.create().close()
    successor = Site(site.home.parent / "successor", randomness=LabelledRandomness("successor"))
    successor.keyring.site_id = site.keyring.site_id
    mark = read_high_water(site.mark, site.keyring)
    with Ledger.open(site.folder, successor.keyring, site.clock, site.randomness, mark) as ledger:
        assert ledger.verdict is Verdict.UNPROVEN


@pytest.mark.parametrize("column", ["signature", "envelope", "hash"])
def test_a_newest_fact_that_does_not_hold_makes_the_log_read_only(site: Site, column: str) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
    with sqlite3.connect(site.database) as connection:
        value = connection.execute(f"SELECT {column} FROM facts ORDER BY place DESC").fetchone()[0]
        changed = value[:20] + bytes([value[20] ^ 1]) + value[21:]
        connection.execute(f"UPDATE facts SET {column} = ? WHERE place = (SELECT MAX(place) FROM facts)", (changed,))
    with site.open() as ledger:
        assert ledger.verdict is Verdict.DAMAGED
        with pytest.raises(DamagedError, match="newest fact") as caught:
            ledger.record(*site.backup())
        assert "audit verify" in caught.value.next_step
        with pytest.raises(DamagedError, match="newest fact"):
            ledger.open_log_epoch("asked")


def test_the_inode_is_the_one_of_the_folder_above(site: Site) -> None:
    with site.create() as ledger:
        assert ledger.home_inode == os.stat(site.home).st_ino
