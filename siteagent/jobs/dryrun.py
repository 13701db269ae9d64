"""What a backup would do: the walk is compared with the previous snapshot; nothing is read or written."""

from __future__ import annotations

import stat

from msgspec import Struct, field

from shared.summary import EntryCounts
from shared.tree import key_of
from siteagent.capture.capture import CaptureOptions
from siteagent.capture.previous import Previous, Slice
from siteagent.home import Home
from siteagent.jobs.backup import catalog_to_compare, newest_complete
from siteagent.salvage import refresh_index, unusable_segments
from siteagent.sources.base import Batch, Identity, SourceError, View


class Preview(Struct):
    """What would come of a backup. `files_to_read` and `bytes_to_read` are those not known to be unchanged."""

    files: int = 0
    folders: int = 0
    bytes_seen: int = 0
    files_to_read: int = 0
    bytes_to_read: int = 0
    seconds: float = 0.0
    counts: EntryCounts = field(default_factory=EntryCounts)
    errors: list[SourceError] = field(default_factory=list)


def preview_backup(home: Home, name: str, view: View, options: CaptureOptions) -> Preview:
    """Compare a view with the newest complete snapshot of `name`; closes the view."""
    began_ns = home.world.clock.monotonic_ns()
    refresh_index(home)
    previous = newest_complete(home.ledger.history(), name)
    comparison = _Comparison(Previous(catalog_to_compare(home, previous), unusable_segments(home)), options)
    try:
        for batch in view.batches():
            comparison.add(batch)
    finally:
        view.close()
    result = comparison.finish()
    result.errors = list(view.skipped.errors)
    result.seconds = (home.world.clock.monotonic_ns() - began_ns) / 1e9
    return result


class _Comparison:
    def __init__(self, previous: Previous, options: CaptureOptions) -> None:
        self._previous, self._rechecks = previous, options.rechecks
        self._new = self._changed = self._unchanged = 0
        self._appeared: set[tuple[int, int]] = set()
        self.result = Preview()

    def add(self, batch: Batch) -> None:
        slices = self._previous.take(batch.folder, batch.until)
        known = {name: (part, place) for part in slices for place, name in enumerate(part.names)}
        for name, identity in zip(batch.names, batch.identities, strict=True):
            before = known.pop(name, None)
            if name not in batch.ancestors:
                self._entry(key_of(batch.folder, name), identity, before)
        for part, place in known.values():
            self._previous.note_removed(part, place)

    def _entry(self, key: bytes, identity: Identity, before: tuple[Slice, int] | None) -> None:
        result, is_file = self.result, stat.S_ISREG(identity[0])
        size = identity[1] if is_file else 0
        result.files += is_file
        result.folders += stat.S_ISDIR(identity[0])
        result.bytes_seen += size
        trusted = before[0].identities[before[1]] if before is not None else None
        if is_file and (trusted != identity or (self._rechecks is not None and self._rechecks(key))):
            result.files_to_read += 1
            result.bytes_to_read += size
        if before is None:
            self._new += 1
            if size:
                self._appeared.add((identity[4], size))
        elif trusted == identity or _stored_identity(before) == identity:
            self._unchanged += 1
        else:
            self._changed += 1

    def finish(self) -> Preview:
        self._previous.finish()
        renamed = len(self._appeared & self._previous.removed_files)
        self.result.counts = EntryCounts(new=self._new - renamed, changed=self._changed, renamed=renamed,
                                         removed=self._previous.removed - renamed, unchanged=self._unchanged)
        return self.result


def _stored_identity(before: tuple[Slice, int]) -> Identity:
    entry = before[0].entry(before[1])
    return entry.mode, entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode
