"""Damage is contained and mended: only what lies in the damaged segment (at most 1 MiB of content) and the deltas
that rest on it suffers, `verify` says which, `repair` never removes a byte that reads, and the next backup of an
intact source stores anew what is damaged."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from shared.errors import FarkeepError, HostileError
from siteagent.home import Home
from siteagent.jobs.repair_index import repair_index
from siteagent.jobs.repair_log import open_broken, repair_log
from siteagent.jobs.repair_packs import repair_packs
from siteagent.jobs.verify import verify
from siteagent.store.frame import FRAME_BYTES_MAX
from siteagent.store.names import SegmentName
from siteagent.store.packs import FolderPacks
from siteagent.store.reader import SegmentReader
from siteagent.store.segment import HEADER_BYTES
from siteagent.store.writer import StoreWriter
from tests.support.examination import catalog_with, examine, read_anew
from tests.support.homes import newest
from tests.support.small_home import WHO, SmallHome, read_snapshot
from tests.support.tally import Tally

Place_ = tuple[bytes, bytes]


def _segments(home: Home) -> list[SegmentName]:
    return [name for name in sorted(home.index.segments()) if name not in home.retired]


def _users(home: Home) -> dict[Place_, frozenset[SegmentName]]:
    """The segments that each path of each snapshot needs to be listed and read, by an account of every read."""
    found = {}
    for entry in home.ledger.history().snapshots:
        for path, segments in _read_with_account(home, entry.id):
            found[entry.id, path] = segments
    return found


class _Account(SegmentReader):
    """A reader that notes every segment it opens."""

    opened: set[SegmentName]

    def _segment_there(self, name: SegmentName):  # type: ignore[no-untyped-def]
        self.opened.add(name)
        return super()._segment_there(name)

    def _table_there(self, name: SegmentName):  # type: ignore[no-untyped-def]
        self.opened.add(name)
        return super()._table_there(name)


def _read_with_account(home: Home, snapshot: bytes) -> Iterator[tuple[bytes, frozenset[SegmentName]]]:
    entry = home.ledger.history().snapshot(snapshot)
    assert entry is not None
    packs = FolderPacks(home.disk)
    try:
        for path in [found.path for found in home.catalog(entry).entries()]:
            reader = _Account(packs, home.index, home.keyring, home.successors)
            reader.opened = set()
            catalog = catalog_with(entry, reader)
            found = next(one for one in catalog.entries() if one.path == path)
            if found.type == 1:
                for piece in catalog.pieces(found):
                    if piece.segment:
                        reader.chunk(piece.segment, piece.chunk_id)
            catalog.target(found)
            catalog.xattrs(found)
            yield path, frozenset(reader.opened)
    finally:
        packs.close()


def _reads(home: Home) -> dict[Place_, object]:
    """Everything that reads, by snapshot and path."""
    found: dict[Place_, object] = {}
    for entry in home.ledger.history().snapshots:
        read, _, _ = read_anew(home, entry)
        found |= {(entry.id, path): value for path, value in read.items()}
    return found


def _damage_segment(small: SmallHome, name: SegmentName, where: str) -> Path:
    """Change a byte of a segment's header, table or body, or lose the whole of it; returns the pack."""
    with small.place.open() as home:
        spot = home.reader.spot(name)
    path = small.place.home / "packs" / f"{spot.pack_id.hex()}.pack"
    data = bytearray(path.read_bytes())
    at = {"header": 30, "table": HEADER_BYTES + 9, "body": HEADER_BYTES + spot.table_length + 9}.get(where)
    if at is None:
        data[spot.offset : spot.offset + spot.length] = bytes(spot.length)
    else:
        data[spot.offset + at] ^= 4
    path.write_bytes(data)
    return path


def test_only_users_of_a_segment_suffer(small: SmallHome, seed: int, is_long_run: bool, tally: Tally) -> None:
    """Each segment is damaged in its header, table, body and as a whole; what does not need it reads as before."""
    with small.place.open() as home:
        users, names = _users(home), _segments(home)
        assert all(home.reader.segment(name).head.table.frames[0].plain_bytes <= FRAME_BYTES_MAX for name in names)
        everything = _reads(home)
    small.put_back()
    damages = [(name, where) for name in names for where in ("header", "table", "body", "whole")]
    if not is_long_run:
        random.Random(seed).shuffle(damages)
        damages = sorted(damages, key=lambda one: one[1] != "body")[: len(names)] + damages[:4]
    for name, where in damages:
        _damage_segment(small, name, where)
        with small.place.open() as home:
            read, report = _reads(home), verify(home, "read-data")
            spared = {key for key, segments in users.items() if name not in segments}
            assert {key: everything[key] for key in spared} == {key: read[key] for key in spared if key in read}
            assert [each.name for each in report.damaged if each.name == name]
            lost = everything.keys() - read.keys()
            assert all(name in users[key] for key in lost)
        small.put_back()
    tally("segments damaged", len(damages))


def _flip_in(small: SmallHome, kind: str, chance: random.Random) -> Path:
    path = chance.choice([path for path, data in small.saved.items() if data and small.kind(path) == kind])
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return path


def _cut(small: SmallHome, kind: str, chance: random.Random) -> Path:
    path = chance.choice([path for path, data in small.saved.items() if data and small.kind(path) == kind])
    path.write_bytes(path.read_bytes()[: -chance.randrange(1, 300)])
    return path


DAMAGES: dict[str, Callable[[SmallHome, random.Random], object]] = {
    "a bit of a pack": lambda small, chance: _flip_in(small, "pack", chance),
    "bits of three packs": lambda small, chance: [_flip_in(small, "pack", chance) for _ in range(3)],
    "a pack without its trailer": lambda small, chance: _cut(small, "pack", chance),
    "a pack that is gone": lambda small, chance: _flip_in(small, "pack", chance).unlink(),
    "a bit of the log": lambda small, chance: _flip_in(small, "log", chance),
    "a log that is cut": lambda small, chance: _cut(small, "log", chance),
    "a manifest": lambda small, chance: _flip_in(small, "manifest", chance),
    "a reach": lambda small, chance: _flip_in(small, "reach", chance),
    "changes": lambda small, chance: _flip_in(small, "changes", chance),
    "the index": lambda small, chance: _flip_in(small, "index", chance),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_repair_removes_nothing_that_reads(
    damage: str, small: SmallHome, seed: int, is_long_run: bool, tally: Tally
) -> None:
    """What reads before each of the repairs reads afterwards, and reads the same."""
    rounds, found = 40 if is_long_run else 2, 0
    for number in range(rounds):
        DAMAGES[damage](small, random.Random(f"{seed} {damage} {number}"))
        before = _reads_if_it_opens(small)
        for repair in (_repair_index, _repair_packs, _repair_log):
            repair(small)
            after = _reads_if_it_opens(small)
            gone = [key for key, value in before.items() if after.get(key) != value]
            assert not gone, f"{repair.__name__} lost {gone[:3]} and {len(gone)} in all"
            before = after
        found += len(before)
        small.put_back()
    assert found, "nothing was read after any of the repairs"
    tally("repairs after damage", 3 * rounds)


def test_what_does_not_read_is_kept_too(small: SmallHome, tally: Tally) -> None:
    """A pack of which something is lost is set aside with all its bytes: another program may make more of them."""
    with small.place.open() as home:
        name = _segments(home)[0]
    path = _damage_segment(small, name, "body")
    damaged = path.read_bytes()
    _repair_packs(small)
    kept = [file for file in path.parent.iterdir() if file.read_bytes() == damaged]
    assert [file.suffix for file in kept] == [".aside"]
    tally("repairs after damage", 1)


def _reads_if_it_opens(small: SmallHome) -> dict[Place_, object]:
    try:
        with small.place.open() as home:
            return _reads(home)
    except FarkeepError:
        return {}


def _repair_index(small: SmallHome) -> None:
    _try_in(small.place.open, repair_index)


def _repair_packs(small: SmallHome) -> None:
    """Verify first: it records which segments are damaged."""
    _try_in(small.place.open, lambda home: verify(home, "read-data", who=WHO))
    _try_in(small.place.open, lambda home: repair_packs(home, WHO))


def _repair_log(small: SmallHome) -> None:
    _try_in(lambda: open_broken(small.place.access, "repair log", small.place.world),
            lambda home: repair_log(home, WHO))  # fmt: skip


def _try_in(opened: Callable[[], Home], work: Callable[[Home], object]) -> None:
    """Typed errors are an answer: what was damaged may not let itself be opened or repaired."""
    try:
        with opened() as home:
            work(home)
    except FarkeepError as error:
        assert error.kind != "bug", error


@pytest.mark.parametrize("damage", ["a bit of a pack", "bits of three packs", "a pack without its trailer",
                                    "a pack that is gone", "the index"])  # fmt: skip
def test_the_next_backup_of_an_intact_source_is_whole(
    damage: str, small: SmallHome, seed: int, is_long_run: bool, tally: Tally
) -> None:
    """After verify has recorded the damage, new snapshots rest on nothing damaged: the source is read again for it."""
    rounds = 40 if is_long_run else 2
    for number in range(rounds):
        DAMAGES[damage](small, random.Random(f"{seed} heal {damage} {number}"))
        assert _is_next_backup_whole(small), number
        small.put_back()
    tally("backups after damage", rounds)


def test_the_next_backup_is_whole_whatever_segment_is_damaged(small: SmallHome, tally: Tally) -> None:
    """Segments of older snapshots as well, in which a backup looks for what a delta may rest on."""
    with small.place.open() as home:
        names = _segments(home)
    for name in names:
        for where in ("table", "body"):
            _damage_segment(small, name, where)
            assert _is_next_backup_whole(small), (name, where)
            small.put_back()
    tally("backups after damage", 2 * len(names))


def test_a_backup_goes_on_before_anything_was_verified(small: SmallHome, tally: Tally) -> None:
    """What unchanged files rest on does not open, which shows when a page that names it is made anew: those files are
    read again. A damaged body shows only to whoever reads it."""
    truth = {path: value[1:] for path, value in small.truth[list(small.truth)[-1]].items()}
    later = small.place.write("folder/later", b"later")
    with small.place.open() as home:
        names = _segments(home)
    looked_again, again = 0, StoreWriter.look_again
    for name in names:
        for where in ("header", "table", "whole", "body"):
            _damage_segment(small, name, where)
            with small.place.open() as home:
                with patch.object(StoreWriter, "look_again", autospec=True, side_effect=again) as looking:
                    small.place.backup(home)
                looked_again += looking.call_count
                assert where == "body" or _reads_as(home, truth | {later: (b"", b"", b"later")}), (name, where)
            small.put_back()
    assert looked_again, "no backup began anew, or it went on with what it believed of segments before"
    tally("backups after damage", 4 * len(names))
    os.unlink(later)


def test_a_backup_goes_on_when_several_packs_are_gone(small: SmallHome, tally: Tally) -> None:
    truth = {path: value[1:] for path, value in small.truth[list(small.truth)[-1]].items()}
    later = small.place.write("folder/later", b"later")
    for pack in small.place.packs():
        for keeps_index in (True, False):
            pack.unlink() if keeps_index else pack.write_bytes(bytes(pack.stat().st_size))
            with small.place.open() as home:
                small.place.backup(home)
                assert _reads_as(home, truth | {later: (b"", b"", b"later")}), pack
            small.put_back()
    tally("backups after damage", 2 * len(small.place.packs()))
    os.unlink(later)


def _reads_as(home: Home, truth: dict[bytes, tuple[object, ...]]) -> bool:
    """True when the newest snapshot reads as that, and nothing it needs is damaged."""
    entry = newest(home)
    found = read_snapshot(home.catalog(entry), home.reader)
    report = verify(home, "read-data", who=WHO)
    is_same = {path: value[1:] for path, value in found.items()} == truth
    return is_same and not any(entry.id in each.snapshots for each in report.damaged)


def test_a_reach_of_a_snapshot_before_that_no_writer_makes_ends_no_backup(small: SmallHome) -> None:
    """New reaches are differences to older ones; without one they are whole."""
    error = HostileError("a reach of nobody")
    with small.place.open() as home:
        with patch.object(home.snapshots, "segments", side_effect=error):
            small.place.backup(home)
        assert any(str(error) in note for note in home.notes)
        entry = newest(home)
        assert home.snapshots.reach(entry.id).base == b""
    small.put_back()


def _is_next_backup_whole(small: SmallHome) -> bool:
    truth = {path: value[1:] for path, value in small.truth[list(small.truth)[-1]].items()}
    with small.place.open() as home:
        verify(home, "read-data", who=WHO)
        small.place.backup(home)
    with small.place.open() as home:
        return _reads_as(home, truth)


def test_a_home_that_was_put_back_is_whole(small: SmallHome) -> None:
    _flip_in(small, "pack", random.Random(4)).unlink()
    assert not examine(small).is_harmless
    small.put_back()
    assert examine(small).is_harmless
