"""`farkeep tag` and `farkeep note`: words to find snapshots by, and what people want to remember of them."""

from __future__ import annotations

from argparse import ArgumentParser

from shared.errors import UsageError
from siteagent.cli.output import plain
from siteagent.cli.session import Session, host_name, user_name
from siteagent.cli.snapspec import find_snapshots
from siteagent.cli.tags import check_tag
from siteagent.jobs.labels import LabelChange, change_labels
from siteagent.jobs.record import Who

_NOTE_MAX = 4000


def add_options(parser: ArgumentParser, name: str) -> None:
    """The options of tag or note."""
    add = parser.add_argument
    if name == "tag":
        add("snaps", nargs="+", metavar="SNAP", help="a snapshot; may be repeated")
        add("--add", action="append", default=[], metavar="T", help="a tag to give; may be repeated")
        add("--remove", action="append", default=[], metavar="T", help="a tag to take away; may be repeated")
        return
    add("snap", metavar="SNAP", help="a snapshot")
    add("text", metavar="TEXT", help="the note; an empty one removes the note that is there")


def run(session: Session) -> int:
    """Change labels. JSON of tag: a list of {snapshot, tags}; of note: {snapshot, note}."""
    return _note(session) if session.command == "note" else _tag(session)


def _tag(session: Session) -> int:
    options, output = session.options, session.output
    added, removed = (tuple(map(check_tag, tags)) for tags in (options.add, options.remove))
    if not (added or removed) or set(added) & set(removed):
        raise UsageError("a tag cannot come and go at once" if added else "no tag is named", subject="farkeep tag",
                         next_step="say --add T or --remove T, either more than once")
    with session.open_home() as home:
        entries = find_snapshots(home.ledger.history(), options.snaps)
        change = LabelChange(added=added, removed=removed)
        entries = change_labels(home, Who(user_name(), host_name()), entries, change)
        notes = list(home.notes)
    output.document([{"snapshot": entry.id.hex(), "tags": list(map(plain, entry.tags))} for entry in entries])
    for entry in entries:
        output.say(f"snapshot {entry.id.hex()[:12]}: {', '.join(entry.tags) or 'no tags'}")
    session.notes(notes)
    return 0


def _note(session: Session) -> int:
    options, output = session.options, session.output
    if len(options.text) > _NOTE_MAX:
        raise UsageError(f"a note has up to {_NOTE_MAX} characters", subject="farkeep note",
                         next_step="write a shorter one")
    with session.open_home() as home:
        entries = find_snapshots(home.ledger.history(), [options.snap])
        (entry,) = change_labels(home, Who(user_name(), host_name()), entries, LabelChange(note=plain(options.text)))
        notes = list(home.notes)
    output.document({"snapshot": entry.id.hex(), "note": plain(entry.note)})
    output.say(f"snapshot {entry.id.hex()[:12]}: {entry.note or 'no note'}")
    session.notes(notes)
    return 0
