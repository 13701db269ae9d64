"""A home of some 200 kB with every kind of file in it, what each of its snapshots reads as, and ways to put it back.

In it are: plain, raw and delta frames of data and of pages, a chunk list with holes, values out of line, segments
that were superseded and swept, packs with holes punched, two key epochs, two log epochs, changes, an organisation, a
cache of the history, an index, and the log of commands.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import FarkeepError
from shared.organisation import Organisation, create, encode_organisation
from shared.tree import FILE, LINK
from siteagent.home import Home
from siteagent.jobs.forget import Manner, forget_named
from siteagent.jobs.initialise import NewHome, initialise
from siteagent.jobs.keys import rotate
from siteagent.jobs.prune import PruneRequest, prune
from siteagent.jobs.record import Who
from siteagent.ledger import ledger
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry
from siteagent.store.reader import SegmentReader
from tests.support.command_line import CommandLine
from tests.support.homes import Place, incompressible
from tests.support.steps import seal_one_by_one

WHO = Who("tester", "host")
Read = dict[bytes, tuple[object, ...]]
"""What a snapshot reads as: by path, type, metadata and content of each entry."""
KINDS = {
    "format": "format", "keyring": "keyring", "owner": "owner", "farkeep.log": "command log", "home.key": "key file",
    "home.head": "high-water mark", "organisation.json": "organisation", "log/log.db": "log",
    "log/history": "history cache",
}  # fmt: skip
KINDS_BELOW = {"packs": "pack", "snapshots": "manifest", "reaches": "reach", "changes": "changes", "index": "index"}


class SmallHome:
    """The home at `folder`/home and what lies beside it; `truth` is what every snapshot reads as, by id;
    `swept` what those did that are gone; `strangers` are snapshots of a cloned home.

    Names, lengths and order are the same whenever it is made, but for the index, whose files a database names and
    merges as it sees fit. What is in the catalog of the source's times and inode numbers is not.
    """

    def __init__(self, folder: Path, *, label: str = "a small home") -> None:
        self.folder = folder
        (folder / "machine").mkdir(parents=True)
        self.place = Place(folder / "machine")
        self.place.randomness.__init__(label)  # type: ignore[misc]
        self.organisation: Organisation = create("Small Organisation", self.place.randomness.bits(32))
        initialise(NewHome(self.place.access, "small", self.organisation), self.place.world)
        (folder / "machine" / "organisation.json").write_bytes(encode_organisation(self.organisation))
        self.older: dict[Path, bytes] = {}
        self.swept: dict[bytes, Read] = {}
        self.strangers: set[bytes] = set()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(ledger, "CACHED_TAIL_FACTS", 5)
            seal_one_by_one(patched)
            self._live(label)
        with self.place.open() as home:
            self.truth = read_all(home)
        self.command("snapshots")
        self.saved = {path: path.read_bytes() for path in self.paths()}
        self.cloned = self._clone(label)

    def _live(self, label: str) -> None:
        """Five nights, a rotation of keys, a new log epoch, and a prune of the first two."""
        source = self.place.source
        for night in range(5):
            _spend_night(source, label, night)
            if night == 2:
                self._turn_over()
            with self.place.open() as home:
                self.place.backup(home)
        with self.place.open() as home:
            ids = home.ledger.history().snapshot_ids
            self.swept = {key: read for key, read in read_all(home).items() if key in ids[:2]}
            gone = [entry for entry in home.ledger.history().snapshots if entry.id in ids[:2]]
            forget_named(home, WHO, gone, Manner(grace_ns=0))
            prune(home, PruneRequest(WHO, True))

    def _turn_over(self) -> None:
        """A new key epoch and a new log epoch; the files as they are then are the older ones."""
        with self.place.open() as home:
            rotate(home, WHO, is_new_secret=False)
        with self.place.open() as home:
            home.ledger.open_log_epoch("asked", "for a test")
        self.older = {path: path.read_bytes() for path in self.paths()}

    def paths(self) -> Iterator[Path]:
        """Every file of the home and beside it, without the source."""
        machine = self.folder / "machine"
        for path in sorted(machine.rglob("*")):
            if path.is_file() and not path.is_relative_to(self.place.source):
                yield path

    def kind(self, path: Path) -> str:
        """What a file is."""
        below = path.relative_to(self.folder / "machine")
        name = str(below.relative_to("home") if below.parts[0] == "home" else below)
        return KINDS.get(name) or KINDS_BELOW.get(name.partition("/")[0], "other")

    def _clone(self, label: str) -> dict[Path, bytes]:
        """The files of a home that was cloned in the third night and went on otherwise, under the same keys."""
        for path in list(self.paths()):
            path.unlink()
        for path, data in self.older.items():
            path.write_bytes(data)
        (self.place.source / "other").write_bytes(incompressible(label + "other", 20_000))
        with pytest.MonkeyPatch.context() as patched, self.place.open() as home:
            seal_one_by_one(patched)
            self.strangers = {self.place.backup(home).snapshot for _ in range(2)}
        cloned = {path: path.read_bytes() for path in self.paths()}
        (self.place.source / "other").unlink()
        self.put_back()
        return cloned

    def cloned_of_kind(self, kind: str) -> list[bytes]:
        """What the cloned home has in files of this kind that this one does not have."""
        return [data for path, data in self.cloned.items() if self.kind(path) == kind and path not in self.saved]

    def put_back(self) -> None:
        """Make every file what it was; the folder stays the same one (a home knows its inode)."""
        for path in list(self.paths()):
            if path not in self.saved:
                path.unlink()
        for path, data in self.saved.items():
            if not path.exists() or path.read_bytes() != data:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.write_bytes(data)

    def command(self, *words: str | Path) -> tuple[int, bytes, str]:
        """Run a command in this process; exit code and both outputs."""
        answer = CommandLine(self.place.home, self.place.world)(*words)
        return answer.code, answer.stdout, answer.stderr

    def copy_to(self, folder: Path) -> None:
        """Copy the files as they are now into another folder."""
        for path in self.paths():
            copy = folder / path.relative_to(self.folder / "machine")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _spend_night(source: Path, label: str, night: int) -> None:
    """Edits in place (deltas), files that come and go, one with holes and a chunk list, long values."""
    large = bytearray(b"".join(b"row %06d with some words that repeat\n" % number for number in range(9_000)))
    for number in range(4):
        for past in range(night + 1):
            large[80_000 * number + 900 * past : 80_000 * number + 900 * past + 6] = b"EDITED"
    (source / "large").write_bytes(large)
    small = bytearray(incompressible(label + "small", 6000))
    small[100 * night : 100 * night + 5] = b"night"
    (source / "small").write_bytes(small)
    if night == 3:
        (source / "raw").write_bytes(incompressible(label + "raw", 66_000))
    else:
        (source / f"of night {night}").write_bytes(f"written in night {night}\n".encode() * 4000)
    if night == 1:
        (source / "stays").write_bytes(incompressible(label + "stays", 5000))
        (source / "goes").write_bytes(incompressible(label + "goes", 30_000))
    for name in (f"of night {night - 2}", *(["goes"] * (night == 2))):
        (source / name).unlink(missing_ok=True)
    if night == 0:
        _write_what_stays(source, label)


def _write_what_stays(source: Path, label: str) -> None:
    with (source / "sparse").open("wb") as file:
        for number in range(18):
            file.seek(number * 65_536 + 8192)
            file.write(incompressible(f"{label} extent {number}", 700))
        file.truncate(19 * 65_536)
    (source / "folder").mkdir()
    for number in range(12):
        (source / "folder" / f"file {number}").write_bytes(f"file number {number}\n".encode() * (number + 1))
    os.link(source / "folder" / "file 1", source / "linked")
    (source / "far link").symlink_to("a/" * 700 + "nowhere")
    os.mkfifo(source / "fifo")
    os.setxattr(source / "small", "user.long", incompressible(label + "attribute", 1500))


def read_snapshot(catalog: Catalog, reader: SegmentReader) -> Read:
    """Every entry of a snapshot with all its content; raises what cannot be read."""
    return {entry.path: read_entry(catalog, reader, entry) for entry in catalog.entries()}


def read_entry(catalog: Catalog, reader: SegmentReader, entry: Entry) -> tuple[object, ...]:
    """An entry's metadata, target, attributes and content."""
    content = b""
    if entry.type == FILE:
        content = b"".join(bytes(reader.chunk(piece.segment, piece.chunk_id)) if piece.segment else bytes(piece.length)
                           for piece in catalog.pieces(entry))  # fmt: skip
    target = catalog.target(entry) if entry.type == LINK else b""
    return entry[2:13], target, catalog.xattrs(entry), content


def read_all(home: Home) -> dict[bytes, Read]:
    """Every snapshot of a home, by id."""
    return {entry.id: read_snapshot(home.catalog(entry), home.reader) for entry in home.ledger.history().snapshots}


def read_around_damage(catalog: Catalog, reader: SegmentReader) -> tuple[Read, set[bytes], bool]:
    """(what reads, paths that do not, whether all entries could be listed); only typed errors are taken for damage."""
    found, lost = Read(), set[bytes]()
    leaves = catalog.index_rows()
    is_listed = True
    try:
        rows = [row for row, level in leaves if level == 0]
    except FarkeepError:
        rows, is_listed = [], False
    for row in rows:
        part = Catalog(reader, type(catalog.root)(row.page_id, row.segment, 0))
        try:
            entries = list(part.entries())
        except FarkeepError:
            is_listed = False
            continue
        for entry in entries:
            try:
                found[entry.path] = read_entry(part, reader, entry)
            except FarkeepError:
                lost.add(entry.path)
    return found, lost, is_listed
