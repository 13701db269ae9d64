"""`farkeep audit verify`: chain, signatures and bodies of the event log."""

from __future__ import annotations

from argparse import ArgumentParser

from shared.errors import DamagedError
from siteagent.cli.output import plain
from siteagent.cli.session import Session
from siteagent.cli.sizes import shown_count
from siteagent.jobs.audit import audit_verify


def add_options(parser: ArgumentParser, _: str) -> None:
    """No options of its own."""
    del parser


def run(session: Session) -> int:
    """Check the log; exit code 4 when it does not hold.

    JSON: {is_good, facts, log_epochs, heads, signer, first_bad, problems, messages}.
    """
    with session.open_home() as home:
        report = audit_verify(home)
    output, heads = session.output, [position.text() for position in report.heads]
    output.document({
        "is_good": report.is_good, "facts": report.facts, "log_epochs": report.log_epochs, "heads": heads,
        "signer": report.signer.hex() or None, "first_bad": report.first_bad,
        "problems": list(map(plain, report.problems)), "messages": list(map(plain, report.messages)),
    })  # fmt: skip
    state = "the log holds" if report.is_good else "the log does NOT hold"
    head = heads[-1] if heads else "none"
    output.say(f"{state}: {shown_count(report.facts)} facts in {report.log_epochs} log epochs, head {head}")
    for problem in report.problems:
        output.warn(f"  {problem}")
    for message in report.messages:
        output.say(f"  {message}")
    return 0 if report.is_good else DamagedError.exit_code
