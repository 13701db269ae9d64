"""SNAP[:PATH]: how people name a snapshot and what lies in it.

SNAP = an id (32 hexadecimal digits), a prefix of 6 or more of them, `latest`, `NAME@latest` or `NAME@TIME` (the last
one at or before it; see `moment` for what TIME may be). SNAP ends at the first `:/`; what follows the colon is the
absolute path that was backed up.
"""

from __future__ import annotations

import os
import re

from msgspec import Struct

from shared.errors import RefusedError, UsageError
from shared.names import check_name, is_name
from siteagent.cli.moment import local_time, parse_moment
from siteagent.ledger.history import History
from siteagent.ledger.state import SnapshotEntry

_HEX = re.compile(r"[0-9a-fA-F]+")
_PREFIX_MIN, _ID_DIGITS = 6, 32
_CANDIDATES_MAX = 10
_GRAMMAR = "write an id, 6 or more digits of one, `latest`, NAME@latest or NAME@TIME; see `farkeep snapshots`"


class SnapSpec(Struct, frozen=True):
    """A snapshot as it was named, and the absolute path in it (None: no path was given)."""

    snap: str
    path: bytes | None


def parse_spec(text: str) -> SnapSpec:
    """Cut SNAP[:PATH] in two. Empty, `.` and repeated components of the path are dropped; raises UsageError."""
    snap, colon, rest = text.partition(":/")
    if not snap:
        raise UsageError("no snapshot is named", subject=text, next_step=_GRAMMAR)
    if not colon:
        return SnapSpec(snap, None)
    parts = [part for part in os.fsencode(rest).split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise UsageError("a path in a snapshot cannot go up", subject=text, next_step="write the path without `..`")
    return SnapSpec(snap, b"/" + b"/".join(parts))


def find_snapshot(history: History, snap: str) -> SnapshotEntry:
    """The snapshot that `snap` names; raises UsageError for bad grammar, RefusedError for none or several."""
    name, at, when = snap.partition("@")
    if at:
        return _named(history, check_name(name), when)
    if snap == "latest":
        return _require(history.newest_snapshot(), snap, "there is no snapshot yet", "take one with `farkeep backup`")
    if not _HEX.fullmatch(snap):
        hint = f"write {snap}@latest" if is_name(snap) and snap in history.snapshot_names else _GRAMMAR
        raise UsageError("this names no snapshot", subject=snap, next_step=hint)
    if not _PREFIX_MIN <= len(snap) <= _ID_DIGITS:
        raise UsageError(f"an id has {_ID_DIGITS} digits and may be cut to no less than {_PREFIX_MIN}", subject=snap,
                         next_step=_GRAMMAR)
    return _by_prefix(history, snap.lower())


def _by_prefix(history: History, prefix: str) -> SnapshotEntry:
    found = [snapshot for snapshot in history.snapshot_ids if snapshot.hex().startswith(prefix)]
    if len(found) > 1:
        shown = [_shown(history, snapshot, len(prefix)) for snapshot in found[:_CANDIDATES_MAX]]
        more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
        raise RefusedError(f"{len(found)} snapshots begin with these digits: {', '.join(shown)}{more}", subject=prefix,
                           next_step="write more digits")
    if not found and any(snapshot.hex().startswith(prefix) for snapshot in history.swept):
        raise RefusedError("this snapshot was pruned", subject=prefix, next_step="look at `farkeep snapshots`")
    return _require(history.snapshot(found[0]) if found else None, prefix, "there is no snapshot with this id",
                    "look at `farkeep snapshots`")  # fmt: skip


def _shown(history: History, snapshot: bytes, digits: int) -> str:
    entry = history.snapshot(snapshot)
    text = snapshot.hex()[: digits + 6]
    if entry is None or entry.summary is None:
        return text
    return f"{text} ({entry.summary.name}, {local_time(entry.summary.time_ns)})"


def _named(history: History, name: str, when: str) -> SnapshotEntry:
    entries = history.snapshots_named(name)
    names = sorted({known for known in history.snapshot_names if known})
    hint = f"the names are: {', '.join(names[:_CANDIDATES_MAX])}" if names else "take one with `farkeep backup`"
    if when == "latest":
        return _require(entries[-1] if entries else None, name, "there is no snapshot of this name", hint)
    until_ns = parse_moment(when)
    if not entries:
        _require(None, name, "there is no snapshot of this name", hint)
    early = [entry for entry in entries if entry.summary is not None and entry.summary.time_ns <= until_ns]
    first = next((entry.summary.time_ns for entry in entries if entry.summary is not None), 0)
    return _require(max(early, key=_time, default=None), f"{name}@{when}", "there is no snapshot of this name so early",
                    f"the first one is of {local_time(first)}")


def _time(entry: SnapshotEntry) -> int:
    return entry.summary.time_ns if entry.summary is not None else 0


def _require(entry: SnapshotEntry | None, subject: str, message: str, next_step: str) -> SnapshotEntry:
    if entry is None:
        raise RefusedError(message, subject=subject, next_step=next_step)
    return entry
