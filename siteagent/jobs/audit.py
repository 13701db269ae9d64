"""Auditing the event log: chain, signatures and bodies of every fact, the log epochs, and whether it is the newest."""

from __future__ import annotations

from msgspec import Struct, field

from shared.chain import Position
from shared.errors import FarkeepError
from siteagent.home import Home
from siteagent.ledger.high_water import Verdict
from siteagent.ledger.log_check import LogReport, check_log
from siteagent.salvage import require_newest

_VERDICTS = {
    Verdict.FRESH: "the high-water mark beside the home agrees: nothing is missing after it",
    Verdict.UNPROVEN: "no high-water mark of this home proves that this is the newest log",
    Verdict.REWOUND: "the high-water mark beside the home is newer than this log",
    Verdict.DAMAGED: "the newest fact does not read or is not signed",
}


class AuditReport(Struct, frozen=True):
    """What was found. `heads`: the last sound position of each log epoch, the newest last; `first_bad`: sequence of
    the first fact that does not hold; `problems`: what is wrong; `messages`: what else is worth saying."""

    facts: int
    log_epochs: int
    heads: list[Position]
    signer: bytes
    first_bad: int | None
    problems: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """True when the whole log holds and nothing shows that it was put back from an old copy."""
        return not self.problems


def audit_verify(home: Home) -> AuditReport:
    """Check the log from its first fact to its head; damage is in the report, never raised."""
    found = check_log(home.ledger)
    problems = [found.problem] if found.problem else []
    verdict = _VERDICTS[home.ledger.verdict]
    try:
        require_newest(home)
    except FarkeepError as error:
        if found.is_good:
            problems.append(error.message)
    return AuditReport(
        facts=found.facts, log_epochs=found.log_epochs, heads=list(found.heads.values()),
        signer=found.signed.public if found.signed else b"", first_bad=found.first_bad, problems=problems,
        messages=[verdict, *_remarks(home, found)],
    )  # fmt: skip


def _remarks(home: Home, found: LogReport) -> list[str]:
    remarks = []
    if found.signed and found.signed.public != home.keyring.identity.public:
        remarks.append("the newest log epoch was opened by another key than this site's present one")
    if found.erased:
        remarks.append(f"{found.erased} facts were erased; the chain holds without them")
    if found.unreadable:
        remarks.append(f"{found.unreadable} facts cannot be opened with these keys; their chain holds")
    if found.newer:
        remarks.append(f"{found.newer} facts were made by a newer Farkeep; their chain holds")
    remarks.append("a log that was shortened together with its mark is noticed by other holders only")
    return remarks
