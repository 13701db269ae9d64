"""Whatever a newer Farkeep may have written is refused as such, and nothing of the home is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from shared.errors import FarkeepError
from siteagent.home import Home, open_home
from siteagent.jobs.verify import verify
from tests.support.golden_store import NIGHTS, copy_golden, world

WORLD = world("newer formats")


def files(folder: Path) -> dict[Path, bytes]:
    """What a home is made of, but for what is made anew at will."""
    passed_over = ("index", "owner", "log.db-wal", "log.db-shm")
    return {path: path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and not any(part in passed_over for part in path.parts)}  # fmt: skip


def raise_version(path: Path, offset: int = 4) -> None:
    """The next version of a file's format."""
    data = bytearray(path.read_bytes())
    assert data[offset] == 1
    data[offset] = 2
    path.write_bytes(data)


def newer_database(path: Path) -> None:
    """The next version of the log's tables."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()


def newer_home(path: Path) -> None:
    """The next version of the whole."""
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))


CASES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "home": ("home/format", newer_home), "log": ("home/log/log.db", newer_database),
    "keyring": ("home/keyring", lambda path: raise_version(path, 8)),
    "key file": ("home.key", lambda path: raise_version(path, 8)), "pack": ("home/packs/*.pack", raise_version),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_a_newer_format_is_refused_and_left_alone(kind: str, tmp_path: Path) -> None:
    pattern, change = CASES[kind]
    access = copy_golden(tmp_path, NIGHTS)
    path = sorted(tmp_path.glob(pattern))[0]
    change(path)
    before, said = files(tmp_path), list[str]()
    try:
        with open_home(access, "verify", WORLD) as home:
            found = verify(home, "read-data")
            said += [str(problem) for problem in found.problems] + found.notes
            assert not found.is_good
    except FarkeepError as error:
        said.append(f"{error.message} {error.next_step}")
    assert any("newer" in text for text in said), said
    left = files(tmp_path)
    changed = {place for place in before if left.get(place) != before[place]}
    assert changed <= {tmp_path / "home" / "log" / "log.db", tmp_path / "home.head"}


DECODERS: dict[str, tuple[str, Callable[[Home, Path], object]]] = {
    "manifest": ("snapshots/*.manifest", lambda home, path: home.snapshots.manifest(bytes.fromhex(path.stem), None)),
    "reach": ("reaches/*", lambda home, path: home.snapshots.reach(bytes.fromhex(path.name))),
    "changes": ("changes/*", lambda home, _: home.changes.read()),
}


@pytest.mark.parametrize("kind", DECODERS)
def test_what_a_fact_names_is_refused_by_its_decoder(kind: str, tmp_path: Path) -> None:
    pattern, read = DECODERS[kind]
    access = copy_golden(tmp_path, NIGHTS)
    path = sorted((tmp_path / "home").glob(pattern))[0]
    raise_version(path)
    if kind == "reach":
        body = path.read_bytes()[:-32]
        path.write_bytes(body + blake3(body).digest())
    with open_home(access, "verify", WORLD) as home:
        with pytest.raises(FarkeepError, match="newer"):
            read(home, path)
        if kind != "changes":
            assert not verify(home).is_good
