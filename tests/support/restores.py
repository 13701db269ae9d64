"""A site, a small source, and a tree outside that must stay as it is: what tests of hostile restores begin with."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from shared.errors import DamagedError, HostileError, RefusedError
from siteagent.jobs.archive import write_archive
from siteagent.jobs.content import copy_file
from siteagent.jobs.diff import Part, diff
from siteagent.jobs.find import find
from siteagent.jobs.listing import list_entries
from siteagent.jobs.record import Who
from siteagent.jobs.restore import RestoreRequest, RestoreResult, restore
from siteagent.jobs.versions import versions
from siteagent.ledger.state import SnapshotEntry
from siteagent.sources.pathpattern import PathPattern
from siteagent.store.catalog import Root
from siteagent.store.treecheck import TreeCheck
from tests.support.build import build
from tests.support.descriptions import Content, Description, File, Folder, Metadata, Symlink
from tests.support.scratch import scratch_folder
from tests.support.trips import Site, open_site

WHO = Who("user", "host")
TYPED = (DamagedError, HostileError, RefusedError)


class Stage(Struct):
    """A site beside a source (a few entries, backed up once) and what lies outside; `model` is that snapshot."""

    site: Site
    folder: Path
    source: Path
    outside: Path
    model: SnapshotEntry


@contextmanager
def staged() -> Iterator[Stage]:
    """A stage that is cleared away afterwards."""
    with scratch_folder() as folder, open_site(folder) as site:
        source, outside = folder / "source", folder / "outside"
        kept = Metadata(0o600)
        build(Description(((b"a", Folder()), (b"a/file", File(Content(300, 1))), (b"link", Symlink(b"a")))), source)
        build(Description(((b"deep", Folder()), (b"deep/kept", File(Content(60), kept)), (b"kept", File(Content(50))))),
              outside)  # fmt: skip
        yield Stage(site, folder, source, outside, site.snapshot(site.back_up(source)))


def restored(stage: Stage, entry: SnapshotEntry, target: Path, *, deletes: bool = False) -> RestoreResult:
    """Restore all of a snapshot, whether a fact names it or not."""
    request = RestoreRequest(entry, b"/", str(target), "user", "host", deletes=deletes, deletes_unmarked=deletes)
    return restore(stage.site.home, [request])


def read_every_way(stage: Stage, entry: SnapshotEntry) -> tuple[int, bytes]:
    """List, search, compare, follow, print and pack a snapshot: every trouble is a typed one.

    Returns how often there was trouble, and the archive as far as it came.
    """
    home, troubles, archive = stage.site.home, 0, io.BytesIO()

    def copied() -> None:
        for row in list(list_entries(home, entry, None, is_recursive=True))[:20]:
            with suppress(*TYPED):
                copy_file(home, entry, row.path, WHO, io.BytesIO().write)

    ways: list[Callable[[], object]] = [
        copied,
        lambda: list(list_entries(home, entry, None, is_recursive=True)),
        lambda: find(home, PathPattern("*"), [entry]),
        lambda: list(diff(home, Part(stage.model, None), Part(entry, None))),
        lambda: list(diff(home, Part(entry, None), Part(stage.model, None))),
        lambda: list(versions(home, b"/a/file", [stage.model, entry])),
        lambda: write_archive(home, entry, None, WHO, archive.write),
        lambda: write_archive(home, entry, b"/a", WHO, io.BytesIO().write),
    ]
    for way in ways:
        try:
            way()
        except TYPED:
            troubles += 1
    return troubles, archive.getvalue()


def verified(stage: Stage, entry: SnapshotEntry) -> dict[bytes, str]:
    """What the check of catalogs finds: wrong paths, and damaged segments."""
    assert entry.summary is not None
    check = TreeCheck(stage.site.home.reader)
    check.check(Root(entry.summary.root_page, entry.summary.root_segment, entry.summary.levels))
    return {**check.result.wrong, **check.result.damaged}
