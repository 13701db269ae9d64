"""The check of a whole log, for `audit verify`: chain, bodies, signatures, seals, log epochs, and the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct, field

from migrations.facts import FACT_UPCASTERS
from shared.chain import Position, SignedHead
from shared.chaincheck import ChainCheck, StoredFact
from shared.errors import DamagedError, FarkeepError
from shared.facts import SubjectErased
from siteagent.ledger.ledger import Ledger
from siteagent.ledger.lookup import PAGE_FACTS, LogTables
from siteagent.ledger.reading import Mark
from siteagent.ledger.stored import ChainedFact

_ROWS = (
    "SELECT facts.place, log_epochs.id, facts.sequence, facts.hash, facts.aggregate, facts.aggregate_version,"
    " facts.envelope, facts.signature, bodies.body FROM facts"
    " LEFT JOIN log_epochs ON log_epochs.number = facts.log_epoch LEFT JOIN bodies ON bodies.place = facts.place"
    " WHERE facts.place > ? ORDER BY facts.place LIMIT ?"
)


_VERIFY = "fetch the log again from a partner or an older copy, then run `farkeep repair log`"


class LogReport(Struct):
    """What was found. `problem` says in words what does not hold, `first_bad` is the sequence of the first bad fact.

    `heads` are the last sound positions by log epoch, in order. `signed` is the newest head whose signature was
    checked, `erased` counts destroyed and `unreadable` sealed bodies whose key this keyring lacks, `newer` facts made
    by a newer Farkeep (their chain is checked, not their meaning).
    """

    facts: int = 0
    log_epochs: int = 0
    erased: int = 0
    unreadable: int = 0
    newer: int = 0
    heads: dict[bytes, Position] = field(default_factory=dict)
    signed: SignedHead | None = None
    first_bad: int | None = None
    problem: str = ""

    @property
    def is_good(self) -> bool:
        """Say whether the whole log holds."""
        return not self.problem


def check_log(ledger: Ledger) -> LogReport:
    """Check every fact of a log, stopping at the first that does not hold; then the database itself."""
    check = _LogCheck(ledger)
    report = check.report
    try:
        check.run()
        if not report.problem:
            require_consistent(ledger)
    except FarkeepError as error:
        report.problem = str(error)
    return report


class _LogCheck:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._chain = ChainCheck(upcasters=FACT_UPCASTERS)
        self._destroyed: dict[bytes, int] = {}
        self.report = LogReport()

    def run(self) -> None:
        report, chain = self.report, self._chain
        for row in _rows(self._ledger.recorder.tables):
            report.first_bad = chain.head.sequence + 1 if chain.head else 1
            try:
                self._check_fact(row)
            except FarkeepError as error:
                report.problem = str(error)
                return
            report.facts += 1
        report.first_bad = None
        report.signed = chain.signed
        if self._destroyed:
            report.first_bad = min(self._destroyed.values())
            report.problem = "a body was destroyed that no recorded erasure explains"
        elif chain.head is None or chain.signed is None or chain.signed.position != chain.head:
            report.first_bad = chain.signed.position.sequence + 1 if chain.signed else 1
            report.problem = "the newest facts are not signed"

    def _check_fact(self, row: Sequence[Any]) -> None:
        place, epoch_id, sequence, fact_hash, aggregate, aggregate_version, encoded, signature, body = row
        if not isinstance(encoded, bytes) or not isinstance(signature, bytes) or not isinstance(body or b"", bytes):
            raise _damaged("a row of the log has values of the wrong type")
        stored = StoredFact(encoded, body, signature)
        envelope = self._chain.take(stored)
        found = (epoch_id, sequence, fact_hash, aggregate, aggregate_version)
        head = self._chain.head
        if head is None or found != (
            head.log_epoch, head.sequence, head.hash, envelope.aggregate_id, envelope.aggregate_version
        ):  # fmt: skip
            raise _damaged("a row of the log contradicts the envelope it holds")
        self.report.heads[head.log_epoch] = head
        self.report.log_epochs += envelope.is_opening
        recorded = self._ledger.read(ChainedFact(place, envelope, head, stored))
        self.report.newer += recorded.clear is Mark.NEWER
        self.report.unreadable += recorded.sealed is Mark.UNREADABLE
        self.report.erased += recorded.sealed is Mark.ERASED
        if body is None:
            self._destroyed.setdefault(envelope.subject, envelope.sequence)
        if isinstance(recorded.clear, SubjectErased):
            self._destroyed.pop(recorded.clear.pseudonym, None)


def _rows(tables: LogTables) -> Iterator[Sequence[Any]]:
    place = 0
    while rows := tables.rows(_ROWS, (place, PAGE_FACTS)):
        yield from rows
        place = rows[-1][0]


def require_consistent(ledger: Ledger) -> None:
    """Raise DamagedError when the database contradicts itself, though every fact may read."""
    row = ledger.recorder.tables.row("PRAGMA integrity_check(1)")
    if row is None or row[0] != "ok":
        raise DamagedError(f"the database of the log is inconsistent: {row[0] if row else 'no answer'}",
                           subject=ledger.path, next_step="run `farkeep audit verify`, then `farkeep repair log`")


def _damaged(message: str) -> DamagedError:
    return DamagedError(message, next_step=_VERIFY)
