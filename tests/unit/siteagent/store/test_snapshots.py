"""Manifests and reaches as files: checked against their digests, set aside, and cleared away without loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import DamagedError
from shared.manifest import manifest_digest
from siteagent.disk.local import LocalDisk
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.reach import Reach, difference, encode_reach
from siteagent.store.snapshots import SnapshotFiles
from tests.support.stores import keyring

SITE = b"site" * 4
ONE, TWO, THREE = (bytes((n,)) * 16 for n in (1, 2, 3))


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    disk = LocalDisk(str(tmp_path))
    for folder in ("snapshots", "reaches"):
        disk.make_folder(folder)
    return SnapshotFiles(disk, keyring())


def _segments(count: int) -> set[SegmentName]:
    return {segment_name(b"r" * 16, number) for number in range(count)}


def _write(files: SnapshotFiles, snapshot: bytes, count: int, base: Reach | None = None, below: int = 0) -> Reach:
    reach = difference(SITE, snapshot, _segments(count), base, _segments(below))
    files.write(snapshot, b"manifest of " + snapshot, encode_reach(reach))
    return reach


def test_reaches_are_read_through_those_they_differ_from(files: SnapshotFiles) -> None:
    one = _write(files, ONE, 100)
    two = _write(files, TWO, 101, one, 100)
    assert two.base == ONE
    assert files.segments(TWO) == _segments(101)
    digest = manifest_digest(encode_reach(two))
    assert files.segments(TWO, digest) == _segments(101)
    with pytest.raises(DamagedError, match="not the one its fact names"):
        files.reach(TWO, bytes(32))
    with pytest.raises(DamagedError, match="not the one its fact names"):
        files.manifest(TWO, bytes(32))


def test_what_is_missing_is_named(files: SnapshotFiles) -> None:
    with pytest.raises(DamagedError) as raised:
        files.manifest_bytes(ONE)
    assert raised.value.subject == f"snapshots/{ONE.hex()}.manifest"
    with pytest.raises(DamagedError) as raised:
        files.reach(ONE)
    assert raised.value.subject == f"reaches/{ONE.hex()}"


def test_only_what_no_known_snapshot_needs_is_removed(files: SnapshotFiles, tmp_path: Path) -> None:
    one = _write(files, ONE, 100)
    _write(files, TWO, 101, one, 100)
    _write(files, THREE, 50)
    (tmp_path / "snapshots" / f"{THREE.hex()}.manifest.part").write_bytes(b"half")
    (tmp_path / "reaches" / "notes").write_bytes(b"of a person")
    files.remove_others({TWO})
    assert files.manifests() == [TWO]
    assert sorted(path.name for path in (tmp_path / "reaches").iterdir()) == [ONE.hex(), TWO.hex(), "notes"]
    assert files.segments(TWO) == _segments(101)


def test_a_manifest_set_aside_stands_for_no_snapshot_and_keeps_its_reach(files: SnapshotFiles, tmp_path: Path) -> None:
    _write(files, ONE, 100)
    name = files.set_aside(ONE)
    assert (tmp_path / name).read_bytes() == b"manifest of " + ONE
    assert files.manifests() == []
    (tmp_path / "snapshots" / "odd.aside").write_bytes(b"")
    files.remove_others(set())
    assert (tmp_path / name).exists()
    assert files.segments(ONE) == _segments(100)


def test_what_was_swept_goes_unless_a_reach_that_stays_rests_on_it(files: SnapshotFiles, tmp_path: Path) -> None:
    one = _write(files, ONE, 100)
    _write(files, TWO, 101, one, 100)
    _write(files, THREE, 50)
    files.write(b"4" * 16, b"being written by a job", b"x")
    files.remove([ONE, THREE], {TWO})
    assert sorted(path.name for path in (tmp_path / "reaches").iterdir()) == [ONE.hex(), TWO.hex(), "34" * 16]
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == [
        f"{TWO.hex()}.manifest", f"{'34' * 16}.manifest"
    ]  # fmt: skip
    assert files.segments(TWO) == _segments(101)
