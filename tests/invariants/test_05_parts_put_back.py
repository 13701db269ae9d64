"""What is put back from older copies loses nothing that is still on the disk, and no position of the log is used twice.

"Two things to lose": the log is the truth for decisions, manifests and packs are the truth for content.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import remove_tree
from tests.support.rewinds import Rewinds
from tests.support.scratch import memory, scratch_folder
from tests.support.tally import Tally

MOVES = ("log", "mark", "log_and_mark", "log_and_index", "home", "home_and_mark", "packs", "no_log", "no_mark",
         "cut_log")  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch_folder(memory()) as made:
        yield made


@pytest.mark.parametrize("name", MOVES)
def test_one_part_comes_back(name: str, folder: Path, tally: Tally) -> None:
    """After backups, a prune and a copy on the way; then work goes on."""
    walk = Rewinds(folder, 1)
    walk.back_up()
    walk.keep()
    for _ in range(2):
        walk.back_up()
    walk.forget_and_prune()
    walk.back_up()
    walk.note_positions()
    for copy in walk.copies[::-1]:
        walk.rewind(getattr(walk, name), copy)
        walk.back_up()
        walk.note_positions()
    walk.forget_and_prune()
    with walk.place.open() as home:
        walk.require_readable(home, walk.present)
    assert walk.swept or walk.is_lacking
    tally("parts put back", len(walk.copies))


def test_a_pack_that_was_given_up_proves_nothing_when_it_comes_back(folder: Path, tally: Tally) -> None:
    """It cites a position that the log lost, which knows from what was repeated beside the packs that it went."""
    walk = Rewinds(folder, 1)
    walk.keep()
    walk.back_up()
    walk.keep()
    walk.back_up()
    first, *_, second = walk.copies
    going = set(walk.place.packs())
    for _ in range(3):
        walk.forget_and_prune()
    assert going - set(walk.place.packs())
    walk.log_and_mark(first)
    walk.repair()
    walk.rewind(walk.packs, second)
    walk.back_up()
    tally("parts put back", 2)


@pytest.mark.parametrize("witness", ["packs", "snapshots", "changes"])
def test_each_witness_alone_tells_that_the_log_is_older(witness: str, folder: Path, tally: Tally) -> None:
    """Packs, manifests, or what is repeated of sweeps: newer than log and mark, and each without the others."""
    walk = Rewinds(folder, 1)
    for _ in range(3):
        walk.back_up()
    walk.keep()
    walk.back_up()
    walk.forget_and_prune()
    walk.log_and_mark(walk.copies[-1])
    for name in {"packs", "snapshots", "changes"} - {witness}:
        old = {path.name for path in (walk.copies[-1].folder / "home" / name).glob("*")}
        for path in (walk.place.home / name).iterdir():
            if path.name not in old:
                path.unlink()
    assert walk.is_refused()
    tally("parts put back", 1)


def test_a_walk_through_older_copies(folder: Path, seed: int, is_long_run: bool, tally: Tally) -> None:
    rewinds = repairs = 0
    for number in range(100 if is_long_run else 4):
        below = folder / str(number)
        below.mkdir()
        walk = Rewinds(below, seed + number)
        try:
            for _ in range(25):
                walk.step()
        except BaseException as error:
            error.add_note(f"seed {seed + number}")
            raise
        rewinds, repairs = rewinds + walk.steps, repairs + walk.repairs
        remove_tree(below)
    assert repairs
    tally("parts put back", rewinds)
