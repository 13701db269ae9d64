"""A log of which one fact, or what the database says of itself, is damaged: it is never taken for another site's or
a newer Farkeep's, which are left where they are, and no home is left without a log."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from shared.chain import hash_envelope
from shared.errors import DamagedError, FarkeepError, RefusedError
from siteagent.jobs.repair_log import open_broken, repair_log
from siteagent.ledger.rescue import Rescue
from tests.support.homes import Place, contents

FIELDS = {"version": 0, "flags": 1, "site": 9, "log epoch": 20, "sequence": 57, "previous hash": 60, "time": 97,
          "fact": 100, "subject": 120, "aggregate": 140, "body digest": 160, "body size": 185, "version of kind": 187,
          "kind": 190}  # fmt: skip
"""Offset of a byte of each field of an envelope (shared.chain)."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path).create()
    for name in ("first", "second"):
        place.write(name, name.encode() * 30)
        with place.open() as home:
            place.backup(home)
    return place


def _log(place: Place) -> Path:
    return place.home / "log" / "log.db"


def _envelopes(place: Place) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(_log(place))) as database:
        return [bytes(row[0]) for row in database.execute("SELECT envelope FROM facts ORDER BY place")]


def _repair(place: Place) -> Rescue | None:
    with open_broken(place.access, "repair log", place.world) as home:
        return repair_log(home).rescue


@pytest.mark.parametrize("which", ["first", "middle", "newest"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_log_is_repaired_whatever_field_of_a_fact_is_damaged(place: Place, which: str, field: str) -> None:
    with place.open() as home:
        expected = [(entry.id, contents(home, entry)) for entry in home.ledger.history().snapshots]
    envelopes = _envelopes(place)
    number = {"first": 0, "middle": len(envelopes) // 2, "newest": -1}[which]
    damaged = bytearray(_log(place).read_bytes())
    damaged[damaged.index(envelopes[number]) + FIELDS[field]] ^= 0x40
    _log(place).write_bytes(damaged)
    (place.home / "log" / "history").unlink(missing_ok=True)
    rescue = _repair(place)
    assert rescue is not None
    assert rescue.facts in range(len(envelopes))
    assert _log(place).with_name(rescue.aside).read_bytes() == damaged
    with place.open() as home:
        assert [(entry.id, contents(home, entry)) for entry in home.ledger.history().snapshots] == expected
        place.backup(home)


def _write(place: Place, offset: int, value: int) -> None:
    """Change a byte of a fact in the middle as somebody who writes it would, with the hash that fits."""
    with contextlib.closing(sqlite3.connect(_log(place))) as database, database:
        facts = _envelopes(place)
        envelope = facts[len(facts) // 2]
        changed = bytearray(envelope)
        changed[offset] = value
        database.execute("UPDATE facts SET envelope = ?, hash = ? WHERE envelope = ?",
                         (bytes(changed), hash_envelope(bytes(changed)), envelope))  # fmt: skip
    (place.home / "log" / "history").unlink(missing_ok=True)


def test_what_a_newer_farkeep_wrote_is_left_where_it_is(place: Place) -> None:
    """An older program would cut the log off there."""
    _write(place, FIELDS["version"], 2)
    before = _log(place).read_bytes()
    with pytest.raises(RefusedError, match="newer Farkeep"):
        _repair(place)
    assert _log(place).read_bytes() == before
    assert not list(_log(place).parent.glob("*.aside*"))
    with pytest.raises(FarkeepError), place.open() as home:
        home.ledger.history()


def _change_database(place: Place, old: bytes, new: bytes, offset: int) -> bytes:
    data = bytearray(_log(place).read_bytes())
    at = data.index(old) + offset
    data[at : at + len(new)] = new
    _log(place).write_bytes(data)
    return bytes(data)


VERSION, SCHEMA = (b"SQLite format 3", b"\2", 62), (b"value BLOB NOT NULL", b"\xce", 15)


@pytest.mark.parametrize("change", [VERSION, SCHEMA], ids=["its version", "its schema"])
def test_a_log_is_repaired_whatever_the_database_says_of_itself(
    place: Place, change: tuple[bytes, bytes, int]
) -> None:
    with place.open() as home:
        expected = [(entry.id, contents(home, entry)) for entry in home.ledger.history().snapshots]
    damaged = _change_database(place, *change)
    with pytest.raises((DamagedError, RefusedError)):
        place.open()
    rescue = _repair(place)
    assert rescue is not None
    assert _log(place).with_name(rescue.aside).read_bytes() == damaged
    with place.open() as home:
        assert [(entry.id, contents(home, entry)) for entry in home.ledger.history().snapshots] == expected
        place.backup(home)


def test_facts_are_all_kept_when_only_the_version_of_the_database_is_wrong(place: Place) -> None:
    facts = _envelopes(place)
    _change_database(place, *VERSION)
    rescue = _repair(place)
    assert rescue is not None
    assert rescue.facts == len(facts)
    assert _envelopes(place)[: len(facts)] == facts


def test_a_database_of_a_newer_farkeep_with_facts_that_do_not_read_is_left_where_it_is(place: Place) -> None:
    _write(place, FIELDS["version"], 2)
    data = _change_database(place, *VERSION)
    with pytest.raises(RefusedError, match="newer Farkeep"):
        _repair(place)
    assert _log(place).read_bytes() == data
