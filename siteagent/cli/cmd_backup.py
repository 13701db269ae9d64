"""`farkeep backup`: take a snapshot of files and folders, or of the output of a command."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from shared.errors import RefusedError, UsageError
from shared.names import check_name, default_name
from shared.sealing import derive, keyed_id
from siteagent.capture.capture import Capture, CaptureOptions
from siteagent.cli.cmd_backup_report import report, report_preview
from siteagent.cli.progress import Progress, Sample
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.sizes import parse_share, parse_size
from siteagent.cli.tags import check_tag
from siteagent.home import Home
from siteagent.jobs.backup import BackupRequest, BackupResult, back_up
from siteagent.sources.base import SourceError, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from siteagent.sources.selection import PatternSelection

_DAY_NS = 86_400 * 10**9
_PATHS_MAX_BYTES = 1 << 16


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of backup."""
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="what to back up; a folder with all below it")
    add("--name", help="the series this snapshot belongs to (default: the site's name and the paths)")
    add("--tag", action="append", default=[], metavar="T", help="a word to find it by; may be repeated")
    add("--exclude", action="append", default=[], metavar="P", help="leave out what matches, as in .gitignore")
    add("--exclude-from", action="append", default=[], metavar="FILE", help="patterns from a file, one per line")
    add("--exclude-larger-than", metavar="SIZE", help="leave out files above this size (10M, 2G)")
    add("--exclude-caches", action="store_true", help="leave out folders marked by a CACHEDIR.TAG")
    add("-x", "--one-file-system", action="store_true", help="do not enter other file systems below a PATH")
    add("--files-from0", metavar="FILE", help="more PATHs from a file (- : standard input), each ended by NUL")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--rehash", action="store_true", help="read every file again, also unchanged ones")
    again.add_argument("--recheck", metavar="1/30", help="read this share of unchanged files again, another each day")
    add("--dry-run", action="store_true", help="compare only: read no content, write nothing")
    add("--stdin-from-command", metavar="CMD", help="back up the output of CMD, run by /bin/sh -c, if it ends with 0")
    add("--stdin-name", metavar="N", help="the path under which that output is recorded")


class _Source(NamedTuple):
    """What is to be backed up: the roots as recorded, the picture of it, and who says whether it is complete."""

    paths: tuple[bytes, ...]
    view: View
    kind: str = "files"
    finish: Callable[[], None] | None = None


def run(session: Session) -> int:
    """Take a snapshot; exit code 3 when a file changed in every retry or could not be read (see the report)."""
    options = session.options
    source = _command_source(session) if options.stdin_from_command or options.stdin_name else _file_source(session)
    tags = tuple(map(check_tag, options.tag))
    if options.name is not None:
        check_name(options.name)
    with session.open_home() as home:
        name = options.name or default_name(home.ledger.history().site_name, source.paths)
        capture = CaptureOptions(rechecks=_rechecks(options, home))
        if options.dry_run:
            from siteagent.jobs.dryrun import preview_backup

            return report_preview(session, name, preview_backup(home, name, source.view, capture), source.view.skipped)
        request = BackupRequest(name, source.paths, source.view, user_name(), host_name(), tags, capture, source.kind,
                                source.finish)
        result = _perform(session, home, request)
    return report(session, result, source.view.skipped)


def _perform(session: Session, home: Home, request: BackupRequest) -> BackupResult:
    output = session.output
    with (
        Progress(output.stderr, "backup", is_wanted=output.wants_progress) as progress,
        _expectation(home, request, is_shown=progress.is_shown) as expected,
    ):

        def watch(capture: Capture) -> None:
            figures, content = capture.figures, capture.content
            progress.watch(lambda: Sample(max(figures.bytes_seen, content.bytes_read), figures.files, expected(), True))

        return back_up(home, request, watch)


@contextmanager
def _expectation(home: Home, request: BackupRequest, *, is_shown: bool) -> Iterator[Callable[[], int]]:
    """How many bytes there will be to see: what the previous snapshot saw, or what a count beside the backup finds."""
    before = home.ledger.history().newest_snapshot(request.name, is_good=True) if is_shown else None
    if before is not None and before.summary is not None:
        known = before.summary.bytes_seen
        yield lambda: known
        return
    if not is_shown or request.source_kind != "files":
        yield lambda: 0
        return
    from siteagent.cli.scan import Scan

    try:
        scan = Scan(request.paths)
    except OSError:
        yield lambda: 0
        return
    try:
        yield scan.total_bytes
    finally:
        scan.close()


def _file_source(session: Session) -> _Source:
    from siteagent.sources.posix import PosixView
    from siteagent.sources.roots import merge_roots

    options = session.options
    given = [os.fsencode(path) for path in options.paths]
    listed, vanished = _listed_paths(options.files_from0) if options.files_from0 else ([], [])
    if not given and not listed:
        raise UsageError("nothing to back up is named", subject="farkeep backup",
                         next_step="name one or more paths, or --stdin-from-command CMD --stdin-name N")
    node, roots = merge_roots(given + listed, os.getcwdb())
    selection = _selection(options, roots)
    try:
        about = os.stat(session.settings.home)
        home: tuple[int, int] | None = (about.st_dev, about.st_ino)
    except OSError:
        home = None
    view = PosixView(node, selection, home, is_one_file_system=options.one_file_system,
                     skips_caches=options.exclude_caches, vanished=vanished)
    return _Source(_recorded(roots), view)


def _listed_paths(file_name: str) -> tuple[list[bytes], list[SourceError]]:
    """The paths in a list that are there, and those that vanished since it was written."""
    data = sys.stdin.buffer.read() if file_name == "-" else _read(file_name)
    found, vanished = list[bytes](), list[SourceError]()
    for path in filter(None, data.split(b"\0")):
        if os.path.lexists(path):
            found.append(path)
        else:
            vanished.append(SourceError(os.path.abspath(path), "it is in the list, but not there any more"))
    if vanished and not found:
        raise RefusedError("nothing in the list of paths is there", subject=file_name,
                           next_step="check the list: paths end with NUL and are taken relative to the current folder")
    return found, vanished


def _selection(options: Namespace, roots: list[bytes]) -> PatternSelection | None:
    if not (options.exclude or options.exclude_from or options.exclude_larger_than):
        return None
    from siteagent.sources.selection import PatternSelection, Wanted, read_patterns

    patterns = [*options.exclude, *(line for name in options.exclude_from for line in read_patterns(_read(name)))]
    size = parse_size(options.exclude_larger_than) if options.exclude_larger_than else None
    return PatternSelection(Wanted(excludes=tuple(patterns), size_max_bytes=size), roots)


def _command_source(session: Session) -> _Source:
    from siteagent.sources.command import CommandView

    options = session.options
    if not (options.stdin_from_command and options.stdin_name) or options.paths or options.files_from0:
        raise UsageError("--stdin-from-command and --stdin-name go together, without any PATH",
                         subject="farkeep backup", next_step="name the command and the path to record its output under")
    parts = [part for part in os.fsencode(options.stdin_name).split(b"/") if part not in (b"", b".")]
    if not parts or b".." in parts:
        raise UsageError("this is no path for a file", subject=options.stdin_name,
                         next_step="write a path like `dumps/db.sql`")
    if options.dry_run:
        raise UsageError("a command's output cannot be looked at without reading it", subject="--dry-run",
                         next_step="leave --dry-run out")
    path = b"/" + b"/".join(parts)
    view = CommandView(options.stdin_from_command, path, session.world.clock.now_ns())
    return _Source((path,), view, "command", view.finish)


def _rechecks(options: Namespace, home: Home) -> Callable[[bytes], bool] | None:
    """Which unchanged entries are read again: every one, or a share that moves on from day to day."""
    if options.rehash:
        return lambda _: True
    if not options.recheck:
        return None
    share, whole = parse_share(options.recheck, "share")
    key = derive("farkeep 2026 recheck share v1", home.keyring.default_domain.boundary_key)
    start = home.world.clock.now_ns() // _DAY_NS * share

    def is_due(entry_key: bytes) -> bool:
        return (int.from_bytes(keyed_id(key, entry_key)[:8], "big") + start) % whole < share

    return is_due


def _recorded(roots: list[bytes]) -> tuple[bytes, ...]:
    """The roots as they are recorded; of a very long list only the folder that holds them all."""
    if sum(map(len, roots)) <= _PATHS_MAX_BYTES:
        return tuple(roots)
    return (os.path.commonpath(roots),)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise RefusedError(f"the file cannot be read: {error.strerror}", subject=path,
                           next_step="check the path and its permissions") from error
