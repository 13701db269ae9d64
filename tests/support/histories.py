"""Histories made without a log: snapshots with chosen ids, names and times, and decisions about them."""

from __future__ import annotations

from shared.chain import NO_ID, Position
from shared.facts import Part, SnapshotTaken
from shared.summary import Quality, SnapshotSummary
from siteagent.ledger.history import History
from siteagent.ledger.reading import Mark, RecordedFact
from siteagent.ledger.state import SnapshotEntry, empty_state

SITE = bytes(16)


def summary_of(name: str, time_ns: int, quality: Quality = "live") -> SnapshotSummary:
    """The least that a summary says."""
    return SnapshotSummary(name=name, time_ns=time_ns, ended_ns=time_ns + 1, quality=quality, host="h", user="u",
                           source_kind="files", paths=(b"/p",), domain=bytes(16))  # fmt: skip


def add_snapshot(history: History, snapshot: bytes, name: str, time_ns: int, *, mark: Mark | None = None,
                 quality: Quality = "live", subject: bytes = NO_ID) -> None:
    """Fold one more snapshot into a history; with `mark` its summary cannot be shown."""
    taken = SnapshotTaken(snapshot=snapshot, manifest=bytes(32), reach=bytes(32), key_epoch=1, run=bytes(16), packs=())
    add_fact(history, taken, mark or summary_of(name, time_ns, quality), time_ns, subject)


def add_fact(history: History, clear: Part, sealed: Part | SnapshotSummary | Mark | None, time_ns: int,
             subject: bytes = NO_ID) -> None:
    """Fold one more fact into a history."""
    position = Position(SITE, bytes(32), history.facts + 1, bytes(32))
    history.fold(
        RecordedFact(position=position, kind="", kind_version=1, time_ns=time_ns, wall_ns=time_ns, subject=subject,
                     fact_id=bytes(16), aggregate_id=bytes(16), clear=clear, sealed=sealed)
    )  # fmt: skip


def new_history() -> History:
    """A history without any fact."""
    return History(empty_state(SITE))


def taken_at(time_ns: int, *, number: int = 0, quality: Quality = "live", mark: Mark | None = None,
             tags: tuple[str, ...] = (), own_time_ns: int | None = None) -> SnapshotEntry:
    """A snapshot of this log time that no log holds; `own_time_ns` is what its summary says (default: the same)."""
    taken = SnapshotTaken(snapshot=number.to_bytes(16, "big"), manifest=bytes(32), reach=bytes(32), key_epoch=1,
                          run=bytes(16), packs=())  # fmt: skip
    summary = None if mark else summary_of("docs", time_ns if own_time_ns is None else own_time_ns, quality)
    return SnapshotEntry(position=Position(SITE, bytes(32), number + 1, bytes(32)), time_ns=time_ns, subject=NO_ID,
                         taken=taken, summary=summary, mark=mark, tags=tags)  # fmt: skip
