"""`farkeep dump`: a part of a snapshot as a tar archive on standard output (holes as zeros)."""

from __future__ import annotations

from argparse import ArgumentParser

from shared.errors import PartialError
from siteagent.cli.cmd_backup_report import say_errors
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.sizes import counted, shown_size
from siteagent.cli.snapspec import find_snapshot, parse_spec
from siteagent.jobs.archive import write_archive
from siteagent.jobs.record import Who


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of dump."""
    parser.add_argument("spec", metavar="SNAP[:PATH]", help="a snapshot, or a folder or file of it")


def run(session: Session) -> int:
    """Write the archive; exit code 3 when files had to be left out."""
    spec, output = parse_spec(session.options.spec), session.output
    sink = output.raw(may_be_terminal=False)
    with session.open_home() as home:
        snapshot = find_snapshot(home.ledger.history(), spec.snap)
        result = write_archive(home, snapshot, spec.path, Who(user_name(), host_name()), sink.write)
        output.flush()
        session.notes(home.notes)
    sink.done()
    output.say(f"{counted(result.members, 'entry', 'entries')}, {shown_size(result.bytes_written)}; holes became zeros")
    if result.errors:
        say_errors(session, result.errors, "left out of the archive")
        raise PartialError(f"the archive lacks {len(result.errors)} files whose content is not in the snapshot",
                           subject=session.options.spec, next_step="look for them in an older snapshot")
    return 0
