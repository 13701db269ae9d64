"""What a failure of the power leaves in crash tests: what was synced is sure, and everything else may happen."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from siteagent.disk.disk import Disk
from siteagent.disk.durable import write_durably
from tests.support.recorded_disk import Tape
from tests.support.survival import Loss, outcome

DATA = b"0123456789" * 1000


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    (tmp_path / "machine" / "home" / "packs").mkdir(parents=True)
    return Tape(tmp_path / "machine", tmp_path / "scratch")


@pytest.fixture
def disk(tape: Tape, tmp_path: Path) -> Disk:
    return tape.disk(str(tmp_path / "machine" / "home"))


def left(tape: Tape, loss: Loss, seed: int = 0) -> dict[str, int]:
    """Names below home and lengths."""
    found = outcome(tape.survival.picture(), loss, Random(seed))
    return {path.rpartition("home/")[2]: content.size_bytes for path, content in found.files.items()}


def drawn(tape: Tape) -> set[tuple[tuple[str, int], ...]]:
    return {tuple(sorted(left(tape, Loss.REORDERED, seed).items())) for seed in range(200)}


def test_content_and_name_are_lost_each_for_itself(tape: Tape, disk: Disk) -> None:
    writer = disk.create("packs/a")
    writer.append([DATA])
    assert left(tape, Loss.EVERYTHING) == {}
    assert left(tape, Loss.CONTENT) == {"packs/a": 0}
    writer.sync()
    assert left(tape, Loss.EVERYTHING) == {}
    assert drawn(tape) == {(), (("packs/a", len(DATA)),)}
    disk.sync_folder("packs")
    assert left(tape, Loss.EVERYTHING) == {"packs/a": len(DATA)}
    writer.append([DATA])
    assert left(tape, Loss.EVERYTHING) == {"packs/a": len(DATA)}
    lengths = {dict(found)["packs/a"] for found in drawn(tape)}
    assert {len(DATA), 2 * len(DATA)} < lengths
    assert min(lengths) == len(DATA)
    writer.close()


def test_names_are_lost_independently_and_a_rename_as_a_whole(tape: Tape, disk: Disk) -> None:
    write_durably(disk, "packs/old", DATA)
    for name in ("one", "two"):
        disk.create(f"packs/{name}").close()
    disk.remove("packs/old")
    disk.rename("packs/one", "packs/first")
    names = {frozenset(name.removeprefix("packs/") for name, _ in found) for found in drawn(tape)}
    assert {frozenset(), frozenset({"old"}), frozenset({"two"}), frozenset({"first"}), frozenset({"old", "one"}),
            frozenset({"old", "two", "first"})} <= names  # fmt: skip
    assert not any({"one", "first"} <= found for found in names)


def test_a_torn_write_is_the_last_one(tape: Tape, disk: Disk) -> None:
    writer = disk.create("packs/a")
    writer.append([DATA])
    writer.append([DATA])
    lengths = {left(tape, Loss.TORN, seed)["packs/a"] for seed in range(200)}
    assert min(lengths) >= len(DATA)
    assert len(lengths) > 10
    writer.sync()
    assert {left(tape, Loss.TORN, seed)["packs/a"] for seed in range(20)} == {2 * len(DATA)}
    writer.close()


def test_what_is_left_is_what_was_written(tape: Tape, disk: Disk, tmp_path: Path) -> None:
    writer = disk.create("packs/a")
    writer.append([DATA])
    writer.sync()
    disk.sync_folder("packs")
    writer.append([b"more"])
    writer.close()
    disk.rename("packs/a", "packs/b")
    tape.crash(Loss.EVERYTHING)
    assert (tmp_path / "machine" / "home" / "packs" / "a").read_bytes() == DATA
    assert disk.list("packs") == ["a"]
    assert tape.survival.pending() == set()


def test_a_clean_stop_makes_nothing_durable(tape: Tape, disk: Disk) -> None:
    disk.create("packs/a").close()
    tape.crash(Loss.NOTHING)
    assert disk.list("packs") == ["a"]
    tape.crash(Loss.EVERYTHING)
    assert disk.list("packs") == []
