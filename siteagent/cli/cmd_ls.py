"""`farkeep ls`: what a snapshot holds."""

from __future__ import annotations

import stat
from argparse import ArgumentParser
from itertools import islice

from shared.tree import CHANGED, UNREADABLE
from siteagent.cli.limits import check_limit
from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.output import Json, name_fields
from siteagent.cli.session import Session
from siteagent.cli.snapspec import find_snapshot, parse_spec
from siteagent.jobs.listing import Row, list_entries

_LETTERS = {"file": stat.S_IFREG, "folder": stat.S_IFDIR, "link": stat.S_IFLNK, "fifo": stat.S_IFIFO,
            "character-device": stat.S_IFCHR, "block-device": stat.S_IFBLK}  # fmt: skip


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of ls."""
    parser.add_argument("spec", metavar="SNAP[:PATH]", help="a snapshot: all of it; with a path: that folder or file")
    parser.add_argument("--limit", type=int, metavar="N", help="show no more than N entries")
    parser.add_argument("-r", "--recursive", action="store_true", help="with a path: everything below it")


def run(session: Session) -> int:
    """List entries. JSON: a list of {path, type, size, mode, uid, gid, mtime, target}."""
    options, output = session.options, session.output
    spec, limit = parse_spec(options.spec), check_limit(options.limit)
    with session.open_home() as home:
        snapshot = find_snapshot(home.ledger.history(), spec.snap)
        found = list_entries(home, snapshot, spec.path, is_recursive=options.recursive)
        rows = iter(found) if limit is None else islice(found, limit)
        if output.is_json or output.is_jsonl:
            output.records(map(_record, rows))
        else:
            for row in rows:
                output.line(_line(row))
            output.flush()
        if limit is not None and next(found, None) is not None:
            output.say(f"only the first {limit} entries are shown (--limit)")
        session.notes(home.notes)
    return 0


def _record(row: Row) -> dict[str, Json]:
    target: dict[str, Json] = {"target": None} if row.target is None else name_fields("target", row.target)
    return {**name_fields("path", row.path), "type": row.type, "size": row.size_bytes, "mode": row.mode,
            "uid": row.uid, "gid": row.gid, "mtime": rfc3339(row.mtime_ns), **target}


def _line(row: Row) -> str:
    mode = stat.filemode(_LETTERS[row.type] | row.mode)
    path = row.path.decode("utf-8", "surrogateescape")
    target = "" if row.target is None else f" -> {row.target.decode('utf-8', 'surrogateescape')}"
    mark = "  (not readable)" if row.flags & UNREADABLE else "  (changed while read)" if row.flags & CHANGED else ""
    owner = f"{row.uid}:{row.gid}"
    return f"{mode} {owner:>11} {row.size_bytes:>13} {local_time(row.mtime_ns)} {path}{target}{mark}"
