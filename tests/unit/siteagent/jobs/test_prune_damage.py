"""What compaction must not mix up: damage is put down to the segment that holds a chunk now, pages keep their sets."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from shared.errors import DamagedError
from shared.facts import Fact, PacksStored
from shared.sealing import keyed_id
from siteagent.disk.local import LocalDisk
from siteagent.home import Home
from siteagent.jobs.compaction import Used, compact
from siteagent.jobs.heavy import Heavy
from siteagent.jobs.record import Who
from siteagent.jobs.repack import Repacking
from siteagent.jobs.verify import verify
from siteagent.store.catalog import Root
from siteagent.store.liveness import Liveness
from siteagent.store.names import SegmentName, shown_segment
from siteagent.store.pack import PackHeader, Reads, Row
from siteagent.store.packs import FolderSink
from siteagent.store.page import decode_side, encode_side
from siteagent.store.segment import CATALOG, MAGIC
from siteagent.store.writer import RunKeys, StoreWriter
from tests.support.days import eight_days, ids, pruned
from tests.support.homes import Place, contents, flip, flip_in_body, forget, incompressible, newest, segment_of


def test_damage_of_a_successor_names_paths_and_snapshots_and_is_mended(tmp_path: Path) -> None:
    site = eight_days(tmp_path)
    with site.place.open() as home:
        forget(home, ids(home)[:-2])
        assert pruned(home).segments_superseded
        names = [site.place.path(f"many/{number}") for number in range(12)]
        old = {name: segment_of(home, newest(home), name) for name in names}
        path = next(name for name in names if old[name] in home.successors)
        damaged = next(holder for name, holder in holders(home) if name == path and holder not in old.values())
        suffering = {name for name, holder in holders(home) if holder == damaged}
        flip_in_body(site.place, home, damaged)
    with site.place.open() as home:
        rows = {row.segment: row for row in verify(home, "read-data").damaged}
        row = rows.pop(shown_segment(damaged))
        assert suffering <= set(row.paths) <= suffering | {site.place.path("large")}
        assert row.snapshots == ids(home)
        # What the large file's delta rests on lies in the same segment.
        assert [other.paths for other in rows.values()] == [[site.place.path("large")]]
        site.take(home)
        assert contents(home, newest(home)) == site.truth[newest(home).id]
        after = verify(home, "read-data").damaged
        assert {row.segment for row in after} == {shown_segment(damaged), *rows}
        assert not any(newest(home).id in row.snapshots for row in after)


def holders(home: Home) -> list[tuple[bytes, SegmentName]]:
    """The small files of all snapshots and the segments that hold them now."""
    entries = [entry for one in home.ledger.history().snapshots for entry in home.catalog(one).entries()]
    return [(entry.path, home.reader.locate(entry.segments[0], entry.ids)[0].header.name)
            for entry in entries if len(entry.segments) == 1 and entry.ids]  # fmt: skip


def test_a_page_with_two_sets_stays_two_pages(tmp_path: Path) -> None:
    """Both are right, each for snapshots of its own: found by its id it must not be taken for the other."""
    site = eight_days(tmp_path)
    with site.place.open() as home:
        one, other = list(home.index.segments())[:2]
        page = b"a page of some catalog"
        page_id = keyed_id(home.keyring.default_domain.page_id_key, page)
        keys = RunKeys(home.keyring.site_id, home.keyring.current, home.keyring.default_domain)
        names = []
        for name in (one, other):
            lease = home.leases.register("test")
            writer = StoreWriter(home.packs, home.index, home.reader, keys, lease, home.cited, home.world.randomness,
                                 may_start_processes=False)  # fmt: skip
            names.append(writer.put_copy(page_id, memoryview(page), encode_side([name])))
            home.ledger.record(Fact(PacksStored(run=writer.run, packs=tuple(writer.finish()))))
            writer.close()
            lease.end()
        done = compact(home, Who("u", "h"), [Used(name, CATALOG, 1, 0.5, 2000) for name in names], Heavy({}, {}))
        assert done.superseded == 1
        sides = [decode_side(home.reader.side(name, page_id), 1) for name in names]
        assert sides == [[one], [other]]


def test_what_pages_use_under_an_old_name_is_used(tmp_path: Path) -> None:
    place = Place(tmp_path).create()
    place.write("kept", incompressible("kept", 5_000))
    place.write("changed", incompressible("one", 50_000))
    with place.open() as home:
        place.backup(home)
        place.write("changed", incompressible("two", 50_000))
        place.backup(home)
        forget(home, ids(home)[:1])
        assert pruned(home).segments_superseded
        old = segment_of(home, newest(home), place.path("kept"))
        (successor,) = home.successors.of(old) or ()
        live, summary = Liveness(home.reader, [successor]), newest(home).summary
        assert summary is not None
        live.follow(Root(summary.root_page, summary.root_segment, summary.levels))
        assert live.live == {successor: 1}


def test_a_copy_that_does_not_read_back_ends_the_prune_and_nothing_goes(tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalDisk, "punch", lambda *_: False)
    site, add, read_at = eight_days(tmp_path), Repacking.add, FolderSink.read_at

    def spoilt(sink: FolderSink, offset: int, length: int) -> bytes:
        data = read_at(sink, offset, length)
        return data[:-1] + bytes((data[-1] ^ 1,)) if data[:4] == MAGIC else data

    def adding(repacking: Repacking, pack: Reads, about: PackHeader, rows: list[Row]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(FolderSink, "read_at", spoilt)
            add(repacking, pack, about, rows)

    with site.place.open() as home:
        packs = set(home.packs.finished())
        forget(home, ids(home)[::2])
        monkeypatch.setattr(Repacking, "add", adding)
        with pytest.raises(DamagedError, match="does not read back"):
            pruned(home)
        assert packs <= set(home.packs.finished())
        site.require_whole(home)


def test_a_pack_with_damage_is_not_copied_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of damaged bytes under their old digest would be all that is left of what a repair may still save."""
    monkeypatch.setattr(LocalDisk, "punch", lambda *_: False)
    site = eight_days(tmp_path)
    with site.place.open() as home:
        for name in ("kept", "zz"):
            site.place.write(name, incompressible(name, 3_000_000))
        site.take(home)
        (site.place.source / "zz").unlink()
        site.take(home)
        forget(home, ids(home)[:-1])
        kept = site.place.path("kept")
        catalog = home.catalog(newest(home))
        (entry,) = [one for one in catalog.entries() if one.path == kept]
        path, _ = flip_in_body(site.place, home, next(catalog.leaves_of(entry)).pieces[0].segment)
    with site.place.open() as home:
        report = pruned(home)
        assert path.exists()
        assert any("is not copied" in note for note in report.notes)


def test_nothing_is_given_up_on_the_word_of_a_log_that_contradicts_itself(tmp_path: Path) -> None:
    """Every fact reads; an index of the database lacks what the table has."""
    site = eight_days(tmp_path)
    with site.place.open() as home:
        forget(home, ids(home)[:-2])
    with sqlite3.connect(site.place.home / "log" / "log.db") as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'facts_by_aggregate'").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    flip(site.place.home / "log" / "log.db", page_bytes * (page - 1) + 7)
    packs = site.place.packs()
    with site.place.open() as home:
        assert len(list(home.ledger.facts())) > 10
        with pytest.raises(DamagedError, match="inconsistent") as caught:
            pruned(home)
        assert caught.value.next_step
        assert len(ids(home)) == 8
        problems = dict(verify(home, "structure").problems)
        assert "inconsistent" in problems["log"]
    assert site.place.packs() == packs


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_nothing_is_given_up_while_something_needed_is_in_no_pack(tmp_path: Path, is_dry_run: bool) -> None:
    """A dry run says so, too: what it would show is nothing that a prune would do."""
    site = eight_days(tmp_path)
    with site.place.open() as home:
        forget(home, ids(home)[:-2])
        needed = segment_of(home, newest(home), site.place.path("many/0"))
        gone = site.place.home / "packs" / f"{home.reader.spot(needed).pack_id.hex()}.pack"
    gone.rename(tmp_path / "elsewhere")
    before = site.place.packs()
    with site.place.open() as home, pytest.raises(DamagedError, match="nothing is given up"):
        pruned(home, is_now=True, is_dry_run=is_dry_run)
    assert site.place.packs() == before
