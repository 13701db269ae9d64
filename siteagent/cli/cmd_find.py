"""`farkeep find`: which snapshots hold what one looks for."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable

from shared.errors import DamagedError
from shared.names import check_name
from shared.tree import FILE, LINK, TYPE_NAMES
from siteagent.cli.limits import check_limit
from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.output import Json, name_fields
from siteagent.cli.session import Session
from siteagent.cli.sizes import counted
from siteagent.cli.snapspec import find_snapshot
from siteagent.home import Home
from siteagent.jobs.find import Found, find, time_of
from siteagent.ledger.state import SnapshotEntry
from siteagent.sources.pathpattern import PathPattern

_HEADINGS = ("newest", "name", "snapshot", "in>", "size>", "modified", "path")


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of find."""
    add = parser.add_argument
    add("pattern", metavar="PATTERN",
        help="as in .gitignore: a name (*.txt) anywhere; the end of a path (docs/*.txt); a whole path (/home/**/*.txt)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--name", metavar="NAME", help="only in snapshots of this name")
    where.add_argument("--snapshot", metavar="SNAP", help="only in this snapshot")
    add("-i", "--ignore-case", action="store_true", help="take capital and small letters for the same")
    add("--limit", type=int, metavar="N", help="no more than N paths, those in the newest snapshots first")


def run(session: Session) -> int:
    """Search; exit code 4 when a snapshot did not read to its end.

    JSON: a list of {path, type, size, mtime, name, snapshot, time, since, snapshots}: one row for every NAME and path,
    as it is in the newest snapshot that holds it (snapshot, time); the oldest one is of `since`.
    """
    options, output = session.options, session.output
    limit, pattern = check_limit(options.limit, "paths"), PathPattern(options.pattern, ignores_case=options.ignore_case)
    with session.open_home() as home:
        search = find(home, pattern, _snapshots(session, home), limit)
        session.notes(home.notes)
    if output.is_json or output.is_jsonl:
        output.records(map(_record, search.found))
    elif search.found:
        output.table(_HEADINGS, map(_cells, search.found))
    more = f"; only the first {limit} are shown (--limit)" if search.is_cut else ""
    count = len(search.found)
    output.say(f"{counted(count, 'path')} found{more}")
    for snapshot, reason in search.unread:
        output.warn(f"note: snapshot {snapshot.id.hex()[:12]} could not be searched to its end: {reason}")
    return DamagedError.exit_code if search.unread else 0


def _snapshots(session: Session, home: Home) -> Iterable[SnapshotEntry]:
    options, history = session.options, home.ledger.history()
    if options.snapshot is not None:
        return [find_snapshot(history, options.snapshot)]
    return history.wanted if options.name is None else history.snapshots_named(check_name(options.name))


def _record(found: Found) -> dict[str, Json]:
    hit, newest = found.hit, found.newest
    return {**name_fields("path", hit.path), "type": TYPE_NAMES[hit.type], "size": _size(found),
            "mtime": rfc3339(hit.mtime_ns), "name": found.name, "snapshot": newest.id.hex(),
            "time": rfc3339(time_of(newest)), "since": rfc3339(time_of(found.oldest)), "snapshots": found.snapshots}


def _size(found: Found) -> int:
    return found.hit.size_bytes if found.hit.type in (FILE, LINK) else 0


def _cells(found: Found) -> tuple[str, ...]:
    hit, newest = found.hit, found.newest
    return (local_time(time_of(newest)), found.name, newest.id.hex()[:12], str(found.snapshots), str(_size(found)),
            local_time(hit.mtime_ns), hit.path.decode("utf-8", "surrogateescape"))
