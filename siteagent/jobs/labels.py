"""Labels of snapshots: tags and a note. A snapshot itself never changes; its labels are facts beside it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from shared.decisions import SnapshotLabelled, SnapshotLabelledSealed
from shared.errors import RefusedError
from shared.facts import Fact, Subject, plain_text
from siteagent.home import Home
from siteagent.jobs.record import Who, recorded
from siteagent.ledger.state import SnapshotEntry
from siteagent.salvage import prepare_writing

TAGS_MAX = 100


class LabelChange(Struct, frozen=True, kw_only=True):
    """Tags that come and go; the new note (None: it stays, empty: it goes)."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    note: str | None = None


def change_labels(home: Home, who: Who, snapshots: Sequence[SnapshotEntry], change: LabelChange) -> list[SnapshotEntry]:
    """Change labels and return the snapshots as they are then; what is so already is not recorded again.

    Raises RefusedError when a snapshot would have more than 100 tags.
    """
    differing = [(entry, real) for entry in snapshots if (real := _difference(entry, change)) != LabelChange()]
    if differing:
        prepare_writing(home)
        with recorded(home, "label", who, tuple(entry.id.hex() for entry, _ in differing)) as job:
            job.facts += [_fact(who, entry, real) for entry, real in differing]
    history = home.ledger.history()
    return [history.snapshot(entry.id) or entry for entry in snapshots]


def _difference(entry: SnapshotEntry, change: LabelChange) -> LabelChange:
    added = tuple(dict.fromkeys(tag for tag in change.added if tag not in entry.tags))
    removed = tuple(dict.fromkeys(tag for tag in change.removed if tag in entry.tags))
    if added and len(entry.tags) + len(added) - len(removed) > TAGS_MAX:
        raise RefusedError(f"a snapshot has up to {TAGS_MAX} tags", subject=entry.id.hex(),
                           next_step="remove some with `farkeep tag SNAP --remove T`")
    return LabelChange(added=added, removed=removed, note=None if change.note == entry.note else change.note)


def _fact(who: Who, entry: SnapshotEntry, change: LabelChange) -> Fact:
    sealed = SnapshotLabelledSealed(
        user=plain_text(who.user), host=plain_text(who.host), tags_added=change.added, tags_removed=change.removed,
        note=None if change.note is None else plain_text(change.note),
    )  # fmt: skip
    # Labels may speak of the source: they are erased together with it.
    subject = Subject(kind="source", name=entry.summary.name) if entry.summary is not None else None
    return Fact(SnapshotLabelled(snapshot=entry.id), sealed, subject)
