"""Homes with snapshots, opened in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from siteagent.home import Home
from tests.support.command_line import CommandLine
from tests.support.homes import Place, with_two_snapshots
from tests.support.site import Site, fill


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A new home beside an empty source."""
    made = Site(tmp_path, CommandLine(tmp_path / "home"))
    made.source.mkdir()
    made.commands.good("init", "--site", "alpha", "--recovery-out", tmp_path / "recovery")
    return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home with two snapshots: a large file, a small one, and one that the second snapshot added."""
    return with_two_snapshots(Place(tmp_path).create())


@pytest.fixture
def home(site: Site) -> Iterator[Home]:
    """The open home of a site whose source has one snapshot."""
    fill(site.source)
    site.backup()
    with site.open() as opened:
        yield opened
