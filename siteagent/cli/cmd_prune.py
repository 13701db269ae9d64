"""`farkeep prune`: give forgotten snapshots up for ever and free the space that nothing needs any more."""

from __future__ import annotations

from argparse import ArgumentParser

from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.output import plain
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.sizes import counted, parse_size, shown_duration, shown_size
from siteagent.jobs.prune import BUDGET_BYTES, PruneReport, PruneRequest, prune
from siteagent.jobs.record import Who


def add_options(parser: ArgumentParser, _: str) -> None:
    """Options of `prune`."""
    parser.add_argument("--now", action="store_true", help="do not wait until forgotten snapshots are due")
    parser.add_argument("--dry-run", action="store_true", help="say what could be freed; change nothing")
    parser.add_argument("--budget", metavar="BYTES", help="write again at most this much, e.g. 10G (default: 4G)")


def run(session: Session) -> int:
    """JSON: {snapshots, bytes_freed, bytes_rewritten, bytes_held_by_deltas, packs: {deleted, punched, repacked},
    segments: {swept, superseded}, waiting, next_due, dry_run, notes, seconds}; sizes in bytes, `snapshots` and
    `waiting` (forgotten, and not due before `next_due`) are ids."""
    options = session.options
    budget_bytes = parse_size(options.budget) if options.budget is not None else BUDGET_BYTES
    request = PruneRequest(Who(user_name(), host_name()), options.now, options.dry_run, budget_bytes)
    with session.open_home() as home:
        report = prune(home, request)
    session.output.document({
        "snapshots": [snapshot.hex() for snapshot in report.snapshots], "bytes_freed": report.bytes_freed,
        "bytes_rewritten": report.bytes_rewritten, "bytes_held_by_deltas": report.bytes_held_by_deltas,
        "packs": {"deleted": report.packs_deleted, "punched": report.packs_punched,
                  "repacked": report.packs_repacked},
        "segments": {"swept": report.segments_swept, "superseded": report.segments_superseded},
        "waiting": [snapshot.hex() for snapshot in report.waiting],
        "next_due": rfc3339(report.next_due_ns) if report.waiting else None,
        "dry_run": options.dry_run, "notes": list(map(plain, report.notes)), "seconds": round(report.seconds, 3),
    })  # fmt: skip
    _say(session, report)
    if report.waiting:
        session.output.say(f"  {counted(len(report.waiting), 'forgotten snapshot')} waiting, at least until "
                           f"{local_time(report.next_due_ns)}; `farkeep prune --now` does not wait")  # fmt: skip
    session.notes(report.notes)
    return 0


def _say(session: Session, report: PruneReport) -> None:
    say = session.output.say
    if session.options.dry_run:
        say(f"{counted(len(report.snapshots), 'snapshot')} would be given up, about {shown_size(report.bytes_freed)} "
            f"freed and {shown_size(report.bytes_rewritten)} written again")
        return
    say(f"{counted(len(report.snapshots), 'snapshot')} given up, {shown_size(report.bytes_freed)} freed, "
        f"{shown_size(report.bytes_rewritten)} written again, {shown_duration(report.seconds)}")
    say(f"  packs: {report.packs_deleted} deleted, {report.packs_punched} punched, {report.packs_repacked} repacked")
    if report.bytes_held_by_deltas:
        say(f"  {shown_size(report.bytes_held_by_deltas)} stay only because deltas rest on them")
