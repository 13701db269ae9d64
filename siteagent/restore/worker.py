"""The writing part of a restore: windows of entry pages, segment by segment, so that each segment is opened once.

It runs in the restoring process or in a process of its own; folders' metadata, hard links and large files are left to
the leading process, which alone sees all of the tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from shared.errors import DamagedError, FarkeepError, HostileError
from shared.tree import FILE, FOLDER, HOLE, UNREADABLE, child_folder, components_of, path_of
from siteagent.disk.confined import Confined, are_safe, safe_component
from siteagent.restore.filewriter import FileWriter, lying
from siteagent.restore.messages import Answer, FolderNote, PartRequest, Request, RowRef, WindowRequest
from siteagent.restore.metadata import Applier
from siteagent.sources.base import Selection
from siteagent.store.catalog import EMPTY, Catalog
from siteagent.store.entry import Entry
from siteagent.store.names import SegmentName
from siteagent.store.opened import OpenTable, missing
from siteagent.store.page import EntryPage
from siteagent.store.reader import SegmentReader

PART_BYTES = 32 << 20
_SEGMENTS_PER_ANSWER = 16
_ID_BYTES = 32
_NEIGHBOURS_SHIFT = 2
"""Four segments in a row go to the same worker: a file that lies across two of them finds both at hand."""


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

    def wants_all(self, folders: list[tuple[bytes, int, int]]) -> bool:
        """True when everything in these folders is to be restored."""
        if self.only_name or self._selection is not None or folders[0][0] == b"":
            return False
        return not self.prefix or all(
            folder == self.prefix or folder.startswith(self._inside) for folder, _, _ in folders
        )

    def folder(self, folder: bytes) -> tuple[bytes, ...]:
        """Path of a folder below the target."""
        known, path = self._folder
        if known is not folder and known != folder:
            inside = known + b"\0"
            if known and folder.startswith(inside):
                path = (*path, *components_of(folder[len(inside) :]))
            elif folder and known.startswith(folder + b"\0") and folder.startswith(self.prefix):
                path = path[: folder.count(b"\0") + 1 - self._depth]
            else:
                path = tuple(components_of(folder)[self._depth :])
            self._folder = folder, path
        return path


class Worker:
    """Writes what it is asked to."""

    def __init__(self, reader: SegmentReader, confined: Confined, mapping: Mapping, chunk_key: bytes) -> None:
        self._reader, self._confined, self.mapping = reader, confined, mapping
        self.catalog = Catalog(reader, EMPTY)
        self.writer = FileWriter(reader, Applier(os.geteuid(), os.getegid()), chunk_key)
        self._answer = Answer()
        self._newest_page: tuple[bytes, list[Entry]] = (b"", [])

    def perform(self, request: Request) -> Iterator[Answer]:
        """Do one request; what came of it is told in one or several answers."""
        self._reset()
        if isinstance(request, WindowRequest):
            yield from self._window(request)
        else:
            self._part(request)
        yield self._closed(is_last=True)

    def _reset(self) -> None:
        self._answer = Answer()
        self.writer.applier.not_applied, self.writer.applier.reasons = 0, None

    def _closed(self, *, is_last: bool) -> Answer:
        answer, applier = self._answer, self.writer.applier
        answer.not_applied, answer.reasons = applier.not_applied, sorted(applier.reasons or ())
        answer.is_last = is_last
        self._reset()
        return answer

    def entry(self, ref: RowRef) -> Entry:
        """The entry at a place; raises DamagedError."""
        return self._page(ref.page_id, ref.segment)[ref.row]

    def _page(self, page_id: bytes, segment: bytes) -> list[Entry]:
        if self._newest_page[0] != page_id:
            page = EntryPage(self._reader.chunk(segment, page_id), self._reader.side(segment, page_id))
            self._newest_page = page_id, page.rows()
        return self._newest_page[1]

    def _window(self, request: WindowRequest) -> Iterator[Answer]:
        small: dict[bytes, list[Entry]] = {}
        for ordinal, (page_id, segment) in enumerate(request.pages):
            try:
                page = EntryPage(self._reader.chunk(segment, page_id), self._reader.side(segment, page_id))
                rows = page.some_rows(_share_of(request, ordinal))
                if not are_safe(page.names):
                    rows = [row for row in rows if self._is_safe(row[1])]
            except FarkeepError as error:
                if ordinal % request.shares == request.share:
                    self.fail(b"(a page of the catalog)", error)
                continue
            is_all = self.mapping.wants_all(page.folders)
            for place, entry in rows:
                if not is_all and not self.mapping.wants(entry):
                    continue
                if entry.type == FILE and not (entry.link_group or entry.tree or entry.flags & UNREADABLE):
                    small.setdefault(entry.segments[0] if entry.segments else b"", []).append(entry)
                else:
                    self._sort(entry, RowRef(page_id, segment, place))
        for number, (segment, entries) in enumerate(small.items(), 1):
            self._segment(segment, entries)
            if number % _SEGMENTS_PER_ANSWER == 0:
                yield self._closed(is_last=False)

    def _is_safe(self, entry: Entry) -> bool:
        try:
            return not (entry.name or entry.folder) or bool(safe_component(entry.name))
        except HostileError as error:
            self.fail(entry.path, error)
            return False

    def _sort(self, entry: Entry, ref: RowRef) -> None:
        """What is no plain small file: folders and special entries at once, the rest is left to the leader."""
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
        else:
            answer.large.append(ref)

    def folder_note(self, entry: Entry) -> FolderNote:
        """What is to be applied to a folder in the end."""
        folder = child_folder(entry.folder, entry.name)
        return FolderNote(folder, entry.mode, entry.uid, entry.gid, entry.mtime_ns, self.catalog.xattrs(entry))

    def _special(self, entry: Entry) -> None:
        try:
            folder = self._confined.folder(self.mapping.folder(entry.folder))
            target = self.catalog.target(entry)
            self._answer.written += self.writer.special(folder, entry, target, self.catalog.xattrs(entry))
        except (OSError, FarkeepError) as error:
            self.fail(entry.path, error)

    def _segment(self, segment: bytes, entries: list[Entry]) -> None:
        """Small files whose content begins in one segment."""
        chunks, answer = _Chunks(self._reader, segment), self._answer
        key, folder, is_plain = None, -1, False
        answer.files += len(entries)
        for entry in entries:
            try:
                if entry.folder is not key:
                    path = self.mapping.folder(entry.folder)
                    key, folder, is_plain = entry.folder, self._confined.folder(path), self._confined.is_plain(path)
                ids = entry.ids
                is_simple = is_plain and (not ids or (len(ids) == _ID_BYTES and ids != HOLE))
                if not is_simple or not self._write_fresh(folder, entry, chunks.get(ids) if ids else b""):
                    xattrs = self.catalog.xattrs(entry) if entry.xattrs else b""
                    if self._is_needed(folder, entry, xattrs):
                        self.rewrite(folder, entry, xattrs)
            except (OSError, FarkeepError) as error:
                key = None
                self.fail(entry.path, error)

    def _write_fresh(self, folder: int, entry: Entry, data: bytes | memoryview) -> bool:
        """Write a file where nothing can be yet; False when there was something after all."""
        if len(data) != entry.size:
            raise lying(entry)
        try:
            self.writer.fresh(folder, entry, data, self.catalog.xattrs(entry) if entry.xattrs else b"")
        except FileExistsError:
            return False
        self._answer.written += 1
        self._answer.bytes_written += len(data)
        return True

    def _is_needed(self, folder: int, entry: Entry, xattrs: bytes) -> bool:
        if not self.writer.is_there(folder, entry, self.catalog.placed(entry), xattrs):
            return True
        self._answer.unchanged += 1
        return False

    def rewrite(self, folder: int, entry: Entry, xattrs: bytes) -> None:
        """Write a whole file beside what is there, and rename it over."""
        handle = self.writer.begin(folder, entry)
        try:
            count = self.writer.fill(handle, entry, self.catalog.placed(entry), 0, entry.size)
        except BaseException:
            self.writer.give_up(folder, entry, handle)
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
            handle = self.writer.open_part(folder, entry, (request.device, request.inode))
            try:
                placed = self.catalog.placed(entry, request.start)
                count = self.writer.fill(handle, entry, placed, request.start, request.stop)
                self._answer.bytes_written += count
            finally:
                os.close(handle)
        except (OSError, FarkeepError) as error:
            self.fail(from_path, error)

    def write_one(self, entry: Entry) -> Answer:
        """Write one file or special entry whole (the first name of a hard-linked file)."""
        self._reset()
        answer = self._answer
        folder = self._confined.folder(self.mapping.folder(entry.folder))
        xattrs = self.catalog.xattrs(entry)
        if entry.type != FILE:
            answer.written += self.writer.special(folder, entry, self.catalog.target(entry), xattrs)
        else:
            require_content(entry)
            answer.files += 1
            if self._is_needed(folder, entry, xattrs):
                self.rewrite(folder, entry, xattrs)
        return self._closed(is_last=True)

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
    # By its kind: what is of a newer format is passed over like hostile bytes, and is none.
    answer.hostile += isinstance(error, FarkeepError) and error.kind == HostileError.kind
    answer.errors.append((path, reason))


def _share_of(request: WindowRequest, ordinal: int) -> Callable[[int, int, tuple[SegmentName, ...]], bool]:
    """Which entries of a page a worker takes."""
    share, shares = request.share, request.shares
    is_mine = ordinal % shares == share

    def wants(kind: int, group: int, segments: tuple[SegmentName, ...]) -> bool:
        if kind != FILE or group or not segments:
            return is_mine
        return (segments[0][-1] >> _NEIGHBOURS_SHIFT) % shares == share

    return wants if shares > 1 else lambda *_: True


class _Chunks:
    """The chunks of one segment, which is opened when the first one is asked for."""

    def __init__(self, reader: SegmentReader, segment: bytes) -> None:
        self._reader, self._segment = reader, segment
        self._head: OpenTable | None = None
        self._frames: dict[int, memoryview] = {}

    def get(self, chunk_id: bytes) -> memoryview:
        """A chunk's plaintext; raises DamagedError."""
        if self._segment in self._reader.successors:
            return self._reader.chunk(self._segment, chunk_id)
        head = self._head = self._head or self._reader.open_whole(self._segment)
        place = head.places.get(chunk_id)
        if place is None:
            raise missing(self._segment, "a chunk is not in the segment that should hold it")
        number = head.table.chunk_frames[place]
        frame = self._frames.get(number)
        if frame is None:
            frame = self._frames[number] = memoryview(self._reader.frame(self._segment, number))
        offset = head.offsets[place]
        return frame[offset : offset + head.table.lengths[place]]
