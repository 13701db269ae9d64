"""The door to the log: create, open, record, read, and what it refuses."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from shared.chain import Position, SignedHead
from shared.errors import BugError, DamagedError, RefusedError, UsageError
from shared.facts import (
    Fact,
    JobEnded,
    JobEndedSealed,
    JobStarted,
    JobStartedSealed,
    LogOpened,
    LogOpenedSealed,
    RunAbandoned,
    RunAbandonedSealed,
)
from siteagent.ledger.high_water import Verdict
from siteagent.ledger.ledger import Ledger
from siteagent.ledger.log_check import check_log
from siteagent.ledger.reading import RecordedFact
from tests.support.determined import LabelledRandomness
from tests.support.ledgers import SOURCE, START_NS, Site, sample_parts


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


def kinds(facts: list[RecordedFact]) -> list[str]:
    return [fact.kind for fact in facts]


def test_a_new_log_holds_its_opening_and_every_key(site: Site) -> None:
    with site.create() as ledger:
        facts = list(ledger.facts())
        assert kinds(facts) == ["log.opened", "key.added", "key.added", "key.added"]
        assert [fact.position.sequence for fact in facts] == [1, 2, 3, 4]
        assert ledger.verdict is Verdict.FRESH
        assert ledger.head.position == facts[-1].position
        assert ledger.head.is_signed() and ledger.head.public == site.keyring.identity.public
        assert ledger.history().keys == site.keyring.records
        assert ledger.history().site_name == "canary-site-name"


def test_facts_come_back_as_recorded_after_a_reopen(site: Site) -> None:
    with site.create() as ledger:
        recorded = site.backup()
        position = ledger.record(*recorded)
    with site.open() as ledger:
        facts = list(ledger.facts())
        assert ledger.head.position == position == facts[-1].position
        assert kinds(facts[4:]) == ["subject.opened", "job.started", "packs.stored", "snapshot.taken", "job.ended"]
        assert [(fact.clear, fact.sealed) for fact in facts[5:]] == [(fact.clear, fact.sealed) for fact in recorded]
        assert {fact.time_ns for fact in facts} == {fact.wall_ns for fact in facts} == {START_NS}


def test_every_kind_can_be_recorded(site: Site) -> None:
    order = ["job.started", "verification.done", "restore.done", "job.ended", "packs.stored", "run.abandoned",
             "snapshot.taken", "key.added", "clock.jumped", "log.readopted"]  # fmt: skip
    parts = sample_parts(site.keyring)
    with site.create() as ledger:
        ledger.record(*(Fact(*parts[kind]) for kind in order))
        facts = list(ledger.facts(after=next(iter(ledger.facts(until=None))).position))[3:]
        assert [(fact.kind, fact.clear, fact.sealed) for fact in facts] == [(kind, *parts[kind]) for kind in order]


def test_facts_between_two_positions(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        positions = [fact.position for fact in ledger.facts()]
        between = [fact.position for fact in ledger.facts(after=positions[2], until=positions[5])]
        assert between == positions[3:6]
        assert list(ledger.facts(after=positions[-1])) == []


def test_the_newest_facts_and_whom_they_are_about(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        facts = list(ledger.facts())
    with site.open() as ledger:
        assert ledger.newest_facts(3) == facts[-3:]
        assert ledger.newest_facts(2, facts[5].position) == facts[4:6]
        assert ledger.newest_facts(99) == facts
        assert [ledger.subject_of(fact.subject) for fact in facts[3:6]] == [None, SOURCE, SOURCE]


def test_several_threads_record_one_chain(site: Site) -> None:
    with site.create() as ledger:
        batches = [site.backup(f"name-{number}") for number in range(40)]
        with ThreadPoolExecutor(4) as pool:
            positions = list(pool.map(lambda batch: ledger.record(*batch), batches))
        assert len(set(positions)) == 40
        assert [fact.position.sequence for fact in ledger.facts()] == list(range(1, 4 + 1 + 160 + 1))
        assert check_log(ledger).is_good


def test_more_facts_than_a_page_are_read_in_order(site: Site) -> None:
    with site.create() as ledger:
        for _ in range(3):
            ledger.record(*(fact for _ in range(100) for fact in site.backup()))
        sequences = [fact.position.sequence for fact in ledger.facts()]
        assert sequences == list(range(1, len(sequences) + 1))
        assert len(sequences) == 4 + 1 + 1200


def test_a_position_is_contained_only_as_a_whole(site: Site) -> None:
    with site.create() as ledger:
        position = ledger.record(*site.backup())
        assert ledger.contains(position)
        for changes in ({"site": bytes(16)}, {"log_epoch": bytes(32)}, {"sequence": 99}, {"hash": bytes(32)}):
            other = msgspec.structs.replace(position, **changes)
            assert not ledger.contains(other)
            with pytest.raises(RefusedError, match="does not contain"):
                list(ledger.facts(until=other))


def test_positions_written_by_hand_are_found_by_unique_prefixes(site: Site) -> None:
    with site.create() as ledger:
        position = ledger.record(*site.backup())
        assert ledger.position(position.text()) == position
        assert ledger.position(f"{position.site.hex()[0]}/{position.log_epoch.hex()[0]}/3").sequence == 3
        ledger.open_log_epoch("asked")
        assert ledger.position(position.text()) == position
        with pytest.raises(RefusedError, match="no such position"):
            ledger.position(f"{position.site.hex()}/{position.log_epoch.hex()}/99")
        with pytest.raises(RefusedError, match="no log epoch"):
            ledger.position("00/00/1")
        with pytest.raises(UsageError):
            ledger.position("yesterday")


def test_an_ambiguous_prefix_is_refused(site: Site) -> None:
    with site.create() as ledger:
        for _ in range(16):
            head = ledger.open_log_epoch("asked")
        digits = [epoch.log_epoch.hex()[0] for epoch in (fact.position for fact in ledger.facts())]
        doubled = next(digit for digit in digits if len({fact.position.log_epoch for fact in ledger.facts()
                                                         if fact.position.log_epoch.hex()[0] == digit}) > 1)
        with pytest.raises(RefusedError, match="several log epochs"):
            ledger.position(f"{head.site.hex()}/{doubled}/1")


def test_the_callback_sees_every_head_before_record_returns(site: Site) -> None:
    heads: list[SignedHead] = []
    with site.create() as ledger:
        ledger.set_on_append(heads.append)
        positions = [ledger.record(*site.backup()), ledger.record(*site.backup()), ledger.open_log_epoch("asked")]
        assert [head.position for head in heads] == positions
        assert all(head.is_signed() for head in heads)


def test_recording_nothing_changes_nothing(site: Site) -> None:
    with site.create() as ledger:
        before = ledger.head
        assert ledger.record() == before.position
        assert ledger.head == before


def test_facts_that_contradict_the_log_are_refused_and_leave_it_usable(site: Site) -> None:
    job, run = site.id(), site.id()
    ended = Fact(JobEnded(job=job, outcome="done"), JobEndedSealed())
    abandoned = Fact(RunAbandoned(run=run), RunAbandonedSealed(reason="cut off"))
    with site.create() as ledger:
        for facts in ([ended], [abandoned, abandoned], [*(twice := site.backup()), twice[0]], [twice[2], twice[2]]):
            before = ledger.head
            with pytest.raises(BugError, match="contradicts the log"):
                ledger.record(*facts)
            assert ledger.head == before
        ledger.record(Fact(JobStarted(job=job, kind="backup"), JobStartedSealed(user="", host="")), ended)
        with pytest.raises(BugError, match="contradicts the log"):
            ledger.record(ended)
        assert kinds(list(ledger.facts()))[4:] == ["job.started", "job.ended"]
        opened = next(fact.clear for fact in ledger.facts() if isinstance(fact.clear, LogOpened))
        with pytest.raises(BugError, match="contradicts the log"):
            ledger.record(Fact(opened, LogOpenedSealed(site_name="london")))


def test_a_failed_append_leaves_no_subject_behind(site: Site) -> None:
    job = site.id()
    ended = Fact(JobEnded(job=job, outcome="done"), JobEndedSealed(), SOURCE)
    with site.create() as ledger:
        with pytest.raises(BugError):
            ledger.record(ended)
        ledger.record(*site.backup())
        assert kinds(list(ledger.facts())).count("subject.opened") == 1


def test_text_that_is_no_unicode_is_a_bug_of_the_caller(site: Site) -> None:
    started = JobStartedSealed(user="\udcff", host="")
    with site.create() as ledger:
        with pytest.raises(BugError, match="cannot be encoded"):
            ledger.record(Fact(JobStarted(job=site.id(), kind="backup"), started))
        ledger.record(*site.backup())


def test_a_home_has_one_log(site: Site) -> None:
    site.create().close()
    with pytest.raises(RefusedError, match="there is a log already"):
        site.create()
    with site.open() as ledger:
        assert len(list(ledger.facts())) == 4


def test_a_creation_that_was_cut_off_is_done_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            site.create()
    with pytest.raises(DamagedError, match="holds no facts"):
        site.open()
    with site.create() as ledger:
        assert len(list(ledger.facts())) == 4


def test_what_is_missing_or_no_log_is_damage_with_a_next_step(site: Site) -> None:
    with pytest.raises(DamagedError, match="log is missing") as caught:
        site.open()
    assert "repair log" in caught.value.next_step
    os.mkdir(site.folder)
    for content in (b"", b"this is not a database at all, only some text" * 100):
        site.database.write_bytes(content)
        with pytest.raises(DamagedError) as caught:
            site.open()
        assert caught.value.subject.endswith("log.db") and caught.value.next_step


def test_another_sites_keys_do_not_open_a_log(site: Site, tmp_path: Path) -> None:
    site.create().close()
    stranger = Site(tmp_path / "other", randomness=LabelledRandomness("a stranger"))
    with pytest.raises(RefusedError, match="another site"):
        Ledger.open(site.folder, stranger.keyring, site.clock, site.randomness)


def test_closing_leaves_one_database_file_and_is_harmless_twice(site: Site) -> None:
    ledger = site.create()
    ledger.record(*site.backup())
    assert "log.db-wal" in os.listdir(site.folder)
    ledger.close()
    ledger.close()
    assert os.listdir(site.folder) == ["log.db"]
    with pytest.raises(BugError, match="after it was closed"):
        ledger.record(*site.backup())


def test_what_was_recorded_is_there_without_a_clean_close(site: Site) -> None:
    ledger = site.create()
    position = ledger.record(*site.backup())
    copy = Site(site.home.parent / "copy")
    os.mkdir(copy.folder)
    for name in ("log.db", "log.db-wal"):
        (Path(copy.folder) / name).write_bytes((Path(site.folder) / name).read_bytes())
    ledger.close()
    with Ledger.open(copy.folder, site.keyring, site.clock, site.randomness) as reopened:
        assert reopened.head.position == position


@pytest.mark.parametrize(
    "name", ["we?ird #1%41", "a:memory:b", "mode=memory", os.fsdecode(b"odd \xff\xfe"), "ünï ' \" ;"]
)
def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    site = Site(tmp_path / name)
    with site.create() as ledger:
        position: Position = ledger.record(*site.backup())
    assert site.database.exists()
    with site.open() as ledger:
        assert ledger.head.position == position
