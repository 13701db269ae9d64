"""`farkeep history`: the versions of one file or folder."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import NamedTuple

from shared.errors import RefusedError, UsageError
from shared.names import check_name
from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.output import Json
from siteagent.cli.session import Session
from siteagent.cli.snapspec import parse_path
from siteagent.home import Home
from siteagent.jobs.find import time_of
from siteagent.jobs.versions import Version, versions

_HEADINGS = ("from", "until", "name", "snapshot", "in>", "size>", "modified", "what")


class _Row(NamedTuple):
    name: str
    version: Version


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of history."""
    parser.add_argument("path", metavar="PATH", help="the absolute path that was backed up")
    parser.add_argument("--name", metavar="NAME", help="only in snapshots of this name")


def run(session: Session) -> int:
    """List versions, oldest first.

    JSON: a list of {snapshot, time, size, mtime, same_until, last_snapshot, snapshots, type, change, name}: from the
    snapshot of `time` to the one of `same_until` (both are times) nothing changed. While the path is not there, `type`,
    `size` and `mtime` are null.
    """
    options, output = session.options, session.output
    if not options.path.startswith("/"):
        raise UsageError("this is no absolute path", subject=options.path,
                         next_step=f"write {os.path.abspath(options.path)}, or search with `farkeep find`")
    path = parse_path(options.path)
    with session.open_home() as home:
        rows = list(_rows(home, path, options.name))
        session.notes(home.notes)
    if not rows:
        raise RefusedError("this path is in no snapshot", subject=options.path,
                           next_step="search for a part of it with `farkeep find`")
    if output.is_json or output.is_jsonl:
        output.records(map(_record, rows))
    else:
        output.table(_HEADINGS, map(_cells, rows))
    return 0


def _rows(home: Home, path: bytes, name: str | None) -> Iterator[_Row]:
    history = home.ledger.history()
    for each in [check_name(name)] if name is not None else dict.fromkeys(filter(None, history.snapshot_names)):
        yield from (_Row(each, version) for version in versions(home, path, history.snapshots_named(each)))


def _record(row: _Row) -> dict[str, Json]:
    version = row.version
    is_there = version.type is not None
    return {"snapshot": version.first.id.hex(), "time": rfc3339(time_of(version.first)),
            "size": version.size_bytes if is_there else None, "mtime": rfc3339(version.mtime_ns) if is_there else None,
            "same_until": rfc3339(time_of(version.last)), "last_snapshot": version.last.id.hex(),
            "snapshots": version.snapshots, "type": version.type, "change": version.change, "name": row.name}


def _cells(row: _Row) -> tuple[str, ...]:
    version = row.version
    about = ("", "", "not there any more")
    if version.type is not None:
        words = version.change if version.change in ("added", "content") else f"other {version.change}"
        about = (str(version.size_bytes), local_time(version.mtime_ns), f"{version.type}, {words}")
    return (local_time(time_of(version.first)), local_time(time_of(version.last)), row.name,
            version.first.id.hex()[:12], str(version.snapshots), *about)
