"""Leading one restore: windows and parts for the crew, then hard links, then the folders' metadata from below."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct, field

from shared.errors import FarkeepError
from shared.tree import FILE, FOLDER, path_of
from siteagent.disk.confined import Confined
from siteagent.restore.crew import Crew
from siteagent.restore.messages import Answer, FolderNote, PartRequest, RowRef, WindowRequest
from siteagent.restore.metadata import Wanted
from siteagent.restore.worker import PART_BYTES, Worker, note_error
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry
from siteagent.store.page import Child

_PAGES_PER_WINDOW = 768
_PARTS_MAX = 256
_OPEN_LARGE_MAX = 128
_File = tuple[int, int, int, bytes, bytes, bytes, int]


class Total(Struct):
    """Everything that came of a restore so far; read by the progress display while it runs."""

    answer: Answer = field(default_factory=Answer)
    folders: list[FolderNote] = field(default_factory=list)
    links: list[RowRef] = field(default_factory=list)
    large: list[RowRef] = field(default_factory=list)

    def take(self, answer: Answer) -> None:
        """Add one answer."""
        self.folders += answer.folders
        self.links += answer.links
        self.large += answer.large
        self.answer.add(answer)


class Restorer:
    """One restore of one catalog (or a part of it) into one open folder."""

    def __init__(self, worker: Worker, crew: Crew, confined: Confined) -> None:
        self._worker, self._crew, self._confined = worker, crew, confined
        self.total = Total()

    def run(self, catalog: Catalog, prefix: bytes, root: Entry | None) -> Answer:
        """Restore everything below `prefix` that the worker's mapping wants; `root` is what the target becomes."""
        self._crew.perform(windows(catalog, prefix, self._crew.size), self.total.take)
        self._large_files()
        self._hard_links()
        if root is not None and root.type == FOLDER:
            xattrs = self._worker.catalog.xattrs(root)
            self.total.folders.append(FolderNote(prefix, root.mode, root.uid, root.gid, root.mtime_ns, xattrs))
        self._folder_metadata()
        self._confined.close()
        return self.total.answer

    def _large_files(self) -> None:
        """In groups, since all files of a group are open at once."""
        for at in range(0, len(self.total.large), _OPEN_LARGE_MAX):
            self._large_group(self.total.large[at : at + _OPEN_LARGE_MAX])

    def _large_group(self, group: list[RowRef]) -> None:
        begun: list[tuple[RowRef, Entry, int]] = []
        requests: list[PartRequest] = []
        for ref in group:
            self.total.answer.files += 1
            with self._noting(ref) as entry:
                handle = self._begin(entry)
                if handle is not None:
                    begun.append((ref, entry, handle))
                    requests += _parts(ref, entry.size, os.fstat(handle))
        errors_before = len(self.total.answer.errors)
        self._crew.perform(requests, self.total.take)
        failed = {path for path, _ in self.total.answer.errors[errors_before:]}
        for ref, entry, handle in begun:
            with self._noting(ref):
                folder = self._confined.folder(self._worker.mapping.folder(entry.folder))
                if entry.path in failed:
                    self._worker.writer.give_up(folder, entry, handle)
                    continue
                xattrs = self._worker.catalog.xattrs(entry)
                self._worker.writer.finish(folder, entry, handle, xattrs)
                self.total.answer.written += 1

    def _begin(self, entry: Entry) -> int | None:
        """Make the temporary file of a large file, or None when what is there is right."""
        folder = self._confined.folder(self._worker.mapping.folder(entry.folder))
        xattrs = self._worker.catalog.xattrs(entry)
        if self._worker.writer.is_there(folder, entry, self._worker.catalog.placed(entry), xattrs):
            self.total.answer.unchanged += 1
            return None
        return self._worker.writer.begin(folder, entry)

    def _hard_links(self) -> None:
        present = Counter(self._present_inodes())
        first: dict[_File, Entry] = {}
        claimed: set[tuple[int, int]] = set()
        for ref in self.total.links:
            with self._noting(ref) as entry:
                known = first.get(one_file(entry))
                if known is None:
                    self._first_name(entry, claimed, present)
                    first[one_file(entry)] = entry
                    continue
                source = self._worker.mapping.folder(known.folder)
                folder = self._confined.folder(self._worker.mapping.folder(entry.folder))
                made = self._worker.writer.link((self._confined.folder(source), known.name), folder, entry.name)
                self.total.answer.files += entry.type == FILE
                self.total.answer.written += made
                self.total.answer.unchanged += not made

    def _present_inodes(self) -> Iterator[tuple[int, int]]:
        """(device, inode) of what is there under each name of a file with several."""
        for ref in self.total.links:
            with contextlib.suppress(OSError, FarkeepError):
                entry = self._worker.entry(ref)
                folder = self._confined.folder(self._worker.mapping.folder(entry.folder))
                about = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                yield about.st_dev, about.st_ino

    def _first_name(self, entry: Entry, claimed: set[tuple[int, int]], present: Counter[tuple[int, int]]) -> None:
        """Write the first name of a file with several; what is there must not be a name of another such file.

        Nor may it have names that are not among those restored here: it would be changed under those, too.
        """
        folder = self._confined.folder(self._worker.mapping.folder(entry.folder))
        with contextlib.suppress(FileNotFoundError):
            about = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
            inode, is_folder = (about.st_dev, about.st_ino), stat.S_ISDIR(about.st_mode)
            if inode in claimed or (about.st_nlink > present[inode] and not is_folder):
                os.unlink(entry.name, dir_fd=folder)
        self.total.take(self._worker.write_one(entry))
        about = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
        claimed.add((about.st_dev, about.st_ino))

    @contextlib.contextmanager
    def _noting(self, ref: RowRef) -> Iterator[Entry]:
        """The entry of a place; trouble with it is noted as an error of its path."""
        entry: Entry | None = None
        try:
            entry = self._worker.entry(ref)
            yield entry
        except (OSError, FarkeepError) as error:
            note_error(self.total.answer, entry.path if entry else b"(a page of the catalog)", error)

    def _folder_metadata(self) -> None:
        applier = self._worker.writer.applier
        applier.not_applied, applier.reasons = 0, None
        for note in sorted(self.total.folders, key=lambda note: note.folder, reverse=True):
            try:
                handle = self._confined.folder(self._worker.mapping.folder(note.folder))
                wanted = Wanted(note.mode, note.uid, note.gid, note.mtime_ns, note.xattrs)
                applier.full(handle, os.fstat(handle), wanted)
            except (OSError, FarkeepError) as error:
                note_error(self.total.answer, path_of(note.folder, b""), error)
        extra = Answer(not_applied=applier.not_applied, reasons=sorted(applier.reasons or ()))
        self.total.answer.add(extra)


def one_file(entry: Entry) -> _File:
    """What all names of one file have in common.

    The group alone would not do: numbers of devices are given anew whenever a machine starts.
    """
    return entry.link_group, entry.type, entry.size, entry.ids, entry.tree, entry.target, entry.device


def windows(catalog: Catalog, prefix: bytes, workers: int) -> list[WindowRequest]:
    """The entry pages that may hold something below `prefix`, in large groups, each shared by all workers.

    Large, since a segment is opened once per group that refers to it, and copies of files are stored far from them.
    """
    pages = [(row.page_id, row.segment) for row in leaf_rows(catalog, prefix)]
    return [WindowRequest(pages[at : at + _PAGES_PER_WINDOW], share, workers)
            for at in range(0, len(pages), _PAGES_PER_WINDOW) for share in range(workers)]


def leaf_rows(catalog: Catalog, prefix: bytes) -> Iterator[Child]:
    """Rows of the entry pages that may hold something below `prefix`."""
    first, beyond = prefix + b"\0\0" if prefix else b"", prefix + b"\1"
    before = b""
    for row, level in catalog.index_rows():
        if level:
            continue
        if (not row.last_key or row.last_key >= first) and (not prefix or not before or before < beyond):
            yield row
        before = row.last_key


def size_below(catalog: Catalog, prefix: bytes) -> tuple[int, int]:
    """(entries, bytes of files) on those pages, roughly: what decides how many processes are worth starting."""
    rows = list(leaf_rows(catalog, prefix))
    if catalog.root.level == 0:
        entries = list(catalog.below(prefix))
        return len(entries), sum(entry.size for entry in entries if entry.type == FILE)
    return sum(row.entries for row in rows), sum(row.size_bytes for row in rows)


def _parts(ref: RowRef, size: int, about: os.stat_result) -> Iterator[PartRequest]:
    step = max(PART_BYTES, -(-size // _PARTS_MAX))
    for start in range(0, size, step):
        yield PartRequest(ref, about.st_dev, about.st_ino, start, min(size, start + step))
