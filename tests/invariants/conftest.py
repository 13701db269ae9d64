"""What tests of crashes share: a machine in memory, calls in the same order every time, and no real syncs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.places import remove_tree
from tests.support.scratch import memory, scratch_folder
from tests.support.small_home import SmallHome
from tests.support.steps import seal_one_by_one


@pytest.fixture
def machine_of(machine: Machine) -> Iterator[Callable[[], Machine]]:
    """Makes further machines like `machine`."""
    folder = machine.place.folder.parent
    made = list[Path]()

    def make() -> Machine:
        made.append(folder.with_name(f"{folder.name}-{len(made)}"))
        made[-1].mkdir()
        return Machine(made[-1])

    yield make
    for other in made:
        remove_tree(other)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, no_sync_of_restores: None) -> Iterator[Machine]:
    """A machine in memory where there is such a place: durability is kept book of, not asked of this disk.

    It has one sealing thread, keeps the projection of its log after every command, and what is restored here need not
    outlive it.
    """
    monkeypatch.setattr("siteagent.ledger.ledger.CACHED_TAIL_FACTS", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with scratch_folder(memory()) as folder:
        yield Machine(folder)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> SmallHome:
    """The small home of the tests of one file."""
    return SmallHome(tmp_path_factory.mktemp("small"))


@pytest.fixture
def small(made_once: SmallHome, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest,
          tmp_path: Path) -> Iterator[SmallHome]:
    """A home with every kind of file, as it was made whatever earlier tests did to it.

    Jobs seal one segment after the other, so that packs lie in one order. The times and inode numbers of the source
    differ from run to run, so a failing test leaves the home as it is then in `tmp_path`/damaged.
    """
    seal_one_by_one(monkeypatch)
    failed = request.session.testsfailed
    yield made_once
    if request.session.testsfailed > failed:
        made_once.copy_to(tmp_path / "damaged")
    made_once.put_back()
