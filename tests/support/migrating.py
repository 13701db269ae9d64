"""A made-up next format of a home, and its migration. No shipped program knows it.

In format 2 manifests lie in `manifests/` (each file gets another name), reaches in `reached/` (each is written anew and
the old one removed), and `numbers` says how many there are.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from migrations.homes import Files, Migration
from shared.keyring import Keyring
from siteagent.home import Access, Home, World, open_home
from tests.support.machine import Machine
from tests.support.scenarios import Scenario

NUMBERS = "numbers"


def move(files: Files, keyring: Keyring) -> None:
    """From format 1 to format 2."""
    assert keyring.site_id
    files.make_folder("manifests")
    files.make_folder("reached")
    for name in files.list("snapshots"):
        files.rename(f"snapshots/{name}", f"manifests/{name}")
    for name in files.list("reaches"):
        data = files.read(f"reaches/{name}")
        if data is not None:
            files.write(f"reached/{name}", data)
        files.remove(f"reaches/{name}")
    files.write(NUMBERS, b"%d manifests\n" % len(files.list("manifests")))


def add(files: Files, _: Keyring) -> None:
    """A migration that only adds a file."""
    files.write(NUMBERS, b"%d manifests\n" % len(files.list("snapshots")))


MOVING = Migration(2, "manifests and reaches get folders of their own", False, move)
ADDING = Migration(2, "manifests are counted", True, add)


def use_second_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that goes with it: it looks for manifests and reaches in the new places."""
    monkeypatch.setattr("siteagent.store.snapshots._MANIFESTS", "manifests")
    monkeypatch.setattr("siteagent.store.snapshots._REACHES", "reached")


def next_world(world: World, migration: Migration = MOVING) -> World:
    """The world of that program."""
    return replace(world, migrations=(migration,))


def open_migrating(access: Access, world: World) -> Home:
    """What `farkeep migrate` does first."""
    return open_home(replace(access, may_migrate=True), "migrate", world)


def migrating(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """The migration of a home with three snapshots."""
    machine.place.create()
    machine.back_up()
    machine.change_source()
    machine.back_up()
    machine.back_up()
    machine.save("format 1")
    use_second_format(monkeypatch)
    return Scenario(machine, "format 1", migrate_on(machine))


def migrate_on(machine: Machine) -> Callable[[], None]:
    """The job: open, migrate, close."""
    def run() -> None:
        machine.place.world = next_world(machine.place.world)
        access = machine.place.access
        machine.place.access = replace(access, may_migrate=True)
        try:
            with machine.session():
                pass
        finally:
            machine.place.access = access

    return run
