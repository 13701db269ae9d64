"""States after a power failure keep what was flushed and are otherwise free, by sectors."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support import power_states
from tests.support.power_states import Disks, Flavour, Kept, State, flushed_at, pending_at
from tests.support.recorded_block import Event, Flush, Write

TAPE: list[Event] = [
    Write(0, b"a" * 1024), Flush(), Write(1024, b"b" * 1024), Write(0, b"c" * 512), Flush(), Write(2048, b"d" * 4096),
    Write(1024, b"e" * 1024),
]  # fmt: skip


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    (tmp_path / "durable").write_bytes(bytes(8192))
    return Disks(TAPE, tmp_path / "durable")


def made(disks: Disks, state: State, folder: Path) -> bytes:
    disks.make(state, folder / "image")
    return (folder / "image").read_bytes()


def test_what_is_flushed_and_what_is_pending() -> None:
    assert [flushed_at(TAPE, moment) for moment in range(8)] == [0, 0, 2, 2, 2, 5, 5, 5]
    assert [pending_at(TAPE, moment) for moment in (0, 1, 2, 4, 7)] == [[], [0], [], [2, 3], [5, 6]]


@pytest.mark.parametrize("moment", range(8))
def test_every_state_is_legal(moment: int) -> None:
    pending = set(pending_at(TAPE, moment))
    for state in power_states.every_state_at(TAPE, moment, random.Random(moment)):
        assert state.flushed == flushed_at(TAPE, moment)
        assert {kept.event for kept in state.kept} <= pending
        assert list(state.kept) == sorted(state.kept, key=lambda kept: kept.event)
        for kept in state.kept:
            write = TAPE[kept.event]
            assert isinstance(write, Write)
            assert set(kept.sectors or ()) <= set(range(len(write.data) // 512))


def test_the_four_flavours_differ() -> None:
    states = list(power_states.states_at(TAPE, 7, random.Random(1)))
    assert [state.flavour for state in states] == [Flavour.CLEAN, Flavour.LOST, Flavour.TORN, Flavour.REORDERED]
    assert len({state.content for state in states}) == 4


def test_flushed_writes_are_there_in_their_order_and_lost_ones_are_not(disks: Disks, tmp_path: Path) -> None:
    lost = made(disks, State(7, Flavour.LOST, 5, ()), tmp_path)
    assert lost == b"c" * 512 + b"a" * 512 + b"b" * 1024 + bytes(6144)


def test_kept_writes_are_there_by_sectors(disks: Disks, tmp_path: Path) -> None:
    torn = made(disks, State(7, Flavour.TORN, 5, (Kept(5, (0, 7)), Kept(6))), tmp_path)
    assert torn[1024:] == b"e" * 1024 + b"d" * 512 + bytes(3072) + b"d" * 512 + bytes(2048)


def test_superblocks_are_written_whole_or_not_at_all() -> None:
    journal = bytes.fromhex("c03b399800000004") + bytes(4088)
    tape: list[Event] = [Write(0, b"a" * 4096), Write(8192, journal + b"b" * 512)]
    tries = [state for seed in range(40) for state in power_states.every_state_at(tape, 2, random.Random(seed))]
    sectors = {(kept.event, kept.sectors) for state in tries for kept in state.kept}
    assert {found for place, found in sectors if place == 0} == {None}
    assert {found for place, found in sectors if place == 1} >= {None, tuple(range(8)), (8,)}
    assert all(set(range(8)) <= set(found) or set(found) <= {8} for place, found in sectors if place == 1 and found)


def test_a_copy_keeps_content_and_holes(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"in the middle")
        file.truncate(8 << 20)
    power_states.copy_sparse(tmp_path / "sparse", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "sparse").read_bytes()
    assert (tmp_path / "copy").stat().st_blocks < (1 << 20) // 512
