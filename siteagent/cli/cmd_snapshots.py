"""`farkeep snapshots`: the snapshots of a home, oldest first, and those that are forgotten."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Iterator

from shared.names import check_name
from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.output import Json, plain
from siteagent.cli.session import Session
from siteagent.cli.sizes import shown_count, shown_size
from siteagent.jobs.holds import hold_of
from siteagent.ledger.history import History
from siteagent.ledger.state import Hold, SnapshotEntry

_HEADINGS = ("snapshot", "time", "name", "files>", "size>", "quality", "host", "tags", "held", "note")


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of snapshots."""
    parser.add_argument("--name", help="only snapshots of this name")
    parser.add_argument("--forgotten", "--all", action="store_true",
                        help="JSON: forgotten snapshots too (for people they are always listed, apart)")
    # For completion: a word per line, without a heading.
    parser.add_argument("--names", action="store_true", help=SUPPRESS)


def run(session: Session) -> int:
    """List them.

    JSON: a list of {snapshot, name, time, files, bytes_seen, quality, tags, host, note, held, forgotten, sweep_after};
    `held` is null, "hold" or "lock"; `forgotten` (since when) and `sweep_after` are null for what is wanted.
    """
    name, output = session.options.name, session.output
    session.is_noted = not session.options.names
    if name is not None:
        check_name(name)
    with session.open_home() as home:
        history, counted_ns = home.ledger.history(), home.ledger.counted().now_ns
        now_ns = home.ledger.now_ns()
        entries = [entry for entry in history.snapshots if name is None or _name(entry) == name]
        held = {entry.id: _held(hold_of(history.holds, entry, counted_ns)) for entry in entries}
    wanted = [entry for entry in entries if not entry.is_forgotten]
    if session.options.names:
        for word in _words(history, wanted):
            output.line(word)
        return 0
    if output.is_json or output.is_jsonl:
        output.records(_record(entry, held) for entry in (entries if session.options.forgotten else wanted))
        return 0
    output.table(_HEADINGS, (_cells(entry, held) for entry in wanted))
    output.say(f"{len(wanted)} snapshots")
    forgotten = [entry for entry in entries if entry.is_forgotten]
    if forgotten:
        output.line("")
        output.table(("forgotten", *_HEADINGS[1:], "may be swept"), (_forgotten_cells(entry, held, now_ns, counted_ns)
                                                                     for entry in forgotten))
        output.say(f"{len(forgotten)} forgotten; `farkeep unforget` takes them back")
    return 0


def _words(history: History, entries: list[SnapshotEntry]) -> Iterator[str]:
    """What may stand for a snapshot on a command line."""
    if entries:
        yield "latest"
    yield from sorted(f"{name}@latest" for name in set(history.snapshot_names) if name)
    yield from (entry.id.hex()[:12] for entry in reversed(entries))


def _name(entry: SnapshotEntry) -> str | None:
    return entry.summary.name if entry.summary is not None else None


def _held(hold: Hold | None) -> str:
    return "" if hold is None else "lock" if hold.is_lock else "hold"


def _record(entry: SnapshotEntry, held: dict[bytes, str]) -> dict[str, Json]:
    summary = entry.summary
    unread = entry.mark.value if entry.mark else None
    return {
        "snapshot": entry.id.hex(), "name": summary.name if summary else None,
        "time": rfc3339(summary.time_ns if summary else entry.time_ns), "files": summary.files if summary else None,
        "bytes_seen": summary.bytes_seen if summary else None, "quality": summary.quality if summary else unread,
        "tags": list(map(plain, entry.tags)), "host": summary.host if summary else None, "note": plain(entry.note),
        "held": held[entry.id] or None, "forgotten": rfc3339(entry.forgotten_ns) if entry.is_forgotten else None,
        "sweep_after": rfc3339(entry.sweep_after_ns) if entry.is_forgotten else None,
    }  # fmt: skip


def _cells(entry: SnapshotEntry, held: dict[bytes, str]) -> tuple[str, ...]:
    summary, digits, labels = entry.summary, entry.id.hex()[:12], (" ".join(entry.tags), held[entry.id], entry.note)
    if summary is None:
        return digits, local_time(entry.time_ns), f"({entry.mark.value if entry.mark else '?'})", *[""] * 4, *labels
    return (digits, local_time(summary.time_ns), summary.name, shown_count(summary.files),
            shown_size(summary.bytes_seen), summary.quality, summary.host, *labels)


def _forgotten_cells(entry: SnapshotEntry, held: dict[bytes, str], now_ns: int, counted_ns: int) -> tuple[str, ...]:
    from_ns = now_ns + entry.sweep_counted_ns - counted_ns
    when = "by the next prune" if entry.is_due(counted_ns) else f"from {local_time(from_ns)}"
    return *_cells(entry, held), f"when no {held[entry.id]} keeps it" if held[entry.id] else when
