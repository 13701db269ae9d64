"""Saving what still holds of a log that does not read to its end, or is gone.

The facts from the first one up to the last signed head before the damage are taken over, byte for byte, into a new
database: chain, signatures and positions stay what they were. The old file is kept under another name
(`log.db.aside-<number>`, with its write-ahead log), never removed. Where nothing can be saved a new log begins.

The old file is set aside first and read there, so a crash between two steps leaves what the next rescue goes on from:
the same file set aside in part (its write-ahead log already renamed) or whole, and a half-made `log.db.rescued`.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from migrations.facts import FACT_UPCASTERS
from shared.chain import Envelope, hash_envelope
from shared.chaincheck import ChainCheck, StoredFact
from shared.clock import Clock
from shared.errors import DamagedError, FarkeepError, HostileError, RefusedError
from shared.keyring import Keyring
from shared.randomness import Randomness
from siteagent.disk.disk import Disk
from siteagent.disk.durable import remove_quietly
from siteagent.disk.local import LocalDisk
from siteagent.ledger.database import LOG_FILE, LedgerDatastore, database_errors, database_uri
from siteagent.ledger.history_cache import CACHE_FILE
from siteagent.ledger.ledger import Ledger
from siteagent.ledger.recorder import ChainRecorder

_NEW_FILE = LOG_FILE + ".rescued"
_ASIDE = re.compile(re.escape(LOG_FILE) + r"\.aside-(\d{1,6})")
_PARTS = ("", "-wal", "-shm")
_FACTS = (
    "SELECT facts.envelope, facts.signature, bodies.body, facts.hash FROM facts"
    " LEFT JOIN bodies ON bodies.place = facts.place ORDER BY facts.place"
)
_INSERT = (
    "INSERT INTO facts (log_epoch, sequence, hash, aggregate, aggregate_version, envelope, signature)"
    " VALUES ((SELECT number FROM log_epochs WHERE id = ?), ?, ?, ?, ?, ?, ?)"
)


class Rescue(Struct, frozen=True):
    """What was done: `aside` is the name of the old file (empty: there was none), `facts` how many were taken over."""

    aside: str
    facts: int


def rescue_log(folder: str, keyring: Keyring, clock: Clock, randomness: Randomness, *, site_name: str,
               disk: Disk | None = None) -> Rescue:
    """Put a sound log in the place of one that is missing or damaged; nobody else may have it open.

    `site_name` is for a log that has to begin anew. Raises RefusedError, and moves nothing, when it is another site's
    log or holds facts of a newer Farkeep.
    """
    files = disk or LocalDisk(folder)
    for part in _PARTS:
        remove_quietly(files, _NEW_FILE + part)
    aside = ""
    if files.size(LOG_FILE) is not None:
        _require_own(os.path.join(folder, LOG_FILE), keyring.site_id)
        aside = _set_aside(files)
    remove_quietly(files, CACHE_FILE)
    source = _newest_aside(files)
    facts = _copy(os.path.join(folder, source), os.path.join(folder, _NEW_FILE), keyring, randomness) if source else 0
    if facts:
        files.rename(_NEW_FILE, LOG_FILE)
        files.sync_folder("")
    else:
        for part in _PARTS:
            remove_quietly(files, _NEW_FILE + part)
        Ledger.create(folder, keyring, clock, randomness, site_name=site_name, disk=disk).close()
    return Rescue(aside, facts)


def _require_own(path: str, site: bytes) -> None:
    """Leave another site's log where it is, and one that a newer Farkeep wrote.

    Only a fact that has the hash it was recorded with can say so: damage too may look like another site or version.
    """
    check = ChainCheck(upcasters=FACT_UPCASTERS)
    for stored, recorded_hash in _readable_facts(path):
        if hash_envelope(stored.envelope) != recorded_hash:
            return
        try:
            envelope = check.take(stored)
        except (DamagedError, HostileError):
            return
        if envelope.site != site:
            raise RefusedError("this is the log of another site", subject=path,
                               next_step="give the key file and keyring that belong to this home")


def is_whole(folder: str, site: bytes) -> bool:
    """True when every fact of a log holds up to a signed last one, whatever the database says of its own version."""
    path = os.path.join(folder, LOG_FILE)
    check, count = ChainCheck(upcasters=FACT_UPCASTERS), 0
    for stored, _ in _readable_facts(path):
        try:
            is_own = check.take(stored).site == site
        except FarkeepError:
            return False
        if not is_own:
            return False
        count += 1
    is_signed = check.signed is not None and check.signed.position == check.head
    return is_signed and [(count,)] == list(_rows(path, "SELECT count(*) FROM facts"))


def _newest_aside(files: Disk) -> str:
    numbers = [int(found[1]) for name in files.list("") if (found := _ASIDE.fullmatch(name))]
    return f"{LOG_FILE}.aside-{max(numbers)}" if numbers else ""


def _set_aside(files: Disk) -> str:
    last = _newest_aside(files)
    number = int(last.rpartition("-")[2]) + 1 if last else 1
    aside = f"{LOG_FILE}.aside-{number}"
    # The database last: a write-ahead log left behind would be taken for that of the new database.
    for part in reversed(_PARTS):
        if files.size(LOG_FILE + part) is not None:
            files.rename(LOG_FILE + part, aside + part)
    files.sync_folder("")
    return aside


def _copy(source: str, target: str, keyring: Keyring, randomness: Randomness) -> int:
    """Take the sound facts of one database into a new one; returns how many."""
    datastore = LedgerDatastore(target, can_create=True)
    try:
        ChainRecorder(datastore, keyring.site_id, keyring.identity).prepare_tables()
        with database_errors(target), datastore.transaction(commit=True) as cursor:
            cursor.execute("REPLACE INTO settings VALUES ('cache salt', ?)", (randomness.bits(32),))
            count = 0
            for stored, envelope, opener in _sound_facts(source, keyring.site_id):
                _insert(cursor, stored, envelope, opener)
                count += 1
    finally:
        datastore.close_cleanly()
    return count


def _insert(cursor: Any, stored: StoredFact, envelope: Envelope, opener: bytes) -> None:
    position = envelope.position(hash_envelope(stored.envelope))
    if envelope.is_opening:
        cursor.execute("INSERT INTO log_epochs (id, opener) VALUES (?, ?)", (position.log_epoch, opener))
    cursor.execute(_INSERT, (position.log_epoch, position.sequence, position.hash, envelope.aggregate_id,
                             envelope.aggregate_version, stored.envelope, stored.signature))  # fmt: skip
    if stored.body is not None:
        cursor.execute("INSERT INTO bodies VALUES (?, ?)", (cursor.lastrowid, stored.body))


def _sound_facts(path: str, site: bytes) -> Iterator[tuple[StoredFact, Envelope, bytes]]:
    """(fact, its envelope, opener of its log epoch) from the first up to the last signed head before any damage."""
    check = ChainCheck(upcasters=FACT_UPCASTERS)
    waiting: list[tuple[StoredFact, Envelope, bytes]] = []
    for stored, _ in _readable_facts(path):
        try:
            envelope = check.take(stored)
        except FarkeepError:
            return
        if envelope.site != site:
            return
        head = check.head
        waiting.append((stored, envelope, check.openers[head.log_epoch] if head else b""))
        if stored.signature:
            yield from waiting
            waiting.clear()


def _readable_facts(path: str) -> Iterator[tuple[StoredFact, bytes]]:
    """The facts of a database up to the first that does not read, each with the hash it was recorded with."""
    for envelope, signature, body, recorded_hash in _rows(path, _FACTS):
        if not isinstance(envelope, bytes) or not isinstance(signature, bytes):
            return
        if body is not None and not isinstance(body, bytes):
            return
        yield StoredFact(envelope, body, signature), recorded_hash


def _rows(path: str, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query up to the first that does not read; the database is not changed."""
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
        uri = database_uri(path, can_create=False).replace("mode=rw", "mode=ro")
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            yield from connection.execute(query)
