"""What a run that was cut off left behind: whole packs are taken over, unsound ones are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.facts import JobEnded, RunAbandoned
from siteagent.home import Home
from siteagent.jobs import backup as backup_job
from siteagent.store.segment import HEADER_BYTES
from siteagent.store.snapshots import SnapshotFiles
from tests.support.homes import Place, contents, flip_at, incompressible, newest


class _CutError(Exception):
    """The power goes."""


def _cut(*_: object) -> None:
    raise _CutError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A home whose first backup was cut off when its packs were durable, and before any fact named them."""
    made = Place(tmp_path).create()
    made.write("large", incompressible("large", 400_000))
    made.write("small", b"small")
    with monkeypatch.context() as patch, made.open() as home:
        patch.setattr(SnapshotFiles, "write", _cut)
        patch.setattr(backup_job._Run, "fail", lambda *_: None)
        with pytest.raises(_CutError):
            made.backup(home)
        assert home.ledger.history().packs == {}
    return made


def _require_right(place: Place, home: Home) -> None:
    files = [file for file in place.source.rglob("*") if file.is_file()]
    assert contents(home, newest(home)) == {place.path(file.name): file.read_bytes() for file in files}


def test_whole_packs_are_taken_over(place: Place) -> None:
    packs = {bytes.fromhex(pack.stem) for pack in place.packs()}
    with place.open() as home:
        assert place.backup(home).summary.bytes_new == 0
        assert packs <= home.ledger.history().packs.keys()
        assert home.running == {}
        _require_right(place, home)


def test_a_pack_with_a_segment_that_does_not_open_is_not_rested_on(place: Place) -> None:
    with place.open() as home:
        spots = [home.reader.spot(name) for name in home.index.segments()]
    spot = max(spots, key=lambda spot: spot.length)
    flip_at(place, spot.pack_id, spot.offset + HEADER_BYTES + spot.table_length + 20)
    with place.open() as home:
        found = place.backup(home)
        assert found.summary.bytes_new >= 400_000
        assert any("is not taken over" in note for note in found.notes)
        assert spot.pack_id not in home.ledger.history().packs
        _require_right(place, home)


def test_that_it_was_cut_off_is_recorded(place: Place) -> None:
    """Of its job and of its run, with the packs that were never finished: they are removed."""
    unfinished = place.home / "packs" / f"{'ab' * 16}.part"
    with place.open() as home:
        (cut_off,) = home.ledger.history().open_jobs
        unfinished.write_bytes(b"a part of a pack")
        assert home.packs.unfinished() == [bytes.fromhex("ab" * 16)]
        place.backup(home)
        facts = [fact for fact in home.ledger.facts() if isinstance(fact.clear, JobEnded | RunAbandoned)]
        assert [fact.clear for fact in facts if getattr(fact.clear, "job", b"") == cut_off.job] == [
            JobEnded(job=cut_off.job, outcome="failed")
        ]  # fmt: skip
        (abandoned,) = [fact.clear for fact in facts if isinstance(fact.clear, RunAbandoned)]
        assert abandoned == RunAbandoned(run=cut_off.run, packs=(bytes.fromhex("ab" * 16),))
    assert not unfinished.exists()
