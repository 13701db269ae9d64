"""Restoring: what a snapshot holds below a path becomes the content of a folder; only what differs is touched.

What a crash between step n and n + 1 leaves. The home keeps every snapshot as it was at every point:

| step | done after it                                  | a crash then leaves                                          |
| ---- | ---------------------------------------------- | ------------------------------------------------------------ |
| 1    | fact job.started                               | a job without an end: the next writer records that           |
| 2    | `--delete`: what the snapshot lacks is removed | a target with less in it; it was there to be removed         |
| 3    | mark of the target in the home                 | a target in which `--delete` is not asked twice              |
| 4    | entries, each complete under a temporary name  | some entries new, some as they were; `.farkeep-*.part`       |
|      | before it gets its own (a folder that this     | files, replaced by the next try; in a fresh folder perhaps a |
|      | restore made is filled directly)               | short file, found by its content and written again by the    |
|      |                                                | next try                                                     |
| 5    | links, metadata of folders, sync of the target | folders with other times and rights than they had            |
| 6    | facts restore.done, job.ended                  | nothing                                                      |

The same command again goes on: what is there is compared by content, never by size and time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct, field

from shared.errors import DamagedError, FarkeepError, RefusedError
from shared.tree import FOLDER, child_folder, folder_key
from siteagent.disk.confined import Confined, inherits_nothing, open_folder
from siteagent.home import Home
from siteagent.jobs.reading import catalog_of, reading
from siteagent.jobs.record import Who, note_reading, recorded_reading
from siteagent.ledger.state import SnapshotEntry
from siteagent.restore import umask
from siteagent.restore.crew import Alone, Crew, Processes
from siteagent.restore.deletion import Extra, Spared, find_extra, remove
from siteagent.restore.mark import Marks
from siteagent.restore.messages import Answer, Setup
from siteagent.restore.preview import preview
from siteagent.restore.restorer import Restorer, size_below
from siteagent.restore.spots import encode_spots
from siteagent.restore.targetsync import sync_target
from siteagent.restore.worker import Mapping, Worker
from siteagent.sources.base import Selection, SourceError
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry
from siteagent.store.index import Spot
from siteagent.store.names import SegmentName

ALONE_ENTRIES_MAX, ALONE_BYTES_MAX = 3000, 64 << 20


class RestoreRequest(Struct, frozen=True):
    """What to restore where. `path`: absolute path in the snapshot, b"/" for all of it."""

    snapshot: SnapshotEntry
    path: bytes
    target: str
    user: str
    host: str
    selection: Selection | None = None
    deletes: bool = False
    deletes_unmarked: bool = False
    is_dry_run: bool = False


class RestoreResult(Struct):
    """What a restore did."""

    answer: Answer = field(default_factory=Answer)
    deleted: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[SourceError]:
        """Entries that could not be restored."""
        return [SourceError(path, reason) for path, reason in self.answer.errors]


class _Place(Struct, frozen=True):
    """Where a path lies in a catalog: the folder key whose contents are wanted, a single name in it, and its entry."""

    prefix: bytes
    only_name: bytes
    entry: Entry | None


def restore(home: Home, requests: list[RestoreRequest],
            watch: Callable[[Restorer], None] | None = None) -> RestoreResult:
    """Restore one or several paths, one after the other.

    Raises RefusedError (no such path, target in the home, deletion not allowed), DamagedError when a catalog does not
    read; entries that cannot be restored are in the result's errors.
    """
    result, began_ns = RestoreResult(), home.world.clock.monotonic_ns()
    with reading(home, "restore"):
        for request in requests:
            require_outside(home, request.target)
            catalog = catalog_of(home, request.snapshot)
            place = find_place(catalog, request.path)
            _require_clear_of_home(home, request, catalog, place)
            with _job(home, request, result):
                _restore_one(home, request, catalog, place, result, watch)
    result.seconds = (home.world.clock.monotonic_ns() - began_ns) / 1e9
    result.notes += home.notes
    return result


def require_outside(home: Home, target: str) -> None:
    """Refuse a target inside the home, or one that contains it (where --delete could reach it)."""
    inside, around = os.path.realpath(target), os.path.realpath(home.path)
    if inside == around or inside.startswith(around + os.sep):
        raise RefusedError("the target lies inside the home", subject=target,
                           next_step="restore into a folder outside the home")


def _require_clear_of_home(home: Home, request: RestoreRequest, catalog: Catalog, place: _Place) -> None:
    """Refuse what would write into a home that lies below the target."""
    target, around = os.path.join(os.path.realpath(request.target), ""), os.path.realpath(home.path)
    if place.only_name or not around.startswith(target):
        return
    folder = place.prefix
    for name in os.fsencode(around[len(target) :]).split(b"/"):
        folder = child_folder(folder, name)
    if next(catalog.folder(folder), None) is not None:
        raise RefusedError("this would write into the home, which lies below the target", subject=request.target,
                           next_step="restore into another folder, or only what does not belong there")


def find_place(catalog: Catalog, path: bytes) -> _Place:
    """Where a path lies in a catalog; raises RefusedError when it is not there."""
    components = [part for part in path.split(b"/") if part]
    if not components:
        return _Place(b"", b"", catalog.find(b"", b""))
    folder = folder_key(components[:-1])
    entry = catalog.find(folder, components[-1])
    if entry is None:
        raise RefusedError("this path is not in the snapshot", subject=os.fsdecode(path),
                           next_step="look with `farkeep ls`")
    if entry.type == FOLDER:
        return _Place(child_folder(folder, components[-1]), b"", entry)
    return _Place(folder, components[-1], entry)


@contextmanager
def _job(home: Home, request: RestoreRequest, result: RestoreResult) -> Iterator[None]:
    """Facts around a restore: who asked for what, and what came of it."""
    if request.is_dry_run:
        yield
        return
    who = Who(request.user, request.host)
    with recorded_reading(home, who, (request.snapshot.id.hex(), os.fsdecode(request.path))) as job:
        yield
        counters = {"files": result.answer.files, "written": result.answer.written, "deleted": result.deleted}
        job.outcome = "partial" if result.answer.errors else "done"
        note_reading(job, who, request.snapshot, request.path, counters, os.fsencode(request.target))


def _restore_one(home: Home, request: RestoreRequest, catalog: Catalog, place: _Place, result: RestoreResult,
                 watch: Callable[[Restorer], None] | None) -> None:
    mapping = Mapping(place.prefix, place.only_name, request.selection)
    marks, target = Marks(home.disk, home.keyring.default_domain.chunk_id_key), request.target
    if request.is_dry_run:
        _dry_run(home, request, catalog, mapping, place, result)
        return
    handle = _open_target(target)
    is_new, is_marked = not os.listdir(handle), marks.is_marked(target)
    umask.take_away()
    try:
        is_fresh = is_new and inherits_nothing(handle)
        confined = Confined(handle, is_fresh=is_fresh)
        if request.deletes:
            extra = _allowed_extra(home, request, catalog, mapping, place, confined, is_allowed=is_marked or is_new)
            deleted, errors = remove(extra, confined)
            result.deleted += deleted
            result.answer.errors += errors + extra.kept
        if not place.only_name:
            _mark(home, marks, target)
        worker = Worker(home.reader, confined, mapping, _chunk_key(home, request))
        crew = _crew(home, request, catalog, mapping, worker, handle, is_fresh=is_fresh)
        restorer = Restorer(worker, crew, confined)
        if watch is not None:
            watch(restorer)
        try:
            result.answer.add(restorer.run(catalog, mapping.prefix, None if place.only_name else place.entry))
        finally:
            crew.close()
        sync_target(handle)
    finally:
        umask.put_back()
        os.close(handle)


def _mark(home: Home, marks: Marks, target: str) -> None:
    try:
        marks.make(target)
    except FarkeepError as error:
        home.notes.append(f"the folder could not be marked, so --delete will not act in it unasked: {error}")


def _open_target(target: str) -> int:
    """Open the folder to restore into, made when it is missing; raises RefusedError when something else is there."""
    try:
        os.makedirs(target, mode=0o700, exist_ok=True)
        return open_folder(None, os.fsencode(os.path.realpath(target)))
    except (FileExistsError, NotADirectoryError):
        raise RefusedError("the target is not a folder", subject=target,
                           next_step="name a folder with --to; it is made when it is missing") from None


def _crew(home: Home, request: RestoreRequest, catalog: Catalog, mapping: Mapping, worker: Worker,
          target: int, *, is_fresh: bool) -> Crew:
    entries, size_bytes = size_below(catalog, mapping.prefix)
    is_small = entries <= ALONE_ENTRIES_MAX and size_bytes <= ALONE_BYTES_MAX
    if is_small or request.selection is not None or mapping.only_name or not home.world.starts_processes:
        return Alone(worker)
    needed = home.snapshots.segments(request.snapshot.id, request.snapshot.taken.reach)
    spots = encode_spots(_spots(home, needed))
    setup = Setup(home.path, home.keyring.epochs, mapping.prefix, mapping.only_name, _chunk_key(home, request),
                  is_fresh, len(spots), home.successors.concerning(needed))  # fmt: skip
    try:
        return Processes(setup, spots, target, home.world.workers)
    except OSError:
        return Alone(worker)


def _chunk_key(home: Home, request: RestoreRequest) -> bytes:
    """The key of chunk ids in the dedup domain that the snapshot belongs to."""
    summary = request.snapshot.summary
    keyring = home.keyring
    return (keyring.domain(summary.domain) if summary is not None else keyring.default_domain).chunk_id_key


def _spots(home: Home, needed: set[SegmentName]) -> Iterator[tuple[SegmentName, Spot]]:
    for name in home.successors.closed(needed):
        spot = home.index.spot(name)
        if spot is not None:
            yield name, spot


def _allowed_extra(home: Home, request: RestoreRequest, catalog: Catalog, mapping: Mapping, place: _Place,
                   confined: Confined, *, is_allowed: bool) -> Extra:
    """What --delete would remove; raises RefusedError when it may not."""
    about, summary, around = os.stat(home.path), request.snapshot.summary, os.path.realpath(home.path)
    parts = (around, f"{around}.key", f"{around}.head", os.path.realpath(home.access.key_path))
    spared = Spared(lambda path, is_folder: _is_protected(request, path, is_folder), os.path.realpath(request.target),
                    parts, (about.st_dev, about.st_ino), summary is None or summary.errors > 0)
    extra = find_extra(catalog, mapping, place.entry, confined, spared)
    if os.path.ismount(request.target) and extra.rows:
        raise RefusedError("--delete never acts on the root of a mount", subject=request.target,
                           next_step="restore into a folder below it, or without --delete")
    if extra.rows and not is_allowed and not request.deletes_unmarked:
        raise RefusedError(f"--delete would remove {len(extra.rows)} entries from a folder that no restore has marked",
                           subject=request.target,
                           next_step="look with --dry-run; add --delete-unmarked when that is what you want")
    return extra


def _is_protected(request: RestoreRequest, path: bytes, is_folder: bool) -> bool:
    selection = request.selection
    return selection is not None and selection.excludes(request.path, path, is_folder=is_folder, size_bytes=0)


def _dry_run(home: Home, request: RestoreRequest, catalog: Catalog, mapping: Mapping, place: _Place,
             result: RestoreResult) -> None:
    if not os.path.isdir(request.target):
        result.answer.add(preview(catalog, mapping, None))
        return
    handle = os.open(request.target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    confined = Confined(handle)
    try:
        if request.deletes:
            extra = _allowed_extra(home, request, catalog, mapping, place, confined, is_allowed=True)
            result.deleted += len(extra.rows)
        result.answer.add(preview(catalog, mapping, confined))
    finally:
        confined.close()
        os.close(handle)


def worst(result: RestoreResult) -> type[FarkeepError] | None:
    """The most severe kind of error among what could not be restored, or None."""
    return DamagedError if result.answer.damaged else None
