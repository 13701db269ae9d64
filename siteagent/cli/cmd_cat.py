"""`farkeep cat`: the content of one file, as it was, on standard output; `--json` then only shapes errors."""

from __future__ import annotations

from argparse import ArgumentParser

from shared.errors import UsageError
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.snapspec import find_snapshot, parse_spec
from siteagent.jobs.content import copy_file
from siteagent.jobs.record import Who


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of cat."""
    parser.add_argument("spec", metavar="SNAP:PATH", help="a file of a snapshot")


def run(session: Session) -> int:
    """Write the content."""
    spec = parse_spec(session.options.spec)
    if spec.path is None:
        raise UsageError("no file is named", subject=session.options.spec, next_step="write SNAP:/path/of/the/file")
    sink = session.output.raw(may_be_terminal=True)
    with session.open_home() as home:
        snapshot = find_snapshot(home.ledger.history(), spec.snap)
        copy_file(home, snapshot, spec.path, Who(user_name(), host_name()), sink.write)
        session.output.flush()
        session.notes(home.notes)
    sink.done()
    return 0
