"""`farkeep restore`: bring files back into a folder, touching only what differs."""

from __future__ import annotations

import os
from argparse import ArgumentParser

from shared.errors import DamagedError, HostileError, PartialError, UsageError
from siteagent.cli.cmd_backup_report import say_errors
from siteagent.cli.output import Json, name_fields, plain
from siteagent.cli.progress import Progress, Sample
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.sizes import counted, shown_count, shown_duration, shown_size
from siteagent.cli.snapspec import SnapSpec, find_snapshot, parse_spec
from siteagent.home import Home
from siteagent.jobs.restore import RestoreRequest, RestoreResult, restore
from siteagent.restore.restorer import Restorer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from siteagent.sources.selection import PatternSelection


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of restore."""
    add = parser.add_argument
    add("specs", nargs="+", metavar="SNAP[:PATH]", help="a snapshot, or a folder or file of it; may be repeated")
    add("--to", metavar="DIR", required=True, help="a folder's contents, or the file, land here")
    add("--include", action="append", default=[], metavar="P", help="restore only what matches, as in .gitignore")
    add("--exclude", action="append", default=[], metavar="P", help="leave alone what matches")
    add("--delete", action="store_true", help="remove from DIR what the snapshot does not have")
    add("--delete-unmarked", action="store_true", help="also in a folder that no restore has marked before")
    add("--dry-run", action="store_true", help="say what would be done, touch nothing")
    add("--strict", action="store_true", help="exit code 3 when owners, devices or attributes could not be applied")


def run(session: Session) -> int:
    """Restore. JSON: {files, written, unchanged, deleted, bytes_written, not_applied, errors, seconds}."""
    options, output = session.options, session.output
    specs = [parse_spec(spec) for spec in options.specs]
    if options.delete_unmarked and not options.delete:
        raise UsageError("--delete-unmarked belongs to --delete", subject="farkeep restore", next_step="add --delete")
    if options.delete and len(specs) > 1:
        raise UsageError("--delete takes one SNAP[:PATH]: a second one would remove what the first one brought",
                         subject="farkeep restore", next_step="restore them one by one, into folders of their own")
    with session.open_home() as home:
        requests = [_request(session, home, spec) for spec in specs]
        expected = _expected_bytes(requests)
        with Progress(output.stderr, "restore", is_wanted=output.wants_progress and not options.dry_run) as progress:

            def watch(restorer: Restorer) -> None:
                answer = restorer.total.answer
                progress.watch(lambda: Sample(answer.bytes_written, answer.files, expected))

            result = restore(home, requests, watch)
    return _report(session, result)


def _request(session: Session, home: Home, spec: SnapSpec) -> RestoreRequest:
    options, path = session.options, spec.path or b"/"
    return RestoreRequest(
        snapshot=find_snapshot(home.ledger.history(), spec.snap), path=path, target=os.path.abspath(options.to),
        user=user_name(), host=host_name(), selection=_selection(session, path), deletes=options.delete,
        deletes_unmarked=options.delete_unmarked, is_dry_run=options.dry_run,
    )  # fmt: skip


def _selection(session: Session, path: bytes) -> PatternSelection | None:
    options = session.options
    if not (options.include or options.exclude):
        return None
    from siteagent.sources.selection import PatternSelection, Wanted

    return PatternSelection(Wanted(excludes=tuple(options.exclude), includes=tuple(options.include)), [path])


def _expected_bytes(requests: list[RestoreRequest]) -> int:
    """How much there is to restore, where that is known without looking: whole snapshots without a selection."""
    if any(request.path != b"/" or request.selection is not None for request in requests):
        return 0
    return sum(request.snapshot.summary.bytes_seen for request in requests if request.snapshot.summary is not None)


def _report(session: Session, result: RestoreResult) -> int:
    answer, output, errors = result.answer, session.output, result.errors
    rows: list[Json] = [{**name_fields("path", error.path), "reason": plain(error.reason)} for error in errors]
    output.document({
        "files": answer.files, "written": answer.written, "unchanged": answer.unchanged, "deleted": result.deleted,
        "bytes_written": answer.bytes_written, "not_applied": answer.not_applied, "errors": rows,
        "seconds": round(result.seconds, 3),
    })  # fmt: skip
    would = "would be " if session.options.dry_run else ""
    output.say(f"{counted(answer.files, 'file')}: {counted(answer.written, 'entry', 'entries')} {would}written "
               f"({shown_size(answer.bytes_written)}), {shown_count(answer.unchanged)} unchanged, "
               f"{shown_count(result.deleted)} {would}deleted, {shown_duration(result.seconds)}")
    output.detail(f"  {shown_size(answer.bytes_written / max(result.seconds, 1e-3))}/s written")
    if answer.not_applied:
        output.warn(f"note: {answer.not_applied} properties could not be applied by this user or on this file system: "
                    f"{', '.join(answer.reasons)}")
    session.notes(result.notes)
    say_errors(session, errors, "could not be restored")
    codes = [0]
    codes += [PartialError.exit_code] * bool(errors or (session.options.strict and answer.not_applied))
    codes += [DamagedError.exit_code] * bool(answer.damaged) + [HostileError.exit_code] * bool(answer.hostile)
    return max(codes)
