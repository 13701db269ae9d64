"""Taking back what the log does not know: rewound, lost, damaged; nothing is swept, and work goes on afterwards."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import DamagedError, FarkeepError, RefusedError
from shared.facts import LogReadopted
from shared.names import default_name
from siteagent.jobs.audit import audit_verify
from siteagent.jobs.initialise import NewHome, initialise
from siteagent.jobs.repair_log import LogRepair, open_broken, repair_log
from siteagent.jobs.verify import verify
from siteagent.ledger import rescue as rescue_module
from siteagent.ledger.high_water import Verdict
from siteagent.ledger.ledger import Ledger
from tests.support.homes import Place, contents, flip, newest


class Scene:
    """A home with three snapshots, and a copy of its log from before the last two."""

    def __init__(self, folder: Path) -> None:
        self.place = place = Place(folder).create()
        place.write("first", b"first " * 30)
        with place.open() as home:
            place.backup(home, "london-docs")
        shutil.copytree(place.home / "log", folder / "old log")
        for name in ("second", "third"):
            place.write(name, name.encode() * 30)
            with place.open() as home:
                place.backup(home, "london-docs")
        with place.open() as home:
            history = home.ledger.history()
            self.ids = history.snapshot_ids
            self.entries = history.snapshots
            self.packs = history.packs
            self.expected = [contents(home, entry) for entry in history.snapshots]
        self.files = self.others()

    @property
    def log(self) -> Path:
        return self.place.home / "log"

    @property
    def mark(self) -> Path:
        return Path(f"{self.place.home}.head")

    def others(self) -> dict[str, bytes]:
        folders = ("packs", "snapshots", "reaches")
        return {str(path): path.read_bytes() for folder in folders for path in (self.place.home / folder).iterdir()}

    def repair(self) -> LogRepair:
        with open_broken(self.place.access, "repair log", self.place.world) as home:
            return repair_log(home)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def _rewind(scene: Scene) -> None:
    shutil.rmtree(scene.log)
    shutil.copytree(scene.place.folder / "old log", scene.log)


def _rewind_with_mark(scene: Scene) -> None:
    _rewind(scene)
    scene.mark.unlink()


def _lose(scene: Scene) -> None:
    shutil.rmtree(scene.log)
    scene.log.mkdir()


def _cut(scene: Scene) -> None:
    os.truncate(scene.log / "log.db", 6000)


def _empty(scene: Scene) -> None:
    (scene.log / "log.db").write_bytes(b"")


def _overwrite(scene: Scene) -> None:
    (scene.log / "log.db").write_bytes(b"no database at all " * 500)


def _flip_newest(scene: Scene) -> None:
    data = (scene.log / "log.db").read_bytes()
    flip(scene.log / "log.db", data.rfind(b"job.ended") - 20)


def _flip_middle(scene: Scene) -> None:
    data = (scene.log / "log.db").read_bytes()
    places = [at for at in range(len(data)) if data.startswith(b"snapshot.taken", at)]
    flip(scene.log / "log.db", places[len(places) // 2] - 20)
    (scene.log / "history").unlink(missing_ok=True)


BREAKAGE = [_rewind, _rewind_with_mark, _lose, _cut, _empty, _overwrite, _flip_newest, _flip_middle]


@pytest.mark.parametrize("spoil", BREAKAGE)
def test_every_snapshot_comes_back_and_work_goes_on(scene: Scene, spoil: Callable[[Scene], None]) -> None:
    place = scene.place
    spoil(scene)
    with pytest.raises(FarkeepError), place.open() as home:
        place.backup(home)
    report = scene.repair()
    assert report.reason
    assert report.not_taken == []
    with place.open() as home:
        assert home.ledger.verdict is Verdict.FRESH
        history = home.ledger.history()
        assert history.snapshot_ids == scene.ids
        assert [entry.summary for entry in history.snapshots] == [entry.summary for entry in scene.entries]
        assert [entry.taken for entry in history.snapshots] == [entry.taken for entry in scene.entries]
        assert [contents(home, entry) for entry in history.snapshots] == scene.expected
        assert {**history.packs} == {**scene.packs}
        assert verify(home, "read-data").is_good
        assert audit_verify(home).is_good
        place.write("fourth", b"fourth")
        result = place.backup(home, "london-docs")
        assert result.summary.previous_snapshot == scene.ids[-1]
        assert result.summary.counts.new == 1
    now = scene.others()
    assert {name: now[name] for name in scene.files} == scene.files
    again = scene.repair()
    assert again == LogRepair()


@pytest.mark.parametrize("spoil", [_rewind, _rewind_with_mark])
def test_a_rewound_log_goes_on_in_a_new_log_epoch(scene: Scene, spoil: Callable[[Scene], None]) -> None:
    spoil(scene)
    with scene.place.open() as home:
        before = home.ledger.head.position
        last = list(home.ledger.facts())[-1].time_ns
    report = scene.repair()
    assert report.rescue is None
    assert report.known_until_ns == last
    assert report.snapshots == scene.ids[1:]
    assert set(report.packs) == set(scene.packs) - _packs_of_first(scene)
    with scene.place.open() as home:
        assert home.ledger.contains(before)
        facts = list(home.ledger.facts(after=before))
        opening = facts[0]
        assert opening.kind == "log.opened"
        readopted = [fact.clear for fact in facts if isinstance(fact.clear, LogReadopted)]
        assert [list(fact.snapshots) for fact in readopted] == [scene.ids[1:]]
        assert audit_verify(home).log_epochs == 2
        job = home.ledger.history().jobs[-1]
        assert (job.kind, job.outcome) == ("repair", "done")


def _packs_of_first(scene: Scene) -> set[bytes]:
    return {pack.id for pack in scene.entries[0].taken.packs}


@pytest.mark.parametrize("spoil", [_cut, _overwrite, _flip_newest, _flip_middle])
def test_the_damaged_file_is_kept_under_another_name(scene: Scene, spoil: Callable[[Scene], None]) -> None:
    spoil(scene)
    damaged = (scene.log / "log.db").read_bytes()
    report = scene.repair()
    assert report.rescue is not None
    assert report.rescue.aside == "log.db.aside-1"
    assert (scene.log / "log.db.aside-1").read_bytes() == damaged


def test_facts_before_the_damage_are_taken_over_byte_for_byte(scene: Scene) -> None:
    with scene.place.open() as home:
        positions = [fact.position for fact in home.ledger.facts()]
        last = next(fact.position.sequence for fact in home.ledger.facts() if fact.kind == "snapshot.taken"
                    and fact.position.sequence > 10)  # fmt: skip
    _flip_middle(scene)
    report = scene.repair()
    assert report.rescue is not None
    assert 0 < report.rescue.facts < last
    with scene.place.open() as home:
        kept = [fact.position for fact in home.ledger.facts()][: report.rescue.facts]
        assert kept == positions[: report.rescue.facts]
        assert home.ledger.history().site_name == "london"


def test_a_log_that_is_lost_begins_anew_with_the_name_that_snapshots_give(tmp_path: Path) -> None:
    place = Place(tmp_path)
    initialise(NewHome(place.access, "paris", None), place.world)
    place.write("file", b"content")
    with place.open() as home:
        paths = [os.fsencode(place.source)]
        place.backup(home, "of-their-own")
        place.backup(home, default_name("paris", paths))
    shutil.rmtree(place.home / "log")
    with open_broken(place.access, "repair log", place.world) as home:
        report = repair_log(home)
        assert report.known_until_ns == 0
        assert home.ledger.history().site_name == "paris"
        assert report.rescue is not None
        assert report.rescue.facts == 0


def test_a_home_whose_log_lacks_nothing_is_left_alone(scene: Scene) -> None:
    before = (scene.log / "log.db").read_bytes()
    report = scene.repair()
    assert report == LogRepair()
    assert (scene.log / "log.db").read_bytes() == before


def test_a_manifest_that_does_not_open_is_set_aside_and_reported(scene: Scene) -> None:
    """Left where it is, it would keep the home from being written for ever; removed, it could not be mended."""
    _rewind(scene)
    manifest = scene.place.home / "snapshots" / f"{scene.ids[1].hex()}.manifest"
    flip(manifest, 200)
    data = manifest.read_bytes()
    report = scene.repair()
    assert report.snapshots == [scene.ids[2]]
    assert [subject for subject, _ in report.not_taken] == [f"snapshots/{manifest.name}.aside"]
    assert manifest.with_name(manifest.name + ".aside").read_bytes() == data
    with scene.place.open() as home:
        assert home.ledger.history().snapshot_ids == [scene.ids[0], scene.ids[2]]
        scene.place.backup(home)
        assert verify(home, "read-data").is_good
        assert contents(home, home.ledger.history().snapshots[1]) == scene.expected[2]


def test_a_snapshot_without_its_reach_is_not_taken_back(scene: Scene) -> None:
    _rewind(scene)
    (scene.place.home / "reaches" / scene.ids[2].hex()).unlink()
    report = scene.repair()
    assert report.snapshots == [scene.ids[1]]
    assert len(report.not_taken) == 1
    with scene.place.open() as home:
        scene.place.backup(home)


def test_a_reach_that_others_rest_on_survives_the_loss_of_its_manifest(scene: Scene) -> None:
    with scene.place.open() as home:
        resting = [entry for entry in home.ledger.history().snapshots if home.snapshots.reach(entry.id).base]
    _lose(scene)
    (scene.place.home / "snapshots" / f"{scene.ids[0].hex()}.manifest").unlink()
    report = scene.repair()
    assert report.snapshots == scene.ids[1:]
    with scene.place.open() as home:
        scene.place.backup(home)
        for entry in resting:
            home.snapshots.segments(entry.id)
        assert verify(home).is_good


def test_a_pack_without_a_trailer_is_not_taken_back_and_not_touched(scene: Scene) -> None:
    _lose(scene)
    pack = next(path for path in scene.place.packs() if bytes.fromhex(path.stem) not in _packs_of_first(scene))
    flip(pack, pack.stat().st_size - 50)
    data = pack.read_bytes()
    report = scene.repair()
    assert [subject for subject, _ in report.not_taken] == [f"packs/{pack.name}"]
    with scene.place.open() as home:
        scene.place.backup(home)
    assert pack.read_bytes() == data


def test_another_sites_log_is_left_where_it_is(scene: Scene, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    place = Place(other, randomness=type(scene.place.randomness)("another site")).create()
    shutil.copy(place.home / "log" / "log.db", scene.log / "log.db")
    data = (scene.log / "log.db").read_bytes()
    with pytest.raises(RefusedError, match="another site"):
        scene.repair()
    assert (scene.log / "log.db").read_bytes() == data
    flip(scene.log / "log.db", data.rfind(b"key.added") - 20)
    with pytest.raises(RefusedError, match="another site"):
        scene.repair()


@pytest.mark.parametrize("step", ["_set_aside", "_copy", "create"])
def test_a_repair_that_was_cut_off_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whatever is done twice, the facts that can be saved are saved."""
    (_overwrite if step == "create" else _flip_middle)(scene)
    target: object = Ledger if step == "create" else rescue_module
    real = getattr(target, step)

    def stopping(*arguments: object, **named: object) -> object:
        if step != "create":
            real(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, step, stopping)
        with pytest.raises(KeyboardInterrupt):
            scene.repair()
    report = scene.repair()
    assert report.rescue is not None
    assert (report.rescue.facts > 0) == (step != "create")
    with scene.place.open() as home:
        assert home.ledger.history().snapshot_ids == scene.ids
        assert verify(home).is_good
    assert len(list(scene.log.glob("log.db.aside-?"))) == 1


def test_what_is_not_checkpointed_yet_is_saved_too(scene: Scene) -> None:
    """Facts that still stand in the write-ahead log of a killed process."""
    place = scene.place
    with place.open() as home:
        place.write("fourth", b"fourth")
        place.backup(home, "london-docs")
        _copy_open(scene.log, place.folder / "open")
        fourth = newest(home, "london-docs").id
    shutil.rmtree(scene.log)
    shutil.copytree(place.folder / "open", scene.log)
    database = scene.log / "log.db"
    at = database.read_bytes().rfind(b"snapshot.taken")
    flip(database, at - 20)
    report = scene.repair()
    assert report.rescue is not None
    with place.open() as home:
        assert fourth in home.ledger.history().snapshot_ids
        assert verify(home).is_good


def _copy_open(source: Path, target: Path) -> None:
    target.mkdir()
    for path in source.iterdir():
        shutil.copy(path, target / path.name)


def test_a_consistent_database_that_is_no_log_is_no_log(scene: Scene) -> None:
    database = scene.log / "log.db"
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE facts (place INTEGER PRIMARY KEY, envelope TEXT)")
    connection.close()
    with pytest.raises(DamagedError), scene.place.open():
        pass
    report = scene.repair()
    assert report.rescue is not None
    assert (report.rescue.facts, report.snapshots) == (0, scene.ids)


def test_open_broken_refuses_what_open_home_refuses(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with pytest.raises(RefusedError, match="no Farkeep home"):
        open_broken(place.access, "repair log", place.world)
    place.create()
    Path(place.access.key_path).unlink()
    with pytest.raises(RefusedError, match="key file is missing"):
        open_broken(place.access, "repair log", place.world)
