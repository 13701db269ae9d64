"""Questions to the tables of a log: facts by place, by aggregate and by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from shared.chain import Position, decode_envelope
from shared.chaincheck import StoredFact
from shared.errors import DamagedError, RefusedError
from siteagent.ledger.database import LedgerDatastore, database_errors
from siteagent.ledger.stored import ChainedFact

PAGE_FACTS = 500

_FACTS = (
    "SELECT facts.place, log_epochs.id, facts.hash, facts.envelope, facts.signature, bodies.body FROM facts"
    " JOIN log_epochs ON log_epochs.number = facts.log_epoch LEFT JOIN bodies ON bodies.place = facts.place"
)
_AT = "FROM facts WHERE sequence = ? AND log_epoch = (SELECT number FROM log_epochs WHERE id = ?)"
_NEWEST = (
    "SELECT log_epochs.id, log_epochs.opener, facts.sequence, facts.hash, facts.envelope, facts.signature FROM facts"
    " JOIN log_epochs ON log_epochs.number = facts.log_epoch ORDER BY facts.place DESC LIMIT 1"
)


class LogTables:
    """Reads the tables of one log. Raises the typed errors of `database_errors`."""

    def __init__(self, datastore: LedgerDatastore, site: bytes) -> None:
        self._datastore = datastore
        self._site = site
        self.path = datastore.path

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with database_errors(self.path), self._datastore.transaction(commit=False) as cursor:
            cursor.execute(statement, values)
            return [tuple(row) for row in cursor.fetchall()]

    def row(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query."""
        rows = self.rows(statement, values)
        return rows[0] if rows else None

    def newest(self) -> tuple[Any, ...] | None:
        """Log epoch, opener, sequence, hash, envelope and signature of the newest fact; None in an empty log."""
        return self.row(_NEWEST)

    def of_aggregate(
        self, aggregate: bytes, after: int | None, until: int | None, *, is_newest_first: bool, limit: int | None
    ) -> list[ChainedFact]:
        """The facts of one aggregate after one version up to another."""
        order = "DESC" if is_newest_first else "ASC"
        statement = (
            f"{_FACTS} WHERE facts.aggregate = ? AND facts.aggregate_version > ? AND facts.aggregate_version <= ?"
            f" ORDER BY facts.aggregate_version {order} LIMIT ?"
        )
        last = 2**62 if until is None else until
        return self._facts(statement, (aggregate, after or 0, last, -1 if limit is None else limit))

    def after_place(self, place: int, until: int | None, limit: int) -> list[ChainedFact]:
        """Up to `limit` facts after one place up to another, in order."""
        statement = f"{_FACTS} WHERE facts.place > ? AND facts.place <= ? ORDER BY facts.place LIMIT ?"
        return self._facts(statement, (place, 2**62 if until is None else until, limit))

    def pages(self, place: int, until: int | None) -> Iterator[ChainedFact]:
        """All facts after one place up to another, read in pages."""
        while page := self.after_place(place, until, PAGE_FACTS):
            yield from page
            place = page[-1].place

    def places_of(self, aggregate: UUID, kind: str) -> tuple[int, ...]:
        """The places of the facts of one kind about one aggregate."""
        facts = self.of_aggregate(aggregate.bytes, None, None, is_newest_first=False, limit=None)
        return tuple(fact.place for fact in facts if fact.envelope.kind == kind)

    def place_of(self, position: Position) -> int | None:
        """The place of a fact in this file, or None when this log does not hold exactly it."""
        row = self.row(f"SELECT place, hash {_AT}", (position.sequence, position.log_epoch))
        return int(row[0]) if row and row[1] == position.hash and position.site == self._site else None

    def require_place(self, position: Position) -> int:
        """Like `place_of`; raises RefusedError instead of None."""
        place = self.place_of(position)
        if place is None:
            raise RefusedError("this log does not contain that position", subject=position.text(),
                               next_step="copy a position from `farkeep events`")
        return place

    def position_at(self, log_epoch: bytes, sequence: int) -> Position | None:
        """The position with this sequence in a log epoch."""
        row = self.row(f"SELECT hash {_AT}", (sequence, log_epoch))
        return Position(self._site, log_epoch, sequence, bytes(row[0])) if row else None

    def cache_salt(self) -> bytes:
        """What is mixed into the key of the history cache; replaced when a subject is erased."""
        row = self.row("SELECT value FROM settings WHERE name = 'cache salt'")
        return bytes(row[0]) if row else b""

    def _facts(self, statement: str, values: Sequence[Any]) -> list[ChainedFact]:
        return [self._fact(*row) for row in self.rows(statement, values)]

    def _fact(
        self, place: int, log_epoch: bytes, fact_hash: bytes, encoded: bytes, signature: bytes, body: bytes | None
    ) -> ChainedFact:
        if not all(isinstance(value, bytes) for value in (log_epoch, fact_hash, encoded, signature, body or b"")):
            raise DamagedError("a row of the log has values of the wrong type", subject=self.path,
                               next_step="run `farkeep audit verify`; fetch the log again from another holder")
        envelope = decode_envelope(encoded)
        position = Position(envelope.site, log_epoch, envelope.sequence, fact_hash)
        return ChainedFact(place, envelope, position, StoredFact(encoded, body, signature))
