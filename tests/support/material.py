"""What decoders are fed with to begin with: every kind of stored bytes, taken from the golden homes and opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from shared.keyfile import decode_key_file
from shared.keyring import Keyring
from shared.keyringfile import open_keyring
from siteagent.disk.local import LocalDisk
from siteagent.store.index import Spot
from siteagent.store.names import SegmentName
from siteagent.store.opened import OpenSegment
from siteagent.store.pack import HEADER_BYTES as PACK_HEADER_BYTES
from siteagent.store.pack import read_trailer
from siteagent.store.packs import FolderPacks
from siteagent.store.reader import SegmentReader
from siteagent.store.segment import CATALOG
from tests.support.golden_store import FOLDER, GOLDEN, NIGHTS

EVERY_MAX = 8
"""How many examples of one kind are taken from one home."""


@dataclass
class Spots:
    """Where the segments of some packs lie: a locator without an index."""

    spots: dict[SegmentName, Spot] = field(default_factory=dict)

    def spot(self, segment: SegmentName) -> Spot | None:
        """Where a segment lies."""
        return self.spots.get(segment)


@dataclass
class Golden:
    """One golden home, its packs opened without its log or an index."""

    folder: Path

    def __post_init__(self) -> None:
        self.keyring = golden_keyring(self.folder)
        packs, located = FolderPacks(LocalDisk(str(self.folder / "home"))), Spots()
        for pack_id in packs.finished():
            for row in read_trailer(packs.open(pack_id), pack_id.hex())[1]:
                located.spots[row.name] = Spot(pack_id, row.offset, row.length, row.table_length)
        self.reader = SegmentReader(packs, located, self.keyring)
        self.packs = [path.read_bytes() for path in sorted((self.folder / "home" / "packs").glob("*.pack"))]
        self.segments = [self.reader.segment(name) for name in sorted(located.spots) if self._reads(name)]

    def _reads(self, name: SegmentName) -> bool:
        """Punched segments are left out."""
        spot = self.reader.spot(name)
        path = self.folder / "home" / "packs" / f"{spot.pack_id.hex()}.pack"
        return any(path.read_bytes()[spot.offset : spot.offset + 4])

    def sealed(self, opened: OpenSegment) -> bytes:
        """The bytes of a segment as they are stored."""
        spot = self.reader.spot(opened.head.header.name)
        path = self.folder / "home" / "packs" / f"{spot.pack_id.hex()}.pack"
        return path.read_bytes()[spot.offset : spot.offset + spot.length]

    def pages(self) -> Iterator[tuple[bytes, bytes]]:
        """(page, side record) of all catalog pages and out-of-line values."""
        for opened in self.segments:
            if opened.head.header.kind != CATALOG:
                continue
            name, table = opened.head.header.name, opened.head.table
            for place in range(len(table)):
                yield bytes(self.reader.chunk(name, table.chunk_id(place))), table.sides[place]

    def files(self, pattern: str) -> list[bytes]:
        """The contents of files below the home."""
        return [path.read_bytes() for path in sorted((self.folder / "home").glob(pattern))][:EVERY_MAX]


def golden_keyring(folder: Path) -> Keyring:
    """The keys of a golden home."""
    secret = golden_secret(folder)
    return open_keyring((folder / "home" / "keyring").read_bytes(), secret)


def golden_secret(folder: Path = FOLDER) -> bytes:
    """The secret in the key file of a golden home."""
    return decode_key_file((folder / "home.key").read_bytes(), subject="home.key").site_secret


@cache
def goldens() -> tuple[Golden, Golden]:
    """Both golden homes."""
    return Golden(FOLDER), Golden(NIGHTS)


@cache
def log_rows() -> tuple[tuple[bytes, bytes, bytes], ...]:
    """(envelope, signature, body) of the facts of all golden logs."""
    found: list[tuple[bytes, bytes, bytes]] = []
    for path in (GOLDEN / "log/log.db", GOLDEN / "decisions/log.db", NIGHTS / "home/log/log.db"):
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        found += connection.execute("SELECT envelope, signature, body FROM facts JOIN bodies USING (place)").fetchall()
        connection.close()
    return tuple(found)


def key_material(name: str) -> bytes:
    """A golden file of keys."""
    return (GOLDEN / "keys" / name).read_bytes()


def pack_heads() -> list[bytes]:
    """The clear headers of packs."""
    return [data[:PACK_HEADER_BYTES] for golden in goldens() for data in golden.packs][:EVERY_MAX]
