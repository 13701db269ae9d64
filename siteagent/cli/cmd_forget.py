"""`farkeep forget` and `farkeep unforget`: what is wanted no more, and taking it back."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence

from shared.durations import parse_duration
from shared.errors import RefusedError, UsageError
from shared.names import check_name
from siteagent.cli.moment import local_time, rfc3339
from siteagent.cli.output import plain
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.snapspec import find_snapshots
from siteagent.home import Home
from siteagent.jobs.forget import (
    GRACE_DEFAULT_NS,
    Forgetting,
    Manner,
    RuleRequest,
    forget_by_rules,
    forget_named,
)
from siteagent.jobs.recall import recall
from siteagent.jobs.record import Who
from siteagent.jobs.retention import Judged, parse_rules
from siteagent.ledger.state import SnapshotEntry

_HEADINGS = ("snapshot", "time", "name", "kept by")


def add_options(parser: ArgumentParser, name: str) -> None:
    """The options of forget or unforget."""
    add = parser.add_argument
    add("snaps", nargs="*", metavar="SNAP", help="a snapshot; may be repeated")
    if name == "unforget":
        add("--all", action="store_true", help="every forgotten snapshot")
        add("--name", help="with --all: only those of this name")
        return
    add("--keep", metavar="RULES", help="forget what no rule keeps, each name by itself: `last 3, daily 14, weekly 8, "
                                        "monthly 12, yearly 7, hourly 24, within 30d, tag T`; the last good snapshot "
                                        "of a name always stays")
    add("--name", help="with --keep: only snapshots of this name")
    add("--dry-run", action="store_true", help="show what would go and what keeps the rest; record nothing")
    add("--yes-forget", type=int, metavar="N", help="with --keep: N snapshots may go, even more than half")
    add("--confirm-clock", action="store_true", help="with --keep: the clock jumped, and is right now")
    add("--yes-last", action="store_true", help="also the last good snapshot of a name")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--after", metavar="TIME", help="keep them recallable for so long (12h, 30d; default: 7d)")
    when.add_argument("--now", action="store_true", help="let the next prune sweep them at once")


def run(session: Session) -> int:
    """Do what was asked for.

    JSON of forget: {is_dry_run, kept: [{snapshot, name, time, rules}], forgotten, already_forgotten, sweep_after,
    needs_yes_forget, notes}; of unforget: {recalled, already_wanted}. Lists of snapshots are lists of ids.
    """
    return _unforget(session) if session.command == "unforget" else _forget(session)


def _forget(session: Session) -> int:
    options = session.options
    _require_choice(options)
    after = options.after or session.settings.sweep_after
    grace_ns = 0 if options.now else parse_duration(after) if after else GRACE_DEFAULT_NS
    manner = Manner(grace_ns=grace_ns, is_dry_run=options.dry_run)
    who = Who(user_name(), host_name())
    if options.keep is not None:
        request = RuleRequest(rules=parse_rules(options.keep), name=check_name(options.name) if options.name else "",
                              agreed_count=options.yes_forget, confirms_clock=options.confirm_clock)
    with session.open_home() as home:
        if options.keep is not None:
            result = forget_by_rules(home, who, request, manner)
        else:
            snapshots = find_snapshots(home.ledger.history(), options.snaps)
            result = forget_named(home, who, snapshots, manner, allows_last=options.yes_last)
        result.notes += home.notes
    _report(session, result)
    return 0


def _require_choice(options: Namespace) -> None:
    by_rule = options.keep is not None
    if by_rule == bool(options.snaps):
        raise UsageError("name snapshots, or give rules with --keep, not both" if by_rule else
                         "nothing says what to forget", subject="farkeep forget",
                         next_step="`farkeep forget SNAP...`, or `farkeep forget --keep 'daily 14, monthly 12'`")
    if not by_rule and (options.name is not None or options.yes_forget is not None or options.confirm_clock):
        raise UsageError("--name, --yes-forget and --confirm-clock belong to --keep", subject="farkeep forget",
                         next_step="add --keep RULES, or leave them out")
    if by_rule and options.yes_last:
        raise UsageError("rules never forget the last good snapshot of a name", subject="--yes-last",
                         next_step="leave --yes-last out; such a snapshot is forgotten by its id alone")


def _report(session: Session, result: Forgetting) -> None:
    output, is_dry_run = session.output, session.options.dry_run
    kept = [judged for judged in result.judged if judged.is_kept]
    output.document({
        "is_dry_run": is_dry_run,
        "kept": [{"snapshot": judged.snapshot.id.hex(), "name": _name(judged.snapshot),
                  "time": rfc3339(_time_ns(judged.snapshot)), "rules": list(map(plain, judged.rules))}
                 for judged in kept],
        "forgotten": [entry.id.hex() for entry in result.forgotten],
        "already_forgotten": [entry.id.hex() for entry in result.already],
        "sweep_after": rfc3339(result.sweep_after_ns) if result.forgotten else None,
        "needs_yes_forget": result.needed_count, "notes": list(map(plain, result.notes)),
    })  # fmt: skip
    if not output.has_document:
        judged = result.judged or [Judged(entry, ()) for entry in result.forgotten]
        output.table(_HEADINGS, _cells(judged))
    would = "would be forgotten" if is_dry_run else "forgotten"
    output.say(f"{_count(result.forgotten)} {would}{f', {len(kept)} kept' if result.judged else ''}")
    if result.forgotten and not is_dry_run:
        output.say(f"  `farkeep unforget` takes them back until they are swept, not before "
                   f"{local_time(result.sweep_after_ns)}")
    if result.already:
        output.say(f"  {len(result.already)} were forgotten already and stay as they are")
    if result.needed_count is not None:
        output.say(f"  this is more than half: without --dry-run it takes --yes-forget {result.needed_count}")
    session.notes(result.notes)


def _cells(judged: list[Judged]) -> Iterator[tuple[str, ...]]:
    for each in judged:
        entry = each.snapshot
        yield (entry.id.hex()[:12], local_time(_time_ns(entry)), _name(entry) or "",
               ", ".join(each.rules) if each.is_kept else "- (forget)")


def _unforget(session: Session) -> int:
    options, output = session.options, session.output
    if options.all == bool(options.snaps) or (options.name is not None and not options.all):
        raise UsageError("name snapshots, or add --all (with --name NAME if only of that name)",
                         subject="farkeep unforget", next_step="`farkeep snapshots` lists what is forgotten")
    name = None if options.name is None else check_name(options.name)
    with session.open_home() as home:
        history = home.ledger.history()
        chosen = _forgotten(home, name) if options.all else find_snapshots(history, options.snaps)
        recalled = recall(home, Who(user_name(), host_name()), chosen)
        notes = list(home.notes)
    others = [entry for entry in chosen if not entry.is_forgotten]
    output.document({"recalled": [entry.id.hex() for entry in recalled],
                     "already_wanted": [entry.id.hex() for entry in others]})
    output.say(f"{_count(recalled)} taken back")
    if others:
        output.say(f"  {len(others)} were not forgotten and stay as they are")
    session.notes(notes)
    return 0


def _forgotten(home: Home, name: str | None) -> list[SnapshotEntry]:
    found = [entry for entry in home.ledger.history().forgotten if name is None or _name(entry) == name]
    if not found:
        raise RefusedError("nothing is forgotten", subject=name or "--all",
                           next_step="look at `farkeep snapshots`: what was swept cannot be taken back")
    return found


def _name(entry: SnapshotEntry) -> str | None:
    return entry.summary.name if entry.summary is not None else None


def _time_ns(entry: SnapshotEntry) -> int:
    return entry.summary.time_ns if entry.summary is not None else entry.time_ns


def _count(entries: Sequence[SnapshotEntry]) -> str:
    return f"{len(entries)} {'snapshot' if len(entries) == 1 else 'snapshots'}"
