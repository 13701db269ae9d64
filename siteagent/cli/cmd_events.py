"""`farkeep events`: the event log, oldest first."""

from __future__ import annotations

from argparse import ArgumentParser

from shared.chain import Position
from siteagent.cli.limits import check_limit
from siteagent.cli.moment import local_time, parse_moment, rfc3339
from siteagent.cli.output import Json, plain
from siteagent.cli.session import Session
from siteagent.home import Home
from siteagent.jobs.events import Event, events


def add_options(parser: ArgumentParser, _: str) -> None:
    """The options of events."""
    parser.add_argument("--as-of", metavar="WHEN", help="the log as it was then: a time, or site/log-epoch/sequence")
    parser.add_argument("--limit", type=int, metavar="N", help="only the newest N of these facts")


def run(session: Session) -> int:
    """List facts. JSON: a list of {position, sequence, time, kind, summary, job, snapshot}."""
    options, output = session.options, session.output
    check_limit(options.limit, "facts")
    with session.open_home() as home:
        found = events(home, _as_of(home, options.as_of), options.limit)
        if output.is_json or output.is_jsonl:
            output.records(map(_record, found))
        else:
            for event in found:
                position = event.position.text()
                output.line(f"{local_time(event.time_ns)}  {position}  {event.kind:<17} {event.summary}")
    return 0


def _as_of(home: Home, text: str | None) -> Position | int | None:
    if text is None:
        return None
    return home.ledger.position(text) if text.count("/") == 2 else parse_moment(text)


def _record(event: Event) -> dict[str, Json]:
    return {"position": event.position.text(), "sequence": event.position.sequence, "time": rfc3339(event.time_ns),
            "kind": event.kind, "summary": plain(event.summary), "job": event.job.hex() or None,
            "snapshot": event.snapshot.hex() or None}
