"""Chains of migrations: what runs by itself, what has to be asked for, what is refused, and what is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from migrations.homes import HOME_MIGRATIONS, Files, Migration, newest_version
from shared.errors import RefusedError
from shared.keyring import Keyring
from siteagent.home import open_home
from siteagent.jobs.verify import verify
from siteagent.store.layout import read_format
from tests.support.golden_store import EXPECTED, FOLDER, NIGHTS, copy_golden, described, world
from tests.support.homes import Place
from tests.support.migrating import ADDING, MOVING, NUMBERS, next_world, open_migrating, use_second_format

WORLD = world("migrating")


def format_of(home: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((Path(home) / "format").read_bytes())
    return found


def test_the_shipped_chain_has_no_gaps_and_ends_at_the_format_that_init_makes(tmp_path: Path) -> None:
    assert [migration.to_version for migration in HOME_MIGRATIONS] == list(range(2, 2 + len(HOME_MIGRATIONS)))
    place = Place(tmp_path).create()
    assert format_of(str(place.home)) == {"farkeep": "home", "version": newest_version(HOME_MIGRATIONS),
                                          "site": place.open().keyring.site_id.hex()}  # fmt: skip


@pytest.mark.parametrize("golden", [FOLDER, NIGHTS])
def test_a_golden_home_is_read_after_a_migration_that_moves(golden: Path, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    access, expected = copy_golden(tmp_path, golden), json.loads((golden / EXPECTED).read_text())
    use_second_format(monkeypatch)
    with open_migrating(access, next_world(WORLD)) as home:
        assert (home.migrated.from_version, home.migrated.to_version, home.migrated.steps) == (1, 2, (MOVING.what,))
    with open_home(access, "verify", next_world(WORLD)) as home:
        assert home.migrated.steps == ()
        assert verify(home, "read-data").is_good
        assert described(home) == expected


def test_what_only_adds_is_done_by_whoever_opens_the_home(tmp_path: Path) -> None:
    access = copy_golden(tmp_path)
    with open_home(access, "verify", next_world(WORLD, ADDING)) as home:
        assert home.migrated.steps == (ADDING.what,)
        assert verify(home).is_good
    assert (tmp_path / "home" / NUMBERS).read_bytes() == b"2 manifests\n"
    assert format_of(access.home)["version"] == 2


def test_without_being_asked_for_nothing_is_moved(tmp_path: Path) -> None:
    access = copy_golden(tmp_path)
    with pytest.raises(RefusedError, match="format 1; this Farkeep keeps homes in format 2") as caught:
        open_home(access, "verify", next_world(WORLD))
    assert "farkeep migrate" in caught.value.next_step
    assert format_of(access.home) == {"farkeep": "home", "version": 1, "site": format_of(access.home)["site"]}
    with open_home(access, "verify", WORLD) as home:
        assert verify(home).is_good


def test_a_chain_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    """The step that had begun is done again by whoever comes, those after it wait for somebody to ask."""
    access, done = copy_golden(tmp_path), list[int]()

    def step(number: int) -> Migration:
        def run(_: Files, __: Keyring) -> None:
            done.append(number)
            if number == 3 and done.count(3) == 1:
                raise KeyboardInterrupt

        return Migration(number, f"step {number}", False, run)

    chain = tuple(map(step, (2, 3, 4)))
    longer = replace(WORLD, migrations=chain)
    with pytest.raises(KeyboardInterrupt):
        open_migrating(access, longer)
    assert (format_of(access.home)["version"], format_of(access.home)["migrating_from"]) == (3, 2)
    with pytest.raises(RefusedError, match="newer Farkeep"):
        open_home(access, "verify", replace(WORLD, migrations=chain[:1]))
    with pytest.raises(RefusedError, match=r"this home has format 2"):
        open_home(access, "verify", longer)
    assert done == [2, 3]
    with open_home(access, "verify", replace(WORLD, migrations=chain[:2])) as home:
        assert home.migrated.steps == ("step 3",)
    open_migrating(access, longer).close()
    assert done == [2, 3, 3, 4]
    assert "migrating_from" not in format_of(access.home)


@pytest.mark.parametrize("version", [0, -1, 2, 99, 2**40])
def test_a_format_that_is_not_known_is_refused_and_nothing_is_changed(version: int, tmp_path: Path) -> None:
    access = copy_golden(tmp_path)
    path = tmp_path / "home" / "format"
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":%d' % version))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for opening in (open_home, lambda access, _, world: open_migrating(access, world)):
        with pytest.raises(RefusedError, match="made by a newer Farkeep"):
            opening(access, "verify", WORLD)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    with pytest.raises(RefusedError):
        read_format(WORLD.disk(access.home), access.home, 1)
