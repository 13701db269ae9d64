"""One file of a small home through its own decoder: refused, or proven to mean what it meant before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from shared.errors import DamagedError, FarkeepError
from shared.keyfile import decode_key_file
from shared.keyringfile import encode_keyring, open_keyring
from shared.organisation import decode_organisation
from siteagent.disk.owner import read_holder
from siteagent.ledger.high_water import read_high_water
from siteagent.ledger.history_cache import HistoryCache
from siteagent.ledger.ledger import Ledger
from siteagent.ledger.log_check import check_log
from siteagent.store.changes import ChangeFiles
from siteagent.store.layout import read_format
from siteagent.store.pack import PackHeader, Row, read_trailer
from siteagent.store.packwalk import walk_pack
from siteagent.store.scrub import check_whole
from siteagent.store.segment import HEADER_BYTES, open_segment, parse_header
from siteagent.store.snapshots import SnapshotFiles
from tests.support.memory_disk import memory_disk
from tests.support.small_home import SmallHome
from tests.support.stores import MemoryPack

REFUSED, HARMLESS = "refused", "harmless"
SILENT = frozenset({"owner", "command log", "high-water mark", "history cache"})
"""Kinds whose damage means that nothing is known, and is no error."""


class SmallDecoders:
    """Knows what every file of a small home said when it was sound."""

    def __init__(self, small: SmallHome, scratch: Path) -> None:
        self._small, self._scratch = small, scratch
        scratch.mkdir(exist_ok=True)
        with small.place.open() as home:
            self._keyring, self._secret = home.keyring, small.place.site_secret(home.keyring.site_id)
            self._digests = {entry.id: entry.taken for entry in home.ledger.history().snapshots}
            self._changes, self._salt = home.changes.read(), home.ledger.recorder.tables.cache_salt()
            self._retired = {row.name for path, data in small.saved.items() if small.kind(path) == "pack"
                             for row in read_trailer(MemoryPack(bytearray(data)), "")[1] if row.name in home.retired}
            self._facts = [fact.position for fact in home.ledger.facts()]
        small.put_back()
        self._trailers = {path: read_trailer(MemoryPack(bytearray(data)), "")
                          for path, data in small.saved.items() if small.kind(path) == "pack"}  # fmt: skip
        self._ways: dict[str, Callable[[Path, bytes], bool]] = {
            "format": self._format, "keyring": self._open_keyring, "key file": self._key_file, "log": self._log,
            "organisation": self._organisation, "high-water mark": self._head, "history cache": self._cache,
            "manifest": self._manifest, "reach": self._reach, "changes": self._read_changes, "pack": self._pack,
            "owner": lambda _, data: bool(read_holder(data)), "command log": lambda *_: True,
        }  # fmt: skip

    def kinds(self) -> frozenset[str]:
        """The kinds that can be judged here."""
        return frozenset(self._ways)

    def judge(self, path: Path, data: bytes) -> str:
        """What comes of other bytes in the place of a file; AssertionError when they are taken for something else."""
        kind = self._small.kind(path)
        try:
            is_same = self._ways[kind](path, data)
        except FarkeepError as error:
            assert error.kind != "bug", error
            return REFUSED
        assert is_same, f"{kind} {path.name} was read, and is not what was written"
        return HARMLESS

    def damaged_segments(self, path: Path, data: bytes) -> set[int] | None:
        """Offsets of the segments of a pack that do not hold any more; None when its trailer does not read."""
        pack = MemoryPack(bytearray(data))
        try:
            about, rows = read_trailer(pack, "")
        except FarkeepError:
            return None
        assert (about, rows) == self._trailers[path], "a trailer was read, and is not what was written"
        return {row.offset for row in rows if row.name not in self._retired and not self._holds(pack, about, row)}

    def _holds(self, pack: MemoryPack, about: PackHeader, row: Row) -> bool:
        """Verifying and reading agree on whether a segment holds."""
        try:
            check_whole(pack, about, row, self._keyring)
        except FarkeepError:
            is_sound = False
        else:
            is_sound = True
        try:
            data = pack.read_at(row.offset, row.length)
            header = parse_header(data, "")
            opened = open_segment(header, memoryview(data)[HEADER_BYTES:], self._keyring.epoch(header.key_epoch))
        except FarkeepError:
            return False
        assert is_sound, f"segment at {row.offset} reads ({len(opened[1])} bytes), and verify says it does not"
        return True

    def _pack(self, path: Path, data: bytes) -> bool:
        damaged = self.damaged_segments(path, data)
        if damaged is None:
            known = {row.name: row.digest for row in self._trailers[path][1]}
            found = walk_pack(MemoryPack(bytearray(data)), bytes.fromhex(path.stem), path.name, self._keyring)
            self._refuse(all(known.get(row.name) == row.digest for row, _ in found))
        if damaged:
            self._refuse(True)
        return True

    @staticmethod
    def _refuse(is_right: bool) -> NoReturn:
        assert is_right, "a segment was found that was never written"
        raise DamagedError("a part of it does not read")

    def _format(self, _: Path, data: bytes) -> bool:
        found = read_format(memory_disk({"format": data}), "H", 1)
        return found.site == self._keyring.site_id.hex() or self._is_refused_when_opened(data)

    def _is_refused_when_opened(self, data: bytes) -> bool:
        """What the format file says of the site is compared with the keyring only when a home is opened."""
        path = self._small.place.home / "format"
        path.write_bytes(data)
        try:
            self._small.place.open().close()
        finally:
            path.write_bytes(self._small.saved[path])
        return False

    def _open_keyring(self, _: Path, data: bytes) -> bool:
        return encode_keyring(open_keyring(data, self._secret)) == encode_keyring(self._keyring)

    def _key_file(self, _: Path, data: bytes) -> bool:
        return decode_key_file(data, subject="key", site_id=self._keyring.site_id).site_secret == self._secret

    def _organisation(self, _: Path, data: bytes) -> bool:
        return decode_organisation(data) == self._small.organisation

    def _head(self, path: Path, data: bytes) -> bool:
        return read_high_water(data, self._keyring) in (None, read_high_water(self._small.saved[path], self._keyring))

    def _cache(self, path: Path, data: bytes) -> bool:
        found, sound = (HistoryCache(memory_disk({"history": one}), self._small.place.randomness).read(
            self._keyring, self._salt) for one in (data, self._small.saved[path]))  # fmt: skip
        return found in (None, sound)

    def _manifest(self, path: Path, data: bytes) -> bool:
        files = SnapshotFiles(memory_disk({f"snapshots/{path.name}": data}), self._keyring)
        return self._is_read(path, data, files.manifest, self._digests[bytes.fromhex(path.stem)].manifest)

    def _reach(self, path: Path, data: bytes) -> bool:
        files = SnapshotFiles(memory_disk({f"reaches/{path.name}": data}), self._keyring)
        return self._is_read(path, data, files.reach, self._digests[bytes.fromhex(path.stem)].reach)

    def _is_read(self, path: Path, data: bytes, read: Callable[[bytes, bytes | None], object], digest: bytes) -> bool:
        """With the digest that the log has, and without it as after the loss of the log."""
        refusals = 0
        for known in (digest, None):
            try:
                read(bytes.fromhex(path.stem), known)
            except FarkeepError:
                refusals += 1
        if refusals == 2:
            self._refuse(True)
        return data == self._small.saved[path]

    def _read_changes(self, path: Path, data: bytes) -> bool:
        disk = memory_disk({f"changes/{path.name}": data})
        return ChangeFiles(disk, self._keyring, self._keyring.site_id).read() == self._changes

    def _log(self, _: Path, data: bytes) -> bool:
        """The database alone, in a folder of its own; what `check_log` calls good must hold every fact."""
        for old in self._scratch.iterdir():
            old.unlink()
        (self._scratch / "log.db").write_bytes(data)
        place = self._small.place
        with Ledger.open(str(self._scratch), self._keyring, place.clock, place.randomness, None) as ledger:
            report = check_log(ledger)
            if not report.is_good:
                self._refuse(True)
            return [fact.position for fact in ledger.facts()] == self._facts

    def segment_at(self, path: Path, offset: int) -> int | None:
        """The offset of the segment of a pack that a byte lies in; None for its header and trailer."""
        rows = self._trailers[path][1]
        return next((row.offset for row in rows if row.offset <= offset < row.offset + row.length), None)

    def is_retired(self, path: Path, offset: int) -> bool:
        """True for a byte of a segment that was swept or superseded."""
        rows = self._trailers.get(path, (None, list[Row]()))[1]
        return any(row.offset <= offset < row.offset + row.length for row in rows if row.name in self._retired)
