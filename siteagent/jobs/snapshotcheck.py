"""The part of a verification that goes snapshot by snapshot: fact, manifest, reach and catalog against each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from shared.errors import FarkeepError
from shared.facts import SnapshotTaken
from shared.manifest import Manifest, manifest_digest
from shared.summary import SnapshotSummary
from siteagent.home import Home
from siteagent.store.catalog import Root
from siteagent.store.names import SegmentName
from siteagent.store.reader import SegmentReader
from siteagent.store.treecheck import Needs, TreeCheck

_MISSING = "it is in no pack that reads"


class KnownSnapshot(Struct, frozen=True):
    """A snapshot to be checked: its id, and what its fact says as far as there is one that can be read."""

    id: bytes
    taken: SnapshotTaken | None
    summary: SnapshotSummary | None


class SnapshotProgress(Protocol):
    """Who is told how far it went."""

    snapshots_done: int


def known_snapshots(home: Home, problems: list[tuple[str, str]]) -> list[KnownSnapshot]:
    """All snapshots by their facts, oldest first; by their manifests when the log does not read."""
    try:
        entries = home.ledger.history().snapshots
    except FarkeepError as error:
        problems.append(("log", f"it does not read, the manifests were followed instead: {error.message}"))
        return [KnownSnapshot(snapshot, None, None) for snapshot in home.snapshots.manifests()]
    return [KnownSnapshot(entry.id, entry.taken, entry.summary) for entry in entries]


class SnapshotCheck:
    """Checks snapshots one after the other; `is_present` says whether a pack holds a segment.

    `roots`: the catalogs that were checked; `damaged`: what is wrong with segments, by name.
    """

    def __init__(self, home: Home, reader: SegmentReader, is_present: Callable[[SegmentName], bool],
                 progress: SnapshotProgress) -> None:
        self._home, self._is_present, self._progress = home, is_present, progress
        self._trees = TreeCheck(reader)
        self._checked: list[KnownSnapshot] = []
        self._needs_of: dict[bytes, set[SegmentName]] = {}
        self.roots: list[Root] = []
        self.problems: list[tuple[str, str]] = []
        self.not_proven: list[str] = []
        self.damaged = self._trees.result.damaged

    def check(self, snapshot: KnownSnapshot) -> None:
        """Check one snapshot."""
        self._checked.append(snapshot)
        summary = self._manifest_summary(snapshot)
        segments = self._segments(snapshot)
        for name in self._home.successors.closed(segments or ()):
            if not self._is_present(name):
                self.damaged.setdefault(name, _MISSING)
        if summary is not None:
            self._check_catalog(snapshot, summary, segments)
        self._progress.snapshots_done += 1

    def _manifest_summary(self, snapshot: KnownSnapshot) -> SnapshotSummary | None:
        """Compare the manifest with the fact; returns what either says the catalog is."""
        taken = snapshot.taken
        subject = f"snapshots/{snapshot.id.hex()}.manifest"
        try:
            manifest = self._home.snapshots.manifest(snapshot.id, taken.manifest if taken else None)
            if (what := self._difference(manifest, snapshot)):
                self.problems.append((subject, what))
        except FarkeepError as error:
            self.problems.append((subject, error.message))
            return snapshot.summary
        if taken is not None and snapshot.summary is None:
            self.not_proven.append(f"snapshot {snapshot.id.hex()}: its catalog was not opened, for what its fact says "
                                   "was erased or its key is missing")
            return None
        return manifest.body.summary

    def _difference(self, manifest: Manifest, snapshot: KnownSnapshot) -> str:
        taken = snapshot.taken
        if manifest.header.site != self._home.keyring.site_id or manifest.header.snapshot != snapshot.id:
            return "a manifest is another site's or another snapshot's"
        if taken is None:
            return ""
        data_digest = manifest_digest(self._home.snapshots.manifest_bytes(snapshot.id))
        is_repeated = manifest.to_fact(data_digest) == taken and snapshot.summary in (None, manifest.body.summary)
        return "" if is_repeated else "a manifest does not repeat the fact of its snapshot"

    def _segments(self, snapshot: KnownSnapshot) -> set[SegmentName] | None:
        """The segments by the reach file; None when it does not read."""
        try:
            return self._home.snapshots.segments(snapshot.id, snapshot.taken.reach if snapshot.taken else None)
        except FarkeepError as error:
            self.problems.append((f"reaches/{snapshot.id.hex()}", error.message))
            return None

    def _check_catalog(self, snapshot: KnownSnapshot, summary: SnapshotSummary,
                       segments: set[SegmentName] | None) -> None:
        root = Root(summary.root_page, summary.root_segment, summary.levels)
        wrong_before = len(self._trees.result.wrong)
        needs = self._trees.check(root)
        self.roots.append(root)
        for path, what in list(self._trees.result.wrong.items())[wrong_before:]:
            self.problems.append((path.decode("utf-8", "surrogateescape"), what))
        if segments is None:
            self._needs_of[snapshot.id] = needs.segments
        elif (what := _disagreement(segments, needs)):
            self.problems.append((f"reaches/{snapshot.id.hex()}", what))

    def needed_by(self, names: set[SegmentName]) -> dict[SegmentName, list[bytes]]:
        """The snapshots that need each of these segments, oldest first."""
        found: dict[SegmentName, list[bytes]] = {name: [] for name in names}
        for snapshot in self._checked:
            needs = self._known_needs(snapshot)
            for name in names & (needs | self._home.successors.closed(needs)):
                found[name].append(snapshot.id)
        return found

    def _known_needs(self, snapshot: KnownSnapshot) -> set[SegmentName]:
        if snapshot.id in self._needs_of:
            return self._needs_of[snapshot.id]
        try:
            return self._home.snapshots.segments(snapshot.id)
        except FarkeepError:
            return set()


def _disagreement(segments: set[SegmentName], needs: Needs) -> str:
    """How a reach and the pages' own sets differ; empty when they agree as far as pages could be read."""
    if lacking := len(needs.segments - segments):
        return f"a reach lacks {lacking} segments that its catalog needs"
    if needs.is_whole and (spare := len(segments - needs.segments)):
        return f"a reach has {spare} segments that its catalog does not need"
    return ""
