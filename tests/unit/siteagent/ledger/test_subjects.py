"""Subjects: facts about them are sealed under keys of their own, which can be destroyed, and which rotate."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.chain import NO_ID
from shared.errors import RefusedError
from shared.facts import Fact, KeyAdded, SubjectOpened
from siteagent.ledger.ledger import CACHED_TAIL_FACTS, Ledger
from siteagent.ledger.log_check import check_log
from siteagent.ledger.reading import Mark, RecordedFact
from tests.support.ledgers import SOURCE, USER, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


def about(ledger: Ledger, kind: str) -> list[RecordedFact]:
    return [fact for fact in ledger.facts() if fact.kind == kind]


def stored_bytes(site: Site) -> bytes:
    folder = Path(site.folder)
    return b"".join((folder / name).read_bytes() for name in sorted(os.listdir(folder)))


def test_each_subject_has_a_random_pseudonym_and_one_key(site: Site) -> None:
    with site.create() as ledger:
        for subject in (SOURCE, USER, SOURCE, None):
            ledger.record(*site.backup(subject=subject))
        opened = about(ledger, "subject.opened")
        assert [fact.sealed for fact in opened] == [SOURCE, USER]
        pseudonyms = [fact.subject for fact in about(ledger, "job.started")]
        assert pseudonyms == [opened[0].subject, opened[1].subject, opened[0].subject, NO_ID]
        assert len(set(pseudonyms)) == 3


def test_an_erased_subject_reads_as_erased_now_and_in_the_past(site: Site) -> None:
    with site.create() as ledger:
        for number in range(CACHED_TAIL_FACTS):
            ledger.record(*site.backup(f"name-{number}", subject=(SOURCE, USER)[number % 2]))
        before = ledger.head.position
    with site.open() as ledger:
        ledger.erase_subject(SOURCE, "asked for")
        for check in (ledger, None):
            with check or site.open() as again:
                for history in (again.history(), again.history(before)):
                    marks = [entry.mark for entry in history.snapshots]
                    assert marks == [Mark.ERASED, None] * (CACHED_TAIL_FACTS // 2)
                    assert history.newest_snapshot("name-0") is None
                    assert history.newest_snapshot("name-1") is not None
                sealed = {fact.sealed for fact in again.facts() if fact.kind == "job.started"}
                assert Mark.ERASED in sealed and len(sealed) == 2


def test_erasing_leaves_neither_name_nor_key_in_the_files(site: Site) -> None:
    with site.create() as ledger:
        for _ in range(CACHED_TAIL_FACTS):
            ledger.record(*site.backup())
        ledger.history()
        (opened,) = about(ledger, "subject.opened")
        assert isinstance(opened.clear, SubjectOpened)
        wrapped = [wrap.sealed for wrap in opened.clear.wraps]
    assert all(secret in stored_bytes(site) for secret in wrapped)
    old_cache = (site.home / "log" / "history").read_bytes()
    with site.open() as ledger:
        ledger.erase_subject(SOURCE, "asked for")
        assert not any(secret in stored_bytes(site) for secret in wrapped)
        assert not (site.home / "log" / "history").exists()
    assert not any(secret in stored_bytes(site) for secret in wrapped)
    (site.home / "log" / "history").write_bytes(old_cache)
    with site.open() as ledger:
        assert {entry.mark for entry in ledger.history().snapshots} == {Mark.ERASED}


def test_the_chain_holds_after_an_erasure(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        ledger.erase_subject(SOURCE, "asked for")
        report = check_log(ledger)
        assert report.is_good and report.erased == 4
        (erased,) = about(ledger, "subject.erased")
        assert erased.position == ledger.head.position


def test_an_erased_name_may_come_back_as_somebody_new(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        ledger.erase_subject(SOURCE, "asked for")
        ledger.record(*site.backup())
        marks = [entry.mark for entry in ledger.history().snapshots]
        assert marks == [Mark.ERASED, None]
        first, second = about(ledger, "subject.opened")
        assert first.subject != second.subject
    with site.open() as ledger:
        assert [entry.mark for entry in ledger.history().snapshots] == marks
        ledger.erase_subject(SOURCE, "again")
        assert [entry.mark for entry in ledger.history().snapshots] == [Mark.ERASED, Mark.ERASED]


def test_somebody_unknown_cannot_be_erased(site: Site) -> None:
    with site.create() as ledger:
        for _ in range(2):
            with pytest.raises(RefusedError, match="nothing is recorded"):
                ledger.erase_subject(SOURCE, "asked for")
            ledger.record(*site.backup())
            ledger.erase_subject(SOURCE, "asked for")


def test_subjects_get_new_keys_when_the_key_epoch_rotates(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        old = site.keyring
        site.keyring = old.rotated(site.randomness, site.clock)
        ledger.use_keyring(site.keyring)
        ledger.record(Fact(KeyAdded(record=site.keyring.records[-1])))
        ledger.record(*site.backup())
        ledger.record(*site.backup())
        opened = [fact.clear for fact in about(ledger, "subject.opened")]
        assert [one.number for one in opened if isinstance(one, SubjectOpened)] == [1, 2]
        assert len({fact.subject for fact in about(ledger, "job.started")}) == 1
    with site.open() as ledger:
        assert [entry.mark for entry in ledger.history().snapshots] == [None, None, None]
        ledger.record(*site.backup())
        assert len(about(ledger, "subject.opened")) == 2
    with Ledger.open(site.folder, old, site.clock, site.randomness) as ledger:
        assert [entry.mark for entry in ledger.history().snapshots] == [None, Mark.UNREADABLE, Mark.UNREADABLE,
                                                                        Mark.UNREADABLE]  # fmt: skip
        ledger.history()
    with site.open() as ledger:
        ledger.erase_subject(SOURCE, "asked for")
        assert {entry.mark for entry in ledger.history().snapshots} == {Mark.ERASED}


def test_a_log_and_its_key_records_are_enough_to_read_everything(site: Site) -> None:
    with site.create() as ledger:
        ledger.record(*site.backup())
        records = ledger.history().keys
    reopened = type(site.keyring).open(records, site.keyring._site_secret, None, site.keyring.site_id)
    with Ledger.open(site.folder, reopened, site.clock, site.randomness) as ledger:
        assert [entry.mark for entry in ledger.history().snapshots] == [None]
