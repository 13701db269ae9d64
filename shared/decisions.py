"""Parts of facts that decide what is kept, and of those that record what was done about it (`shared.factkinds`).

Nothing here removes anything by itself: a forgotten snapshot can be recalled until a `segments.swept` fact names it.
Sets of segments are encoded as columns 1 to 3 of siteagent.store.nameruns (a bitmap per stretch of a run's numbers).
"""

from __future__ import annotations

from shared.facts import PackRef, Part
from shared.summary import Id


class SnapshotLabelled(Part, frozen=True, kw_only=True):
    """Tags or the note of a snapshot changed."""

    snapshot: Id


class SnapshotLabelledSealed(Part, frozen=True, kw_only=True):
    """Tags that came and went, and the new note (None: it stays, empty: it is gone)."""

    user: str
    host: str
    tags_added: tuple[str, ...] = ()
    tags_removed: tuple[str, ...] = ()
    note: str | None = None


class SnapshotsForgotten(Part, frozen=True, kw_only=True):
    """Nobody wants these snapshots any more; from `sweep_after_ns` (log time) on a prune may sweep them."""

    decision: Id
    snapshots: tuple[Id, ...]
    sweep_after_ns: int


class SnapshotsForgottenSealed(Part, frozen=True, kw_only=True):
    """Who decided, and by which rules (empty: the snapshots were named)."""

    user: str
    host: str
    rules: str = ""


class SnapshotsRecalled(Part, frozen=True, kw_only=True):
    """Forgotten snapshots are wanted again."""

    decision: Id
    snapshots: tuple[Id, ...]


class SnapshotsRecalledSealed(Part, frozen=True, kw_only=True):
    """Who decided."""

    user: str
    host: str


class HoldPlaced(Part, frozen=True, kw_only=True):
    """These snapshots must not be forgotten or swept until `until_ns` (log time; 0: until released).

    `is_whole`: every snapshot of the site, later ones too; with `name` in the sealed part every one of that name. A
    lock cannot be released before its time.
    """

    hold: Id
    snapshots: tuple[Id, ...] = ()
    is_whole: bool = False
    until_ns: int = 0
    is_lock: bool = False


class HoldPlacedSealed(Part, frozen=True, kw_only=True):
    """Who holds, why, and the NAME that is held (empty: the snapshots of the clear part)."""

    user: str
    host: str
    reason: str = ""
    name: str = ""


class HoldReleased(Part, frozen=True, kw_only=True):
    """A hold is over."""

    hold: Id


class HoldReleasedSealed(Part, frozen=True, kw_only=True):
    """Who released it, and why."""

    user: str
    host: str
    reason: str = ""


class SegmentsSuperseded(Part, frozen=True, kw_only=True):
    """The segments `new` (all in `packs`, which are complete and synced) hold whatever is still needed of `old`."""

    run: Id
    new: bytes
    old: bytes
    packs: tuple[PackRef, ...]


class PacksReplaced(Part, frozen=True, kw_only=True):
    """The segments of `removed` that are still needed lie in `packs` too, which are complete and synced."""

    job: Id
    packs: tuple[PackRef, ...]
    removed: tuple[Id, ...]


class SegmentsSwept(Part, frozen=True, kw_only=True):
    """These snapshots and segments are given up for ever: durable before the first byte of them goes.

    `packs`: those that go whole; other segments are punched out of packs that stay.
    """

    job: Id
    snapshots: tuple[Id, ...]
    segments: bytes
    packs: tuple[Id, ...] = ()
