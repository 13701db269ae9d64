"""The library's SQLite recorder, with the chain.

Sequence, previous hash and signature are assigned inside the transaction that stores a fact, after looking at the
newest fact in that same transaction. The tables are those of `database`. Notification ids of the library are places in
this file; positions are made of log epoch, sequence and hash, and are what leaves this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteCursor

from shared.bodies import split_body
from shared.chain import (
    NO_DIGEST,
    OPENING_KIND,
    Envelope,
    Position,
    SignedHead,
    Signer,
    decode_envelope,
    hash_envelope,
    sign_head,
)
from shared.errors import BugError, DamagedError, ExhaustedError, RefusedError, UnavailableError
from shared.factkinds import find_kind
from shared.facts import LogOpened
from shared.sealing import digest
from siteagent.ledger.database import TABLES, LedgerDatastore, check_version, database_errors
from siteagent.ledger.lookup import LogTables
from siteagent.ledger.stored import FactNotification, PreparedFact, notification_of

_NEWEST = (
    "SELECT log_epochs.id, facts.sequence, facts.hash FROM facts"
    " JOIN log_epochs ON log_epochs.number = facts.log_epoch ORDER BY facts.place DESC LIMIT 1"
)
_INSERT = (
    "INSERT INTO facts (log_epoch, sequence, hash, aggregate, aggregate_version, envelope, signature)"
    " VALUES ((SELECT number FROM log_epochs WHERE id = ?), ?, ?, ?, ?, ?, x'')"
)


class Destruction(msgspec.Struct, frozen=True):
    """What to destroy in the same transaction: the bodies at these places; the cache gets a new salt."""

    places: tuple[int, ...]
    cache_salt: bytes


class ChainRecorder(SQLiteApplicationRecorder):
    """Appends facts to the chain of one site and reads them back. One writer at a time.

    `head` is the newest signed head, `tables` answers questions, `has_failed` says that nothing more is appended.
    `make_room` is called when the disk is full; what it returns says whether there is room now.
    """

    def __init__(self, datastore: LedgerDatastore, site: bytes, signer: Signer) -> None:
        super().__init__(datastore)
        self.tables = LogTables(datastore, site)
        self.signer = signer
        self.has_failed = False
        self.head: SignedHead | None = None
        self.make_room: Callable[[], bool] = lambda: False
        self._site = site
        self._log = datastore
        self._path = datastore.path

    def construct_create_table_statements(self) -> list[str]:
        """The tables of a log."""
        return list(TABLES)

    def prepare_tables(self) -> None:
        """Make the tables that are missing."""
        with database_errors(self._path):
            self.create_table()

    def load_head(self) -> bool:
        """Find the newest fact; says whether its envelope fits its hash and its signature is the opener's.

        Raises RefusedError for another site's log or one of a newer Farkeep, DamagedError for a database that is no log
        or an empty one.
        """
        (application_id,), (user_version,) = (
            self.tables.rows(f"PRAGMA {name}")[0] for name in ("application_id", "user_version")
        )
        check_version(application_id, user_version, self._path)
        newest = self.tables.newest()
        if newest is None:
            raise DamagedError("the log holds no facts", subject=self._path,
                               next_step="put log.db back from a copy of the home, or run `farkeep repair log`")
        log_epoch, opener, sequence, fact_hash, encoded, signature = newest
        self.head = SignedHead(Position(self._site, log_epoch, sequence, fact_hash), opener, signature)
        if hash_envelope(encoded) != fact_hash:
            return False
        try:
            envelope = decode_envelope(encoded)
        except DamagedError:
            return False
        if envelope.site != self._site:
            raise RefusedError("this is the log of another site", subject=self._path,
                               next_step="give the key file and keyring that belong to this home")
        return envelope.position(fact_hash) == self.head.position and self.head.is_signed()

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Append facts in one transaction, synced when this returns; their places.

        After any failure of the database nothing more is appended: what SQLite then holds is known only after a reopen.
        A full disk is the exception, if room can be made: the database was opened again, and the second try looks at
        its newest fact like the first.
        """
        if self.has_failed:
            raise UnavailableError("an append to the log failed before: nothing more is recorded", subject=self._path,
                                   next_step="run the command again, after looking into the first failure")
        destruction: Destruction | None = kwargs.get("destruction")
        try:
            return self._insert(stored_events, destruction)
        except ExhaustedError:
            if not self.make_room():
                raise
        self.has_failed = False
        return self._insert(stored_events, destruction)

    def _insert(self, stored_events: Sequence[StoredEvent], destruction: Destruction | None) -> list[int]:
        with database_errors(self._path):
            try:
                with self.datastore.transaction(commit=True) as cursor:
                    places, head = self._append(cursor, stored_events, destruction)
            except (BugError, IntegrityError):
                raise
            except BaseException:
                self.has_failed = True
                self._log.reset()
                raise
        self.head = head
        return places

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The facts of one aggregate, in order."""
        facts = self.tables.of_aggregate(_id_bytes(originator_id), gt, lte, is_newest_first=desc, limit=limit)
        return [notification_of(fact) for fact in facts]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[FactNotification]:
        """Up to `limit` facts from place `start` to place `stop`, in order (`topics` select afterwards)."""
        after = 0 if start is None else start - inclusive_of_start
        facts = self.tables.after_place(after, stop, limit)
        return [notification_of(fact) for fact in facts if not topics or fact.envelope.kind in topics]

    def max_notification_id(self) -> int:
        """The place of the newest fact, 0 in an empty log."""
        row = self.tables.row("SELECT MAX(place) FROM facts")
        return int(row[0] or 0) if row else 0

    def _append(
        self, cursor: SQLiteCursor, stored_events: Sequence[StoredEvent], destruction: Destruction | None
    ) -> tuple[list[int], SignedHead]:
        head = self._newest(cursor)
        if head != (self.head.position if self.head else None):
            raise UnavailableError("another program has written to the log", subject=self._path,
                                   next_step="run the command again; only one program may own a home")
        places = []
        for event in stored_events:
            if not isinstance(event, PreparedFact):
                raise BugError("only prepared facts are recorded", subject=event.topic, next_step="report this")
            place, head = self._insert_fact(cursor, event, head)
            places.append(place)
        if head is None:
            raise BugError("an append without facts", subject=self._path, next_step="report this")
        signed = sign_head(head, self.signer)
        cursor.execute("UPDATE facts SET signature = ? WHERE place = ?", (signed.signature, places[-1]))
        if destruction is not None:
            cursor.executemany("DELETE FROM bodies WHERE place = ?", [(place,) for place in destruction.places])
            cursor.execute("REPLACE INTO settings VALUES ('cache salt', ?)", (destruction.cache_salt,))
        return places, signed

    def _insert_fact(self, cursor: SQLiteCursor, fact: PreparedFact, head: Position | None) -> tuple[int, Position]:
        envelope = self._envelope(fact, head)
        encoded = envelope.encode()
        position = envelope.position(hash_envelope(encoded))
        if envelope.is_opening:
            self._insert_log_epoch(cursor, fact, position, head)
        values = (position.log_epoch, position.sequence, position.hash, envelope.aggregate_id,
                  envelope.aggregate_version, encoded)  # fmt: skip
        cursor.execute(_INSERT, values)
        place = int(cursor.lastrowid)
        cursor.execute("INSERT INTO bodies VALUES (?, ?)", (place, fact.state))
        return place, position

    def _envelope(self, fact: PreparedFact, head: Position | None) -> Envelope:
        return Envelope(
            site=self._site,
            log_epoch=head.log_epoch if head and fact.topic != OPENING_KIND else NO_DIGEST,
            sequence=head.sequence + 1 if head else 1,
            previous_hash=head.hash if head else NO_DIGEST,
            coarse_s=fact.coarse_s,
            fact_id=fact.fact_id,
            subject=fact.subject,
            aggregate_id=_id_bytes(fact.originator_id),
            aggregate_version=fact.originator_version,
            body_digest=digest(fact.state),
            body_size_bytes=len(fact.state),
            kind_version=fact.kind_version,
            kind=fact.topic,
        )

    def _insert_log_epoch(
        self, cursor: SQLiteCursor, fact: PreparedFact, position: Position, head: Position | None
    ) -> None:
        opened = find_kind(fact.topic, fact.kind_version).decode_clear(split_body(fact.state, fact.topic).clear)
        if not isinstance(opened, LogOpened) or opened.parent != head:
            raise UnavailableError("the log has grown since this log epoch was prepared", subject=self._path,
                                   next_step="run the command again")
        cursor.execute("INSERT INTO log_epochs (id, opener) VALUES (?, ?)", (position.log_epoch, opened.opener))

    def _newest(self, cursor: SQLiteCursor) -> Position | None:
        cursor.execute(_NEWEST)
        row = cursor.fetchone()
        return Position(self._site, bytes(row[0]), row[1], bytes(row[2])) if row else None


def _id_bytes(originator_id: UUID | str) -> bytes:
    if isinstance(originator_id, UUID):
        return originator_id.bytes
    raise BugError("aggregates of the log have ids of 16 bytes", subject=originator_id, next_step="report this")
