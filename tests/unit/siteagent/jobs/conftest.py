"""A home with one snapshot of a small tree, opened in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from siteagent.home import Home
from tests.support.command_line import CommandLine
from tests.support.site import Site, fill


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A new home beside an empty source."""
    made = Site(tmp_path, CommandLine(tmp_path / "home"))
    made.source.mkdir()
    made.commands.good("init", "--site", "alpha", "--recovery-out", tmp_path / "recovery")
    return made


@pytest.fixture
def home(site: Site) -> Iterator[Home]:
    """The open home of a site whose source has one snapshot."""
    fill(site.source)
    site.backup()
    with site.open() as opened:
        yield opened
