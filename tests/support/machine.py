"""A machine for crash tests: a site whose every disk call is on a tape, states to go back to, what must hold then."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from siteagent.home import Home
from siteagent.jobs.backup import CHECKPOINT_NS, BackupRequest, back_up
from siteagent.jobs.prune import PruneReport, PruneRequest, prune
from siteagent.jobs.record import Who
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.jobs.verify import Mode, verify
from siteagent.ledger.state import SnapshotEntry
from siteagent.sources.base import Batch
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import Node, merge_roots
from tests.support.build import build
from tests.support.descriptions import Content, Description, Fifo, File, Folder, HardLink, Metadata, Symlink
from tests.support.homes import Place
from tests.support.mutate import mutate
from tests.support.places import remove_tree
from tests.support.recorded_disk import Frame, Stopped, Tape
from tests.support.survival import Loss, Outcome
from tests.support.walker import Tree, compare, describe

PACK_BYTES = 600_000
"""So small that nearly every segment fills a pack."""
RESERVE_BYTES = 1 << 16


def small_tree() -> Description:
    """A little of everything, and enough that does not shrink for three segments of data."""
    xattrs = ((b"user.text", b"value"), (b"user.long", bytes(1500)))
    return Description((
        (b"big", File(Content(1_300_000, 1))),
        (b"folder", Folder(Metadata(0o2750, mtime_ns=-5))),
        (b"folder/empty", Folder()),
        (b"folder/fifo", Fifo()),
        (b"folder/link", Symlink(b"../big")),
        (b"folder/one", File(Content(70_000, 2), Metadata(0o4755, xattrs=xattrs))),
        (b"folder/sparse", File(Content(400_000, 3, extents=((131_072, 65_536),)))),
        (b"folder/two", HardLink(b"folder/one")),
        (b"later", Folder()),
        *((b"later/%d" % place, File(Content(4_000 * place, place))) for place in range(9)),
        (b"later/second", File(Content(500_000, 12))),
        (b"name\n\xff", File(Content(3))),
    ))  # fmt: skip


def change(source: Path, day: int = 0) -> None:
    """Change the small tree as a day does: edits (one makes a delta), a new large file, one removed, one renamed."""
    mutate(3 + day, source, 12, keep_readable=True)
    (source / "added").write_bytes(Content(900_000, 77 + day).pieces().__next__()[1])
    if (source / "later").exists():
        os.rename(source / "later", source / "renamed")
    with (source / "big").open("r+b") as file:
        file.seek(50_000 * (1 + day))
        file.write(b"edited in place")


class _SlowView(PosixView):
    """A source that takes its time between two folders, once the first pack is stored."""

    def __init__(self, roots: Node, machine: Machine) -> None:
        super().__init__(roots, None, None)
        self._machine = machine

    def batches(self) -> Iterator[Batch]:
        """Folders in catalog order."""
        for batch in super().batches():
            yield batch
            if b"big" in batch.names:
                self._machine.tape.wait_for("sync_folder", "home/packs")
                self._machine.place.clock.sleep(2 * CHECKPOINT_NS / 1e9)


class Machine:
    """The files of one machine and what its user was told. `now` is the tree of the source as it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("machine", "source", "saved"):
            (folder / name).mkdir()
        self.place = Place(folder / "machine")
        self.place.source.rmdir()
        self.place.source = folder / "source"
        self._tapes, self.pack_bytes, self.day = 0, PACK_BYTES, 0
        self._moments: dict[str, tuple[int, int]] = {}
        self._parked = folder / "parked"
        self._developed = False
        self._roots: dict[bytes, bytes] = {}
        self.acknowledged: dict[bytes, Tree] = {}
        self.forgotten: set[bytes] = set()
        self.tape = self.record()
        build(small_tree(), self.place.source)
        self.now = describe(self.place.source)

    def record(self) -> Tape:
        """Begin a new tape with the files as they are; all that is there counts as durable."""
        self._tapes += 1
        self.tape = tape = Tape(self._folder / "machine", self._folder / f"scratch {self._tapes}")
        tape.told = dict(self.acknowledged)
        self.place.world = replace(self.place.world, disk=tape.disk, pack_bytes=self.pack_bytes,
                                   reserve_bytes=RESERVE_BYTES)  # fmt: skip
        return tape

    def change_source(self) -> None:
        """A day passes."""
        change(self.place.source, self.day)
        self.day += 1
        self.now = describe(self.place.source)

    def save(self, name: str) -> None:
        """Keep the machine's files as they are, and where time and chance stand."""
        shutil.copytree(self._folder / "machine", self._folder / "saved" / name, symlinks=True)
        self._moments[name] = self.place.clock.time_ns, self.place.randomness._at

    def load(self, name: str) -> Tape:
        """Put files that were kept back, in the same folders (a home knows its inode), and begin a new tape.

        From the same start the same job makes the same calls with the same bytes.
        """
        self._developed = False
        for scratch in self._folder.glob("scratch *"):
            shutil.rmtree(scratch)
        self._clear()
        saved = self._folder / "saved" / name
        self._keep_inode((saved / "home").exists())
        shutil.copytree(saved, self._folder / "machine", symlinks=True, dirs_exist_ok=True)
        self.place.clock.time_ns, self.place.randomness._at = self._moments[name]
        return self.record()

    def _clear(self) -> None:
        machine = self._folder / "machine"
        for item in [*machine.glob("home/*"), *machine.glob("home.*")]:
            shutil.rmtree(item) if item.is_dir() else item.unlink()

    def _keep_inode(self, is_there: bool) -> None:
        """Take the empty folder of the home away or put it back: another one would be another home."""
        home = self._folder / "machine" / "home"
        if home.exists() and not is_there:
            home.rename(self._parked)
        elif is_there and not home.exists() and self._parked.exists():
            self._parked.rename(home)

    def develop(self, frame: Frame, found: Outcome, index: str, older_index: Path | None,
                moment: tuple[int, int]) -> None:
        """Make the files what a stop at a frame's call left, on a new tape. `index`: "as it was", "gone" or "older"."""
        tapes = self._tapes
        self._clear()
        self._keep_inode(str(self.place.home) in found.folders)
        self.acknowledged = dict(frame.told)
        if self._developed:
            shutil.rmtree(self._folder / f"scratch {tapes}", ignore_errors=True)
        tape = self.record()
        self._developed = True
        tape.survival.become(found)
        tape.outside.put_back(frame.outside)
        if index != "as it was":
            tape.outside.lose_index(older_index if index == "older" else None)
        # Whoever runs next draws other numbers, later.
        self.place.clock.time_ns, self.place.randomness._at = moment

    def index_of(self, name: str) -> Path:
        """The index as it was in files that were kept."""
        return self._folder / "saved" / name / "home" / "index"

    @contextlib.contextmanager
    def session(self) -> Iterator[Home]:
        """An open home; whatever happens, nothing holds it afterwards."""
        home = self.place.open()
        try:
            yield home
        except BaseException:
            abandon(home)
            raise
        try:
            home.close()
        except Stopped:
            abandon(home)
            raise

    def back_up(self) -> None:
        """One command: open, back up, close. What it acknowledges is noted."""
        with self.session() as home:
            self.back_up_in(home)

    def back_up_slowly(self) -> None:
        """The same, so slow that what was stored becomes a checkpoint on the way."""
        with self.session() as home:
            self.back_up_in(home, is_slow=True)

    def back_up_in(self, home: Home, *, is_slow: bool = False) -> bytes:
        """Back up in an open home; returns the snapshot's id."""
        self.place.clock.sleep(60)
        node, roots = merge_roots([os.fsencode(self.place.source)], b"/")
        view = _SlowView(node, self) if is_slow else PosixView(node, None, None)
        done = back_up(home, BackupRequest("docs", tuple(roots), view, "user", "host"))
        snapshot, self._roots[done.snapshot] = done.snapshot, done.summary.root_page
        self.acknowledged[snapshot] = self.now
        self.tape.told = dict(self.acknowledged)
        return snapshot

    def forget(self, snapshot: bytes) -> None:
        """Nobody counts on this snapshot any more."""
        self.acknowledged.pop(snapshot)
        self.forgotten.add(snapshot)
        self.tape.told = dict(self.acknowledged)

    def prune(self) -> None:
        """One command: open, prune, close."""
        with self.session() as home:
            self.prune_in(home)

    def prune_in(self, home: Home) -> PruneReport:
        """Prune in an open home."""
        self.place.clock.sleep(60)
        return prune(home, PruneRequest(Who("user", "host")))

    def check(self) -> int:
        """Open the home after a crash and look at all of it; returns how many snapshots it shows.

        Everything acknowledged is there, everything shown is whole, and nothing is damaged.
        """
        with self.session() as home:
            shown = self.require_shown(home, "structure")
            for entry in shown:
                if entry.id not in self.forgotten:
                    self.require_whole(home, entry)
        return len(shown)

    def look(self) -> int:
        """The same without restoring: every segment is read and held against the catalogs."""
        with self.session() as home:
            return len(self.require_shown(home, "read-data"))

    def require_shown(self, home: Home, mode: Mode) -> list[SnapshotEntry]:
        """Verify; returns the snapshots, among them all that were acknowledged."""
        found = verify(home, mode)
        assert (found.problems, found.damaged) == ([], [])
        shown = list(home.ledger.history().snapshots)
        assert self.acknowledged.keys() <= {entry.id for entry in shown}
        return shown

    def go_on(self) -> None:
        """The next backup, which must not mind what happened before."""
        with self.session() as home:
            self.back_up_in(home)
            newest = home.ledger.history().snapshots[-1]
            assert newest.id in self.acknowledged
            self.require_whole(home, newest)
            assert home.ledger.history().open_jobs == []
            assert home.packs.unfinished() == []
            self.require_no_litter(home)

    def require_whole(self, home: Home, entry: SnapshotEntry) -> None:
        """Restore a snapshot into a new folder and compare; one that nobody was told of must be the present source."""
        self.require_restored(home, [entry])

    def require_restored(self, home: Home, entries: list[SnapshotEntry]) -> None:
        """Restore these snapshots, each into a new folder, and compare, byte for byte with all metadata."""
        targets = [self._folder / f"restored {number}" for number in range(len(entries))]
        requests = [RestoreRequest(entry, os.fsencode(self.place.source), str(target), "user", "host")
                    for entry, target in zip(entries, targets, strict=True)]  # fmt: skip
        assert restore(home, requests).errors == []
        for entry, target in zip(entries, targets, strict=True):
            differences = compare(self.acknowledged.get(entry.id, self.now), describe(target))
            remove_tree(target)
            assert differences == []

    def require_same_catalogs(self, home: Home, entries: list[SnapshotEntry]) -> None:
        """Each snapshot's catalog lists what it listed when it was acknowledged; its chunks are named by content."""
        for entry in entries:
            assert entry.summary is not None
            assert entry.summary.root_page == self._roots[entry.id], "a snapshot has another catalog now"

    def require_no_litter(self, home: Home) -> None:
        """Nothing of abandoned runs is left over."""
        known = {entry.id.hex() for entry in home.ledger.history().snapshots}
        assert {name.partition(".")[0] for name in os.listdir(self.place.home / "snapshots")} == known
        reaches = set(os.listdir(self.place.home / "reaches"))
        assert reaches >= known
        assert reaches - known <= {snapshot.hex() for snapshot in home.ledger.history().swept}

    def stop(self, job: Callable[[], object], loss: Loss, older_index: Path | None = None) -> bool:
        """Run a job that the tape stops somewhere, and crash; False when it came to its end before."""
        is_stopped = False
        try:
            job()
        except Stopped:
            is_stopped = True
        self.tape.crash(loss, older_index)
        return is_stopped


def abandon(home: Home) -> None:
    """Let go of a home as the end of its process does."""
    for close in (home.packs.close, home.index.close, home.ledger.close, home.ledger.recorder.datastore.close):
        with contextlib.suppress(Stopped):
            close()
    home.owner.release()
