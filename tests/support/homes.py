"""Homes for tests: a site in a folder, sources beside it, backups of them, and damage done to its files on purpose."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shared.decisions import SnapshotsForgotten, SnapshotsForgottenSealed
from shared.facts import Fact
from shared.keyfile import decode_key_file
from siteagent.home import Access, Home, World, open_home
from siteagent.jobs.backup import BackupRequest, BackupResult, back_up
from siteagent.jobs.initialise import NewHome, initialise
from siteagent.ledger.state import SnapshotEntry
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from siteagent.store.catalog import Catalog
from siteagent.store.names import SegmentName
from siteagent.store.segment import HEADER_BYTES
from tests.support.determined import LabelledRandomness, StandingClock

LONG_AFTER_NS = 4_000_000_000_000_000_000
"""A time far after everything on this machine, so that no file looks as if it had just changed."""


def incompressible(label: str, size_bytes: int) -> bytes:
    """Bytes that follow from a label and do not shrink."""
    return LabelledRandomness(label).bits(size_bytes)


@dataclass
class Place:
    """A home at `folder`/home, its key beside it, and its source at `folder`/source."""

    folder: Path
    clock: StandingClock = field(default_factory=lambda: StandingClock(LONG_AFTER_NS))
    randomness: LabelledRandomness = field(default_factory=lambda: LabelledRandomness("a home for tests"))

    def __post_init__(self) -> None:
        self.source = self.folder / "source"
        self.source.mkdir(exist_ok=True)
        self.world = World(self.clock, self.randomness, network_kind=lambda _: None, may_start_processes=False,
                           reserve_bytes=0)  # fmt: skip
        self.access = Access(str(self.folder / "home"))

    @property
    def home(self) -> Path:
        """The home's folder."""
        return self.folder / "home"

    def create(self) -> Place:
        """Make the home."""
        initialise(NewHome(self.access, "london", None), self.world)
        return self

    def open(self) -> Home:
        """Open the home."""
        return open_home(self.access, "test", self.world)

    def backup(self, home: Home, name: str = "docs", finish: Callable[[], None] | None = None) -> BackupResult:
        """Take a snapshot of the source, a minute later than whatever came before; `finish` may call it off."""
        self.clock.sleep(60)
        node, roots = merge_roots([os.fsencode(self.source)], b"/")
        view = PosixView(node, None, None)
        return back_up(home, BackupRequest(name, tuple(roots), view, "canary-user", "canary-host", finish=finish))

    def write(self, name: str, data: bytes) -> bytes:
        """Write a file of the source (its folders are made); returns its absolute path."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return os.fsencode(path)

    def path(self, name: str) -> bytes:
        """The absolute path of a file of the source, as snapshots have it."""
        return os.fsencode(self.source / name)

    def packs(self) -> list[Path]:
        """The pack files."""
        return sorted((self.home / "packs").glob("*.pack"))

    def site_secret(self, site: bytes) -> bytes:
        """The secret in the key file."""
        data = Path(self.access.key_path).read_bytes()
        return decode_key_file(data, subject="key", site_id=site, passphrase=None).site_secret


def with_two_snapshots(place: Place) -> Place:
    """Fill a new home: a large file, a small one, and one that the second snapshot added."""
    place.write("large/image", incompressible("large", 3 << 20))
    place.write("small/text", b"some text " * 50)
    with place.open() as home:
        place.backup(home)
        place.write("small/later", b"more text " * 50)
        place.backup(home)
    return place


def forget(home: Home, snapshots: list[bytes], sweep_after_ns: int = 0) -> None:
    """Record that nobody wants these snapshots any more; at once due for a prune unless said otherwise."""
    home.ledger.record(Fact(
        SnapshotsForgotten(decision=home.world.randomness.bits(16), snapshots=tuple(snapshots),
                           sweep_after_ns=sweep_after_ns),
        SnapshotsForgottenSealed(user="user", host="host"),
    ))  # fmt: skip


def newest(home: Home, name: str = "docs") -> SnapshotEntry:
    """The newest snapshot of a name."""
    entry = home.ledger.history().newest_snapshot(name)
    assert entry is not None
    return entry


def contents(home: Home, entry: SnapshotEntry) -> dict[bytes, bytes]:
    """Every file of a snapshot with all its bytes, read through catalog and reader (holes as zeros)."""
    catalog = home.catalog(entry)
    return {found.path: b"".join(_stretches(home, catalog, found)) for found in catalog.entries() if found.type == 1}


def _stretches(home: Home, catalog: Catalog, entry: object) -> Iterator[bytes]:
    for piece in catalog.pieces(entry):  # type: ignore[arg-type]
        yield bytes(home.reader.chunk(piece.segment, piece.chunk_id)) if piece.segment else bytes(piece.length)


def segment_of(home: Home, entry: SnapshotEntry, path: bytes) -> SegmentName:
    """The segment that holds the first chunk of a file."""
    catalog = home.catalog(entry)
    found = next(item for item in catalog.entries() if item.path == path)
    return next(piece.segment for piece in catalog.pieces(found) if piece.segment)


def text_segment(place: Place, home: Home) -> SegmentName:
    """The segment of the small file that the second of two snapshots added."""
    return segment_of(home, newest(home), place.path("small/later"))


def flip(path: Path, offset: int, mask: int = 1) -> None:
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ mask,)))


def flip_in_body(place: Place, home: Home, name: SegmentName) -> tuple[Path, int]:
    """Change one byte of a segment's sealed body; returns the pack and the offset."""
    spot = home.reader.spot(name)
    return flip_at(place, spot.pack_id, spot.offset + HEADER_BYTES + spot.table_length + 20)


def flip_in_table(place: Place, home: Home, name: SegmentName) -> tuple[Path, int]:
    """Change one byte of a segment's sealed table; returns the pack and the offset."""
    spot = home.reader.spot(name)
    return flip_at(place, spot.pack_id, spot.offset + HEADER_BYTES + 20)


def flip_at(place: Place, pack_id: bytes, offset: int) -> tuple[Path, int]:
    """Change one byte of a pack; returns the pack and the offset."""
    path = place.home / "packs" / f"{pack_id.hex()}.pack"
    flip(path, offset)
    return path, offset
