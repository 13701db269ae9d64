"""Packs as files of a folder: names say what is finished, and a pack that was given up leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import DamagedError
from siteagent.disk.local import LocalDisk
from siteagent.store.packs import FolderPacks

ONE, TWO = b"\1" * 16, b"\2" * 16


@pytest.fixture
def packs(tmp_path: Path) -> FolderPacks:
    disk = LocalDisk(str(tmp_path))
    disk.make_folder("packs")
    return FolderPacks(disk)


def _store(packs: FolderPacks, pack_id: bytes, data: bytes = b"content") -> None:
    sink = packs.begin(pack_id)
    sink.append([data])
    sink.finish()


def test_a_pack_counts_only_when_it_is_finished(packs: FolderPacks, tmp_path: Path) -> None:
    sink = packs.begin(ONE)
    assert sink.append([b"con", b"tent"]) == 0
    assert sink.append([b"!"]) == 7
    assert sink.read_at(1, 3) == b"ont"
    assert (packs.finished(), packs.unfinished(), packs.size(ONE)) == ([], [ONE], None)
    sink.finish()
    assert (packs.finished(), packs.unfinished(), packs.size(ONE)) == ([ONE], [], 8)
    assert packs.open(ONE).read_at(0, 100) == b"content!"
    assert [path.name for path in (tmp_path / "packs").iterdir()] == [f"{ONE.hex()}.pack"]


def test_a_pack_that_was_given_up_leaves_nothing(packs: FolderPacks, tmp_path: Path) -> None:
    sink = packs.begin(ONE)
    sink.append([b"half"])
    sink.discard()
    sink.discard()
    assert list((tmp_path / "packs").iterdir()) == []


def test_deleting_takes_finished_and_unfinished_packs(packs: FolderPacks) -> None:
    _store(packs, ONE)
    packs.open(ONE)
    packs.begin(TWO).append([b"half"])
    for pack_id in (ONE, TWO, ONE):
        packs.delete(pack_id)
    assert (packs.finished(), packs.unfinished()) == ([], [])
    with pytest.raises(DamagedError, match="a pack is missing"):
        packs.open(ONE)


def test_other_files_are_no_packs(packs: FolderPacks, tmp_path: Path) -> None:
    _store(packs, ONE)
    for name in ("x.pack", "0" * 31 + ".pack", "g" * 32 + ".pack", "A" * 32 + ".pack", "0" * 32, "notes.txt"):
        (tmp_path / "packs" / name).write_bytes(b"x")
    assert packs.finished() == [ONE]


def test_many_packs_need_few_open_files(packs: FolderPacks) -> None:
    ids = [bytes((n,)) * 16 for n in range(120)]
    for pack_id in ids:
        _store(packs, pack_id, pack_id)
    for _ in range(2):
        assert [packs.open(pack_id).read_at(0, 16) for pack_id in ids] == ids
    assert len(packs._open) <= 64
    packs.close()
    assert len(packs._open) == 0


def test_a_range_given_back_reads_as_zeros(packs: FolderPacks) -> None:
    _store(packs, ONE, b"x" * 20_000)
    packs.punch(ONE, 4096, 4096)
    data = packs.open(ONE).read_at(0, 20_000)
    assert (len(data), data[:4096], data[8192:]) == (20_000, b"x" * 4096, b"x" * 11_808)


def test_the_names_of_packs_can_be_made_durable(packs: FolderPacks) -> None:
    _store(packs, ONE)
    packs.settle()
    assert packs.finished() == [ONE]
