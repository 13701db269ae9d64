"""A folder that is listed in parts gives the same snapshots as one that is listed at once."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from shared.summary import SnapshotSummary
from shared.tree import ANCESTOR
from siteagent.capture.capture import CaptureOptions
from siteagent.home import Home
from siteagent.jobs.dryrun import preview_backup
from siteagent.sources import posix
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from siteagent.store.entry import Entry
from tests.support.homes import Place, contents, newest


def _fill(place: Place) -> None:
    for number in range(60):
        place.write(f"large/{number:03} of many", b"content of %d" % number)
        if number % 7 == 0:
            place.write(f"large/{number:03}/below/it", b"deep %d" % number)
        if number % 9 == 0:
            (place.source / f"large/link {number}").symlink_to("nowhere")


def _change(place: Place, chance: random.Random) -> None:
    large = place.source / "large"
    for path in chance.sample(sorted(path for path in large.iterdir() if path.is_file()), 12):
        path.unlink()
    for number in range(12):
        place.write(f"large/{chance.randrange(1000)} added", b"added %d" % number)


def _files(place: Place) -> dict[bytes, bytes]:
    return {os.fsencode(path): path.read_bytes() for path in place.source.rglob("*")
            if path.is_file() and not path.is_symlink()}  # fmt: skip


def _back_up(place: Place, home: Home, name: str) -> SnapshotSummary:
    place.backup(home, name)
    entry = newest(home, name)
    assert contents(home, entry) == _files(place)
    assert entry.summary is not None
    return entry.summary


@pytest.mark.parametrize("part", [1, 2, 7, 59, 1000])
def test_parts_and_a_whole_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    place, chance = Place(tmp_path).create(), random.Random(part)
    _fill(place)
    with place.open() as home:
        for _ in range(3):
            whole = _back_up(place, home, "whole")
            with monkeypatch.context() as patch:
                patch.setattr(posix, "_PART_ENTRIES", part)
                parts = _back_up(place, home, "parts")
                assert _entries(home, "parts") == _entries(home, "whole")
                assert parts.counts == whole.counts
                again = _back_up(place, home, "parts")
                assert (again.bytes_read, again.counts.unchanged) == (0, len(_entries(home, "parts")))
                node, roots = merge_roots([os.fsencode(place.source)], b"/")
                del roots
                preview = preview_backup(home, "parts", PosixView(node, None, None), CaptureOptions())
                assert preview.files_to_read == 0
            _change(place, chance)


def _entries(home: Home, name: str) -> list[Entry]:
    """All but the folders on the way to the source, in which this home writes."""
    rows = home.catalog(newest(home, name)).entries()
    return [row._replace(segments=()) for row in rows if not row.flags & ANCESTOR]
