"""`farkeep hold`, `farkeep holds`, `farkeep release`: what must not be forgotten or swept."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator

from shared.errors import UsageError
from shared.names import check_name
from siteagent.cli.moment import local_time, parse_moment, rfc3339
from siteagent.cli.output import Json, plain
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.snapspec import find_snapshots
from siteagent.jobs.holds import ID_SHOWN_DIGITS, HoldRequest, place_hold, release_hold
from siteagent.jobs.record import Who
from siteagent.ledger.state import Hold

_HEADINGS = ("hold", "kind", "since", "until", "by", "what", "reason")


def add_options(parser: ArgumentParser, name: str) -> None:
    """The options of hold, holds or release."""
    add = parser.add_argument
    if name == "hold":
        add("snaps", nargs="*", metavar="SNAP", help="a snapshot, also a forgotten one; may be repeated")
        add("--name", help="every snapshot of this name, later ones too")
        add("--everything", action="store_true", help="every snapshot of the site, later ones too")
        add("--until", metavar="TIME", help="end by itself then (a day means its end)")
        add("--lock", action="store_true", help="nobody can release it before its time; needs --until")
    if name == "release":
        add("hold", metavar="HOLD", help="6 or more digits of its id: see `farkeep holds`")
    if name != "holds":
        add("--reason", metavar="TEXT", default="", help="why")


def run(session: Session) -> int:
    """Do what was asked for.

    JSON of a hold: {hold, is_lock, is_active, placed, until, by, snapshots, name, is_everything, reason}; of `holds` a
    list of them; of `release`: {released}.
    """
    actions: dict[str, Callable[[Session], None]] = {"hold": _hold, "holds": _list, "release": _release}
    actions[session.command](session)
    return 0


def _hold(session: Session) -> None:
    options, output = session.options, session.output
    _require_choice(options)
    until_ns = parse_moment(options.until) if options.until else 0
    name = "" if options.name is None else check_name(options.name)
    with session.open_home() as home:
        snapshots = tuple(entry.id for entry in find_snapshots(home.ledger.history(), options.snaps))
        request = HoldRequest(snapshots=snapshots, name=name, until_ns=until_ns, is_lock=options.lock,
                              reason=options.reason)
        hold = place_hold(home, Who(user_name(), host_name()), request)
        record = _record(hold, home.ledger.counted().now_ns)
        notes = list(home.notes)
    output.document(record)
    output.say(f"{_kind(hold)} {_digits(hold)} keeps {_what(hold)} {_end(hold)}")
    session.notes(notes)


def _require_choice(options: Namespace) -> None:
    chosen = [bool(options.snaps), options.name is not None, options.everything]
    if sum(chosen) != 1:
        raise UsageError("say what to hold: snapshots, --name NAME or --everything" if not any(chosen) else
                         "snapshots, --name and --everything exclude each other", subject="farkeep hold",
                         next_step="choose one; `farkeep holds` lists what is held")
    if options.lock and not options.until:
        raise UsageError("a lock needs an end: nobody could ever release it", subject="--lock",
                         next_step="add --until TIME, or leave --lock out: a hold lasts until it is released")


def _list(session: Session) -> None:
    output = session.output
    with session.open_home() as home:
        holds, counted_ns = list(home.ledger.history().holds), home.ledger.counted().now_ns
    if output.is_json or output.is_jsonl:
        output.records(_record(hold, counted_ns) for hold in holds)
        return
    output.table(_HEADINGS, _cells(holds, counted_ns))
    output.say(f"{len(holds)} {'hold' if len(holds) == 1 else 'holds'}")


def _release(session: Session) -> None:
    output = session.output
    with session.open_home() as home:
        released = release_hold(home, Who(user_name(), host_name()), session.options.hold, session.options.reason)
        notes = list(home.notes)
    output.document({"released": released.id.hex()})
    output.say(f"{_kind(released)} {_digits(released)} on {_what(released)} is over")
    session.notes(notes)


def _record(hold: Hold, counted_ns: int) -> dict[str, Json]:
    return {
        "hold": hold.id.hex(), "is_lock": hold.is_lock, "is_active": not hold.is_over(counted_ns),
        "placed": rfc3339(hold.placed_ns), "until": rfc3339(hold.until_ns) if hold.until_ns else None,
        "by": plain(hold.user), "snapshots": [snapshot.hex() for snapshot in hold.snapshots],
        "name": hold.name or None, "is_everything": hold.is_everything, "reason": plain(hold.reason),
    }  # fmt: skip


def _cells(holds: list[Hold], counted_ns: int) -> Iterator[tuple[str, ...]]:
    for hold in holds:
        end = local_time(hold.until_ns) if hold.until_ns else "released"
        end += " (over)" if hold.is_over(counted_ns) else ""
        yield (_digits(hold), _kind(hold), local_time(hold.placed_ns), end, hold.user, _what(hold), hold.reason)


def _what(hold: Hold) -> str:
    if hold.snapshots:
        return ", ".join(snapshot.hex()[:ID_SHOWN_DIGITS] for snapshot in hold.snapshots)
    if hold.is_everything:
        return "everything"
    return hold.name or "a name that cannot be read"


def _end(hold: Hold) -> str:
    return f"until {local_time(hold.until_ns)}" if hold.until_ns else "until it is released"


def _kind(hold: Hold) -> str:
    return "lock" if hold.is_lock else "hold"


def _digits(hold: Hold) -> str:
    return hold.id.hex()[:ID_SHOWN_DIGITS]
