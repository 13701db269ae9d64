"""The index: rows come back, and whatever happens to its files it only forgets."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from siteagent.store.index import Index, Place, Spot
from siteagent.store.names import segment_name
from siteagent.store.pack import Row
from tests.support.homes import incompressible

RUN = b"run-of-16-bytes!"
PACK, OTHER = b"p" * 16, b"q" * 16
ROWS = [Row(segment_name(RUN, number), 128 + 1000 * number, 1000, 544, b"d" * 32) for number in (1, 2)]
IDS = [b"a" * 32, b"b" * 32, b"c" * 32]


def _filled(folder: Path) -> Index:
    index = Index(str(folder))
    index.add_pack(PACK, ROWS, [(ROWS[0].name, IDS[0] + IDS[1], [0, 2]), (ROWS[1].name, IDS[2], [1])])
    return index


def test_rows_come_back_also_after_opening_again(tmp_path: Path) -> None:
    index = _filled(tmp_path / "index")
    for _ in range(2):
        assert index.find(IDS[0]) == Place(ROWS[0].name, 0, 0)
        assert index.find(IDS[1]) == Place(ROWS[0].name, 1, 2)
        assert index.find(IDS[2]) == Place(ROWS[1].name, 0, 1)
        assert index.find(b"x" * 32) is None
        assert index.spot(ROWS[1].name) == Spot(PACK, 2128, 1000, 544)
        assert index.spot(segment_name(RUN, 3)) is None
        assert list(index.segments()) == [row.name for row in ROWS]
        assert index.packs() == {PACK}
        assert not index.is_empty()
        index.close()
        index = Index(str(tmp_path / "index"))
    index.close()


def test_a_later_pack_wins_and_a_dropped_pack_is_read_again(tmp_path: Path) -> None:
    index = _filled(tmp_path / "index")
    moved = [Row(ROWS[0].name, 128, 1000, 544, b"d" * 32)]
    index.add_pack(OTHER, moved, [(ROWS[0].name, IDS[0], [0])])
    assert index.spot(ROWS[0].name) == Spot(OTHER, 128, 1000, 544)
    assert index.packs() == {PACK, OTHER}
    index.drop_pack(PACK)
    assert index.packs() == {OTHER}
    index.close()


def test_reset_forgets_everything(tmp_path: Path) -> None:
    index = _filled(tmp_path / "index")
    index.reset()
    assert index.is_empty()
    assert index.packs() == set()
    assert list(index.segments()) == []
    index.add_pack(PACK, ROWS, [])
    assert index.spot(ROWS[0].name) is not None
    index.close()


@pytest.mark.parametrize("what", ["gone", "garbage", "empty files", "a file", "cut"])
def test_an_index_that_does_not_open_starts_empty(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "index"
    _filled(folder).close()
    for path in list(folder.iterdir()):
        if what in ("gone", "a file"):
            path.unlink()
        elif what == "garbage":
            path.write_bytes(incompressible(path.name, 500))
        elif what == "empty files":
            path.write_bytes(b"")
        else:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if what == "a file":
        folder.rmdir()
        folder.write_bytes(b"not a folder")
    index = Index(str(folder))
    found = index.find(IDS[0])
    assert found in (None, Place(ROWS[0].name, 0, 0))
    index.add_pack(PACK, ROWS, [(ROWS[0].name, IDS[0], [0])])
    assert index.find(IDS[0]) == Place(ROWS[0].name, 0, 0)
    index.close()


def test_an_index_of_another_version_is_thrown_away(tmp_path: Path) -> None:
    index = _filled(tmp_path / "index")
    rows = index._rows
    assert rows is not None
    rows.put(b"v", b"\2")
    index.close()
    again = Index(str(tmp_path / "index"))
    assert again.is_empty()
    again.close()


def test_flipped_bits_never_raise_and_never_stay(tmp_path: Path, seed: int) -> None:
    """What RocksDB reports as damage means "nothing is known" here, and the next owner starts with an empty index."""
    folder, chance = tmp_path / "index", random.Random(seed)
    known = {incompressible(f"id {n}", 32) for n in range(3000)}
    for turn in range(12):
        index = Index(str(folder))
        index.reset()
        index.add_pack(PACK, ROWS, [(ROWS[0].name, b"".join(sorted(known)), [0] * len(known))])
        index.close()
        Index(str(folder)).close()
        files = sorted(path for path in folder.iterdir() if path.stat().st_size and path.suffix in (".sst", ".log", ""))
        path = files[turn % len(files)]
        data = bytearray(path.read_bytes())
        for _ in range(3):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        index = Index(str(folder))
        places = [index.find(one) for one in known]
        spots = [index.spot(row.name) for row in ROWS]
        list(index.segments())
        was_broken = index.is_broken
        assert all(place is None or place.segment == ROWS[0].name for place in places)
        assert all(spot is None or spot.pack_id == PACK for spot in spots)
        index.close()
        again = Index(str(folder))
        assert again.is_empty() or not was_broken
        again.close()
