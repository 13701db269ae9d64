"""How much older than its reading a change must be for equal times to prove anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.tree import FILE, RACY
from tests.support.homes import Place, incompressible, newest


@pytest.mark.parametrize(("age_s", "is_racy"), [(0.5, True), (1.9, True), (2.1, False)])
def test_two_seconds_are_the_least(tmp_path: Path, age_s: float, is_racy: bool) -> None:
    """Of small files, large ones and those with attributes, which are read in different ways."""
    place = Place(tmp_path).create()
    for name, size_bytes in (("small", 100), ("large", 300_000), ("with attributes", 100), ("empty", 0)):
        place.write(name, incompressible(name, size_bytes))
    os.setxattr(place.source / "with attributes", b"user.colour", b"green")
    with place.open() as home:
        changed_ns = place.clock.time_ns + 60 * 10**9 - int(age_s * 1e9)
        for path in place.source.iterdir():
            os.utime(path, ns=(changed_ns, changed_ns))
        place.backup(home)
        entries = [entry for entry in home.catalog(newest(home)).entries() if entry.type == FILE]
        found = {os.path.basename(entry.path): bool(entry.flags & RACY) for entry in entries}
        assert found == dict.fromkeys((b"small", b"large", b"with attributes", b"empty"), is_racy)
