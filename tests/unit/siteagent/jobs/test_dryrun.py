"""What a backup would do, and that asking changes nothing."""

import os

import pytest

from siteagent.capture.capture import CaptureOptions
from siteagent.home import Home
from siteagent.jobs.dryrun import Preview, preview_backup
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from tests.support.site import Site, fill

OLD_NS = 1_500_000_000_000_000_000


def preview(site: Site, home: Home, options: CaptureOptions | None = None) -> Preview:
    node, _ = merge_roots([site.path()], b"/")
    return preview_backup(home, "docs", PosixView(node, None, None), options or CaptureOptions())


@pytest.fixture
def settled(site: Site) -> Site:
    """A source whose files were changed long ago, backed up once."""
    fill(site.source)
    return site


def test_a_first_backup_would_read_everything(settled: Site) -> None:
    with settled.open() as home:
        found = preview(settled, home)
    assert found.files == found.files_to_read == 6
    assert found.bytes_to_read == found.bytes_seen
    assert (found.counts.unchanged, found.counts.changed) == (0, 0)


def test_what_is_said_is_what_the_next_backup_does(settled: Site) -> None:
    settled.backup()
    (settled.source / "new").write_bytes(b"12345")
    (settled.source / "sub/small").write_bytes(b"longer than before")
    (settled.source / "empty").unlink()
    os.rename(settled.source / "large", settled.source / "moved")
    with settled.open() as home:
        found = preview(settled, home)
    document = settled.commands.good("backup", settled.source, "--name", "docs")
    counts = document["counts"]
    assert {name: getattr(found.counts, name) for name in counts} == counts
    assert (found.files, found.folders, found.bytes_seen) == (
        document["files"], document["folders"], document["bytes_seen"])  # fmt: skip


def test_asking_writes_nothing(settled: Site) -> None:
    settled.backup()
    with settled.open() as home:
        before = [fact.position for fact in home.ledger.facts()], home.packs.finished()
        preview(settled, home)
        assert ([fact.position for fact in home.ledger.facts()], home.packs.finished()) == before


def test_a_recheck_would_read_again_what_it_chooses(settled: Site) -> None:
    settled.backup()
    with settled.open() as home:
        assert preview(settled, home, CaptureOptions(rechecks=lambda _: True)).files_to_read == 6


def test_what_cannot_be_looked_at_is_named(settled: Site) -> None:
    with settled.open() as home:
        node, _ = merge_roots([settled.path("sub"), settled.path("large")], b"/")
        (settled.source / "large").unlink()
        found = preview_backup(home, "docs", PosixView(node, None, None), CaptureOptions())
    assert [error.path for error in found.errors] == [settled.path("large")]
