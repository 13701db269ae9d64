"""The writing part of a restore: windows of entry pages, segment by segment, so that each segment is opened once.

It runs in the restoring process or in a process of its own; folders' metadata, hard links and large files are left to
the leading process, which alone sees all of the tree.
"""

from __future__ import annotations

import os

from shared.errors import DamagedError, FarkeepError, HostileError
from shared.tree import FILE, FOLDER, UNREADABLE, components_of, path_of
from siteagent.disk.confined import Confined
from siteagent.restore.filewriter import FileWriter
from siteagent.restore.messages import Answer, FolderNote, PartRequest, Request, RowRef, WindowRequest
from siteagent.restore.metadata import Applier
from siteagent.sources.base import Selection
from siteagent.store.catalog import EMPTY, Catalog
from siteagent.store.entry import Entry
from siteagent.store.page import EntryPage
from siteagent.store.reader import OpenSegment, SegmentReader

LARGE_BYTES = 8 << 20
PART_BYTES = 32 << 20


class Mapping:
    """Which entries are wanted and where they go below the target."""

    def __init__(self, prefix: bytes, only_name: bytes = b"", selection: Selection | None = None) -> None:
        """`prefix`: folder key whose contents land in the target; `only_name`: a single entry of that folder."""
        self.prefix, self.only_name, self._selection = prefix, only_name, selection
        self._depth = len(components_of(prefix))
        self._inside = prefix + b"\0"
        self._root = path_of(prefix, b"")
        self._folder: tuple[bytes, tuple[bytes, ...]] = (prefix, ())

    def wants(self, entry: Entry) -> bool:
        """True when an entry is to be restored."""
        folder = entry.folder
        if not entry.name or (folder != self.prefix and self.prefix and not folder.startswith(self._inside)):
            return False
        if self.only_name and (folder != self.prefix or entry.name != self.only_name):
            return False
        return self._selection is None or not self._selection.excludes(
            self._root, entry.path, is_folder=entry.type == FOLDER, size_bytes=entry.size
        )

    def folder(self, folder: bytes) -> tuple[bytes, ...]:
        """Path of a folder below the target."""
        if self._folder[0] != folder:
            self._folder = folder, tuple(components_of(folder)[self._depth :])
        return self._folder[1]


class Worker:
    """Writes what it is asked to."""

    def __init__(self, reader: SegmentReader, confined: Confined, mapping: Mapping, chunk_key: bytes) -> None:
        self._reader, self._confined, self.mapping = reader, confined, mapping
        self.catalog = Catalog(reader, EMPTY)
        self.writer = FileWriter(reader, Applier(os.geteuid(), os.getegid()), chunk_key)
        self._answer = Answer()

    def perform(self, request: Request) -> Answer:
        """Do one request and say what came of it."""
        self._answer = answer = Answer()
        applier = self.writer.applier
        applier.not_applied, applier.reasons = 0, None
        if isinstance(request, WindowRequest):
            self._window(request)
        else:
            self._part(request)
        answer.not_applied, answer.reasons = applier.not_applied, sorted(applier.reasons or ())
        return answer

    def entry(self, ref: RowRef) -> Entry:
        """The entry at a place; raises DamagedError."""
        return self._page(ref.page_id, ref.segment)[ref.row]

    def _page(self, page_id: bytes, segment: bytes) -> list[Entry]:
        return EntryPage(self._reader.chunk(segment, page_id), self._reader.side(segment, page_id)).rows()

    def _window(self, request: WindowRequest) -> None:
        small: dict[bytes, list[Entry]] = {}
        for page_id, segment in request.pages:
            try:
                rows = self._page(page_id, segment)
            except FarkeepError as error:
                self.fail(b"(a page of the catalog)", error)
                continue
            for number, entry in enumerate(rows):
                if self.mapping.wants(entry):
                    self._sort(entry, RowRef(page_id, segment, number), small)
        for segment, entries in small.items():
            self._segment(segment, entries)

    def _sort(self, entry: Entry, ref: RowRef, small: dict[bytes, list[Entry]]) -> None:
        """Folders at once, small files by segment, the rest where it belongs."""
        answer = self._answer
        if entry.type == FOLDER:
            try:
                self._confined.folder((*self.mapping.folder(entry.folder), entry.name))
                answer.folders.append(self.folder_note(entry))
            except (OSError, FarkeepError) as error:
                self.fail(entry.path, error)
        elif entry.link_group:
            answer.links.append(ref)
        elif entry.type != FILE:
            self._special(entry)
        elif entry.flags & UNREADABLE:
            answer.files += 1
            self.fail(entry.path, OSError(0, "it could not be read when the snapshot was taken"))
        elif entry.tree or entry.size > LARGE_BYTES:
            answer.large.append(ref)
        else:
            small.setdefault(entry.segments[0] if entry.ids and entry.segments else b"", []).append(entry)

    def folder_note(self, entry: Entry) -> FolderNote:
        """What is to be applied to a folder in the end."""
        path = (*self.mapping.folder(entry.folder), entry.name)
        return FolderNote(path, entry.mode, entry.uid, entry.gid, entry.mtime_ns, self.catalog.xattrs(entry))

    def _special(self, entry: Entry) -> None:
        try:
            folder = self._confined.folder(self.mapping.folder(entry.folder))
            target = self.catalog.target(entry)
            self._answer.written += self.writer.special(folder, entry, target, self.catalog.xattrs(entry))
        except (OSError, FarkeepError) as error:
            self.fail(entry.path, error)

    def _segment(self, segment: bytes, entries: list[Entry]) -> None:
        """Small files whose content begins in one segment."""
        opened: OpenSegment | None = None
        frames: dict[int, memoryview] = {}
        for entry in entries:
            self._answer.files += 1
            try:
                path = self.mapping.folder(entry.folder)
                folder = self._confined.folder(path)
                xattrs = self.catalog.xattrs(entry) if entry.xattrs else b""
                if path not in self._confined.plain and not self._is_needed(folder, entry, xattrs):
                    continue
                data: bytes | memoryview = b""
                if len(entry.ids) == 32 and segment:
                    opened = opened or self._reader.segment(segment)
                    data = _chunk(opened, frames, entry.ids)
                if path in self._confined.plain and (data or not entry.size):
                    self._write_fresh(folder, entry, data, xattrs)
                else:
                    self.rewrite(folder, entry, xattrs)
            except (OSError, FarkeepError) as error:
                self.fail(entry.path, error)

    def _write_fresh(self, folder: int, entry: Entry, data: bytes | memoryview, xattrs: bytes) -> None:
        try:
            self.writer.fresh(folder, entry, data, xattrs)
            self._answer.written += 1
            self._answer.bytes_written += len(data)
        except FileExistsError:
            if self._is_needed(folder, entry, xattrs):
                self.rewrite(folder, entry, xattrs)

    def _is_needed(self, folder: int, entry: Entry, xattrs: bytes) -> bool:
        if not self.writer.is_there(folder, entry, self.catalog.placed(entry), xattrs):
            return True
        self._answer.unchanged += 1
        return False

    def rewrite(self, folder: int, entry: Entry, xattrs: bytes) -> None:
        """Write a whole file beside what is there, and rename it over."""
        handle = self.writer.begin(folder, entry)
        try:
            count = self.writer.fill(handle, self.catalog.placed(entry), 0, entry.size)
        except BaseException:
            os.close(handle)
            raise
        self.writer.finish(folder, entry, handle, xattrs)
        self._answer.written += 1
        self._answer.bytes_written += count

    def _part(self, request: PartRequest) -> None:
        from_path = b""
        try:
            entry = self.entry(request.entry)
            from_path = entry.path
            folder = self._confined.folder(self.mapping.folder(entry.folder))
            handle = self.writer.open_part(folder, entry)
            try:
                placed = self.catalog.placed(entry, request.start)
                self._answer.bytes_written += self.writer.fill(handle, placed, request.start, request.stop)
            finally:
                os.close(handle)
        except (OSError, FarkeepError) as error:
            self.fail(from_path, error)

    def write_one(self, entry: Entry) -> Answer:
        """Write one file or special entry whole (the first name of a hard-linked file)."""
        self._answer = answer = Answer()
        applier = self.writer.applier
        applier.not_applied, applier.reasons = 0, None
        folder = self._confined.folder(self.mapping.folder(entry.folder))
        xattrs = self.catalog.xattrs(entry)
        if entry.type != FILE:
            answer.written += self.writer.special(folder, entry, self.catalog.target(entry), xattrs)
        else:
            require_content(entry)
            answer.files += 1
            if self._is_needed(folder, entry, xattrs):
                self.rewrite(folder, entry, xattrs)
        answer.not_applied, answer.reasons = applier.not_applied, sorted(applier.reasons or ())
        return answer

    def fail(self, path: bytes, error: OSError | FarkeepError) -> None:
        """Note an entry that could not be restored."""
        note_error(self._answer, path, error)


def require_content(entry: Entry) -> None:
    """Raise OSError for an entry whose content is not in the snapshot."""
    if entry.flags & UNREADABLE:
        raise OSError(0, "it could not be read when the snapshot was taken")


def note_error(answer: Answer, path: bytes, error: OSError | FarkeepError) -> None:
    """Add an entry that could not be restored, and why, to an answer."""
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    answer.damaged += isinstance(error, DamagedError)
    answer.hostile += isinstance(error, HostileError)
    answer.errors.append((path, reason))


def _chunk(opened: OpenSegment, frames: dict[int, memoryview], chunk_id: bytes) -> memoryview:
    head = opened.head
    place = head.places.get(chunk_id)
    if place is None:
        raise DamagedError("a chunk is not in the segment that should hold it", subject=head.header.name.hex(),
                           next_step="run `farkeep verify --read-data`")
    number = head.table.chunk_frames[place]
    frame = frames.get(number)
    if frame is None:
        frame = frames[number] = memoryview(opened.frame(number))
    offset = head.offsets[place]
    return frame[offset : offset + head.table.lengths[place]]
