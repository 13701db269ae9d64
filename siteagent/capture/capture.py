"""Capturing a view: the walk is merged with the previous catalog, what differs is read, a new catalog is built.

Nothing is acknowledged here: the caller finishes the store, writes manifest and reach, and commits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec import Struct, field

from shared.clock import Clock
from shared.errors import DamagedError, FarkeepError, HostileError
from shared.sealing import keyed_id
from shared.summary import EntryCounts
from shared.tree import ANCESTOR, CHANGED, FILE, HOLE, LINK, RACY, UNREADABLE, key_of, path_of
from siteagent.capture.ancestry import NONE as NO_ANCESTRY
from siteagent.capture.ancestry import Ancestry
from siteagent.capture.content import Content, ContentReader, Earlier
from siteagent.capture.deltas import Awaited
from siteagent.capture.moves import Moves
from siteagent.capture.outlet import Outlet, Replaced
from siteagent.capture.previous import NOTED_FILES_MAX, Previous, Slice
from siteagent.sources.base import Batch, Identity, Metadata, SmallFile, SourceError, View
from siteagent.store.catalog import Root
from siteagent.store.catalogbuilder import CatalogBuilder
from siteagent.store.chunker import WHOLE_FILE_MAX_BYTES
from siteagent.store.chunklist import PageSource, list_segments
from siteagent.store.delta import BaseChunk
from siteagent.store.entry import Entry
from siteagent.store.names import SegmentName
from siteagent.store.oldversion import OldVersion
from siteagent.store.writer import StoreWriter

_FILE_KIND, _FOLDER_KIND, _LINK_KIND = 0o10, 0o4, 0o12
_ERRORS_MAX = 10_000
_SCRATCH_BYTES = 1 << 20
_XATTRS_MAX_BYTES = 900 << 10
_NONE: tuple[int, ...] = ()
_Before = tuple[Slice | None, int]
_Ready = tuple[Entry | None, Awaited | None]
_ABSENT: _Before = (None, 0)
_NOT_READY: _Ready = (None, None)
_DELTA_MIN_BYTES = 2048
"""Below that, the names of base and chunk cost about what a delta saves."""


class CaptureOptions(Struct, frozen=True):
    """`margin_ns`: how much older than its reading a change must be for equal times to prove anything (2 s at least;
    60 s for live databases and machine images). `rechecks` tells which entries are read again although unchanged."""

    margin_ns: int = 2_000_000_000
    rechecks: Callable[[bytes], bool] | None = None


class Figures(Struct):
    """What a capture counted so far; read by the progress display while it runs."""

    files: int = 0
    folders: int = 0
    links: int = 0
    others: int = 0
    bytes_seen: int = 0
    new: int = 0
    changed: int = 0
    renamed: int = 0
    unchanged: int = 0
    changed_while_read: int = 0
    errors: list[SourceError] = field(default_factory=list)
    alarms: list[SourceError] = field(default_factory=list)


class Draft(NamedTuple):
    """A captured tree that is not committed yet, and all segments that it needs."""

    root: Root
    counts: EntryCounts
    figures: Figures
    needed: set[SegmentName]


class Capture:
    """One run over one view."""

    def __init__(self, view: View, store: StoreWriter, boundary_key: bytes, previous: Previous, source: PageSource,
                 clock: Clock, options: CaptureOptions | None = None, ancestry: Ancestry = NO_ANCESTRY,
                 checkpoint: Callable[[], None] | None = None) -> None:
        """`checkpoint` is called between folders, to commit packs of a long run."""
        self._view, self._store, self._previous, self._clock = view, store, previous, clock
        self._options = options or CaptureOptions()
        self._checkpoint = checkpoint
        self._source = source
        self.content = ContentReader(store, boundary_key)
        self._builder = CatalogBuilder(store, boundary_key, self._needs)
        self._outlet = Outlet(self._builder)
        self._moves = Moves(source, previous.catalog)
        self._ancestry = ancestry
        store.base_depth = ancestry.depth
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._links: dict[int, tuple[Identity, Content, bytes]] = {}
        self._appeared: set[tuple[int, int]] = set()
        self._started_ns = 0
        self.figures = Figures()

    def _needs(self, entry: Entry) -> set[SegmentName]:
        known = self.content.needs.get(entry.tree)
        if known is not None:
            return known
        at = len(entry.segments) - 1 - (entry.xattrs[:1] == b"\1") - (entry.target[:1] == b"\1")
        return list_segments(self._source, entry.tree, entry.segments[at])

    def run(self) -> Draft:
        """Capture everything; raises what the store raises. Trouble of the source is noted and passed over."""
        previous, figures = self._previous, self.figures
        for batch in self._view.batches():
            self._started_ns = self._clock.now_ns()
            slices = previous.take(batch.folder, batch.until)
            if self._options.rechecks is None and _is_unchanged(batch, slices):
                for part in slices:
                    self._outlet.add_unchanged(part.leaf, part.start, part.stop)
                figures.unchanged += len(batch.names)
                self._count(batch)
            else:
                self._merge(batch, slices)
            if self._checkpoint is not None:
                self._checkpoint()
        previous.finish()
        figures.errors += self._view.skipped.errors
        figures.renamed = len(self._appeared & previous.removed_files)
        self._outlet.finish()
        root = self._builder.finish()
        counts = EntryCounts(new=figures.new - figures.renamed, changed=figures.changed, renamed=figures.renamed,
                             removed=previous.removed - figures.renamed, unchanged=figures.unchanged)
        return Draft(root, counts, figures, self._builder.needed)

    def _count(self, batch: Batch) -> None:
        figures, kinds = self.figures, [identity[0] >> 12 for identity in batch.identities]
        files, folders, links = kinds.count(_FILE_KIND), kinds.count(_FOLDER_KIND), kinds.count(_LINK_KIND)
        figures.files += files
        figures.folders += folders - len(batch.ancestors)
        figures.links += links
        figures.others += len(kinds) - files - folders - links
        figures.bytes_seen += sum([identity[1] for identity in batch.identities if identity[0] >> 12 == _FILE_KIND])

    def _merge(self, batch: Batch, slices: list[Slice]) -> None:
        known = {name: (part, place) for part in slices for place, name in enumerate(part.names)}
        before = [known.pop(name, _ABSENT) for name in batch.names]
        same = [part is not None and part.identities[at] == identity
                for (part, at), identity in zip(before, batch.identities, strict=True)]
        rechecks = self._options.rechecks
        if rechecks is not None:
            same = [is_same and not rechecks(key_of(batch.folder, name))
                    for is_same, name in zip(same, batch.names, strict=True)]
        differing = [place for place, is_same in enumerate(same) if not is_same]
        moved = self._moved(batch, [place for place in differing if before[place][0] is None])
        small = self._small_files(batch, [place for place in differing if place not in moved], before)
        for place, (part, at) in enumerate(before):
            if same[place] and part is not None:
                self._outlet.add_unchanged(part.leaf, part.start + at, part.start + at + 1)
                self.figures.unchanged += 1
                continue
            known_entry = None if part is None else part.entry(at)
            entry, awaited = (moved[place], None) if place in moved else small(place)
            entry = entry or self._other(batch, place, known_entry)
            if entry is not None:
                self._outlet.add(entry, awaited, None if part is None else Replaced(part.leaf, part.start + at))
                self._note(entry, known_entry, part is not None and part.identities[at])
        for part, at in known.values():
            if part is not None:
                self._previous.note_removed(part, at)
        self._count(batch)

    def _moved(self, batch: Batch, places: list[int]) -> dict[int, Entry]:
        """Those of the new files that were somewhere else before: their content is not read."""
        rechecks, found = self._options.rechecks, dict[int, Entry]()
        for place in places:
            earlier = self._moves.find(batch.identities[place])
            if earlier is None or (rechecks is not None and rechecks(key_of(batch.folder, batch.names[place]))):
                continue
            with suppress(OSError, FarkeepError):
                if (entry := self._moved_entry(batch, place, earlier)) is not None:
                    found[place] = entry
        return found

    def _moved_entry(self, batch: Batch, place: int, earlier: Entry) -> Entry | None:
        if self._view.describe(batch, place).link_group or not all(map(self._store.may_keep, self._all(earlier))):
            return None
        reader = self._view.open(batch, place)
        try:
            if reader.is_stream or reader.identity() != batch.identities[place]:
                return None
            xattrs = reader.xattrs()
        finally:
            reader.close()
        content = earlier.segments[: len(earlier.segments) - (earlier.xattrs[:1] == b"\1")]
        return self._entry(batch, place, earlier.ids, earlier.lengths, earlier.tree, content, xattrs)

    def _all(self, entry: Entry) -> set[SegmentName]:
        """Every segment that the content of an entry needs."""
        return set(entry.segments) | (self._needs(entry) if entry.tree else set())

    def _small_files(self, batch: Batch, places: list[int], before: list[_Before]) -> Callable[[int], _Ready]:
        """Reads the small files among `places` in groups, ahead of the order in which their entries are asked for."""
        view = self._view
        waiting = [place for place in places if _is_small(batch.facts[place], batch.identities[place])
                   and not view.is_sparse(batch, place)]
        ready: dict[int, _Ready] = {}

        def entry(place: int) -> _Ready:
            while waiting and waiting[0] <= place:
                group = view.read_small(batch, waiting, self._scratch)
                del waiting[: len(group)]
                self._take(batch, group, ready, before)
            return ready.pop(place, _NOT_READY)

        return entry

    def _take(self, batch: Batch, group: list[SmallFile], ready: dict[int, _Ready], before: list[_Before]) -> None:
        store, scratch, key = self._store, self._scratch, self._store.chunk_key
        folder, names, describe = batch.folder, batch.names, self._view.describe
        recent_ns = self._started_ns - self._options.margin_ns
        for place, start, size, xattrs, error in group:
            if error is not None:
                if not isinstance(error, FileNotFoundError):
                    ready[place] = self._unreadable(batch, place, error), None
            elif size > 0:
                data = scratch[start : start + size]
                chunk_id = keyed_id(key, data)
                segment, delta = store.find(chunk_id), None
                if segment is None:
                    known, at = before[place]
                    delta = self._delta(known.entry(at), chunk_id, data) if known is not None else None
                    segment = b"" if delta is not None else store.put_new(chunk_id, data)
                self.content.bytes_read += size
                if xattrs:
                    ready[place] = self._entry(batch, place, chunk_id, _NONE, b"", (segment,), xattrs), delta
                    continue
                about = describe(batch, place)
                flags = RACY if about.mtime_ns > recent_ns or about.ctime_ns > recent_ns else 0
                ready[place] = Entry._make((folder, names[place], *about, flags, chunk_id, _NONE, b"", b"", b"",
                                            (segment,), ())), delta  # fmt: skip
            elif size == 0:
                ready[place] = self._entry(batch, place, b"", _NONE, b"", (), xattrs), None

    def _delta(self, before: Entry, chunk_id: bytes, data: memoryview) -> Awaited | None:
        """A changed small file as delta of the plain chunk that its earlier content is or rests on."""
        if len(data) < _DELTA_MIN_BYTES or len(before.ids) != len(chunk_id) or before.ids == HOLE or before.size == 0:
            return None
        try:
            found = self._store.shallow_base(BaseChunk(before.segments[0], before.ids), 0)
        except (DamagedError, HostileError):
            return None
        return Awaited(self._store, [chunk_id], [len(data)], bytes(data), found) if found is not None else None

    def _note(self, entry: Entry, before: Entry | None, trusted: object) -> None:
        """Count an entry that was captured as new, changed, or (only read again) unchanged.

        Folders on the way to a root are no part of the source: what else happens in them is not counted.
        """
        figures = self.figures
        if entry.flags & ANCESTOR:
            return
        if before is None:
            figures.new += 1
            if entry.type == FILE and entry.size and self._previous.catalog and len(self._appeared) < NOTED_FILES_MAX:
                self._appeared.add((entry.inode, entry.size))
        elif _identity(before) != _identity(entry):
            figures.changed += 1
        elif (before.ids, before.lengths, before.tree) == (entry.ids, entry.lengths, entry.tree):
            figures.unchanged += 1
        else:
            figures.changed += 1
            if trusted and not entry.flags & UNREADABLE:
                figures.alarms.append(SourceError(entry.path, "its content changed while size and times did not"))

    def _other(self, batch: Batch, place: int, before: Entry | None) -> Entry | None:
        """Capture anything but a small plain file; None when it vanished (a folder stays: what is in it may come)."""
        try:
            return self._capture(batch, place, before)
        except FileNotFoundError as error:
            is_folder = batch.identities[place][0] >> 12 == _FOLDER_KIND
            return self._unreadable(batch, place, error) if is_folder else None
        except OSError as error:
            return self._unreadable(batch, place, error)

    def _unreadable(self, batch: Batch, place: int, error: OSError) -> Entry:
        if len(self.figures.errors) < _ERRORS_MAX:
            path = path_of(batch.folder, batch.names[place])
            self.figures.errors.append(SourceError(path, error.strerror or str(error)))
        return self._entry(batch, place, b"", _NONE, b"", (), b"", flags=UNREADABLE)

    def _capture(self, batch: Batch, place: int, before: Entry | None) -> Entry:
        view, about = self._view, self._view.describe(batch, place)
        if about.type == FILE:
            return self._capture_file(batch, place, about, before)
        if batch.names[place] in batch.ancestors:
            return self._entry(batch, place, b"", _NONE, b"", (), b"", flags=ANCESTOR)
        target = view.target(batch, place) if about.type == LINK else b""
        return self._entry(batch, place, b"", _NONE, b"", (), view.xattrs(batch, place), target=target)

    def _earlier(self, before: Entry | None, size: int) -> Earlier | None:
        """The earlier versions of a file, to be opened when they are needed."""
        catalog = self._previous.catalog
        if before is None or catalog is None or not (before.tree or before.ids):
            return None
        key = before.folder, before.name

        def older() -> list[OldVersion]:
            return [OldVersion(*version) for version in self._ancestry.versions(*key)]

        return Earlier(lambda: OldVersion(catalog, before), older, size)

    def _capture_file(self, batch: Batch, place: int, about: Metadata, before: Entry | None) -> Entry:
        known = self._links.get(about.link_group) if about.link_group else None
        if known is not None and known[0] == batch.identities[place]:
            _, content, xattrs = known
        else:
            reader = self._view.open(batch, place)
            try:
                is_sparse = self._view.is_sparse(batch, place)
                earlier = self._earlier(before, about.size)
                content = self.content.read(self._view, batch, place, reader, is_sparse, earlier)
                xattrs = reader.xattrs()
            finally:
                reader.close()
            self.figures.changed_while_read += content.is_changed
            if about.link_group:
                self._links[about.link_group] = batch.identities[place], content, xattrs
        flags = CHANGED if content.is_changed else 0
        entry = self._entry(batch, place, content.ids, content.lengths, content.tree, content.segments, xattrs,
                            flags=flags)  # fmt: skip
        return entry._replace(size=content.size) if content.is_changed else entry

    def _entry(self, batch: Batch, place: int, ids: bytes, lengths: tuple[int, ...], tree: bytes,
               segments: tuple[SegmentName, ...], xattrs: bytes, *, target: bytes = b"", flags: int = 0) -> Entry:
        about = self._view.describe(batch, place)
        if max(about.mtime_ns, about.ctime_ns) > self._started_ns - self._options.margin_ns:
            flags |= RACY
        if target:
            target, more = self._builder.stored_value(target)
            segments += more
        if len(xattrs) > _XATTRS_MAX_BYTES:
            self.figures.errors.append(SourceError(path_of(batch.folder, batch.names[place]),
                                                   f"its extended attributes of {len(xattrs)} bytes were left out"))
            xattrs = b""
        if xattrs:
            xattrs, more = self._builder.stored_value(xattrs)
            segments += more
        return Entry._make((batch.folder, batch.names[place], *about, flags, ids, lengths, tree, target, xattrs,
                            segments, ()))  # fmt: skip


def _identity(entry: Entry) -> tuple[int, int, int, int, int]:
    return entry.mode, entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode


def _is_small(facts: Any, identity: Identity) -> bool:
    """True for a plain file with one name that is one chunk."""
    return identity[0] >> 12 == _FILE_KIND and identity[1] <= WHOLE_FILE_MAX_BYTES and facts.st_nlink == 1


def _is_unchanged(batch: Batch, slices: list[Slice]) -> bool:
    if len(slices) == 1:
        return slices[0].names == batch.names and slices[0].identities == batch.identities
    at = 0
    for part in slices:
        stop = at + len(part.names)
        if part.names != batch.names[at:stop] or part.identities != batch.identities[at:stop]:
            return False
        at = stop
    return at == len(batch.names)
