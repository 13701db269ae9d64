"""`farkeep snapshots`: the snapshots of a home, oldest first."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Iterator

from shared.names import check_name
from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.output import Json
from siteagent.cli.session import Session
from siteagent.cli.sizes import shown_count, shown_size
from siteagent.ledger.history import History
from siteagent.ledger.state import SnapshotEntry

_HEADINGS = ("snapshot", "time", "name", "files>", "size>", "quality", "host", "tags")


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of snapshots."""
    parser.add_argument("--name", help="only snapshots of this name")
    # For completion: a word per line, without a heading.
    parser.add_argument("--names", action="store_true", help=SUPPRESS)


def run(session: Session) -> int:
    """List them. JSON: a list of {snapshot, name, time, files, bytes_seen, quality, tags, host}."""
    name, output = session.options.name, session.output
    session.is_noted = not session.options.names
    with session.open_home() as home:
        history = home.ledger.history()
        entries = history.wanted if name is None else history.snapshots_named(check_name(name))
    if session.options.names:
        for word in _words(history, entries):
            output.line(word)
        return 0
    if output.is_json or output.is_jsonl:
        output.records(map(_record, entries))
        return 0
    output.table(_HEADINGS, _cells(entries))
    output.say(f"{len(entries)} snapshots")
    return 0


def _words(history: History, entries: list[SnapshotEntry]) -> Iterator[str]:
    """What may stand for a snapshot on a command line."""
    if entries:
        yield "latest"
    yield from sorted(f"{name}@latest" for name in set(history.snapshot_names) if name)
    yield from (entry.id.hex()[:12] for entry in reversed(entries))


def _record(entry: SnapshotEntry) -> dict[str, Json]:
    summary = entry.summary
    if summary is None:
        return {"snapshot": entry.id.hex(), "name": None, "time": rfc3339(entry.time_ns), "files": None,
                "bytes_seen": None, "quality": entry.mark.value if entry.mark else None, "tags": [], "host": None}
    return {"snapshot": entry.id.hex(), "name": summary.name, "time": rfc3339(summary.time_ns), "files": summary.files,
            "bytes_seen": summary.bytes_seen, "quality": summary.quality, "tags": list(summary.tags),
            "host": summary.host}  # fmt: skip


def _cells(entries: list[SnapshotEntry]) -> Iterator[tuple[str, ...]]:
    for entry in entries:
        summary, digits = entry.summary, entry.id.hex()[:12]
        if summary is None:
            yield digits, local_time(entry.time_ns), f"({entry.mark.value if entry.mark else '?'})", *[""] * 5
            continue
        yield (digits, local_time(summary.time_ns), summary.name, shown_count(summary.files),
               shown_size(summary.bytes_seen), summary.quality, summary.host, " ".join(summary.tags))
