"""Facts of an older version are read as those of today for ever: shown with a made-up next version of two kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from migrations.facts import FACT_UPCASTERS
from shared.chain import OPENING_KIND
from shared.codec import decode, encode
from shared.errors import DamagedError, RefusedError
from shared.factkinds import KINDS, Upcaster, find_kind
from shared.facts import JobStarted
from siteagent.ledger.log_check import check_log
from siteagent.ledger.reading import RecordedFact
from siteagent.ledger.rescue import rescue_log
from tests.support.golden_log import open_golden, shown
from tests.support.ledgers import Site


class _OldOpened(msgspec.Struct):
    """As much of the clear part of a log's opening as the made-up change needs."""

    reason: str


def _job_of_today(data: bytes) -> bytes:
    """In the made-up version 2 of job.started every kind of job has got another name."""
    old = decode(data, JobStarted, limit_bytes=10_000, subject="job.started")
    return encode(replace(old, kind=f"{old.kind} of old"))


def _same(data: bytes) -> bytes:
    assert decode(data, _OldOpened, limit_bytes=10_000, subject="log.opened").reason
    return data


def _untouched(data: bytes) -> bytes:
    return data


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The program of tomorrow."""
    with monkeypatch.context() as patch:
        for topic, clear in (("job.started", _job_of_today), (OPENING_KIND, _same)):
            patch.setitem(KINDS, topic, replace(KINDS[topic], version=2))
            patch.setitem(FACT_UPCASTERS, (topic, 1), Upcaster(clear=clear, sealed=_untouched))
        yield


def _jobs(facts: list[RecordedFact]) -> list[tuple[int, str]]:
    return [(fact.kind_version, fact.clear.kind) for fact in facts if isinstance(fact.clear, JobStarted)]


@pytest.mark.usefixtures("newer")
def test_old_facts_are_read_as_those_of_today_and_new_ones_stand_beside_them(tmp_path: Path) -> None:
    with open_golden(tmp_path) as ledger:
        old = list(ledger.facts())
        kinds = [kind for _, kind in _jobs(old)]
        assert kinds and all(kind.endswith(" of old") for kind in kinds)
        assert [job.kind for job in ledger.history().jobs] == kinds
        assert check_log(ledger).is_good
        ledger.open_log_epoch("unproven")
        ledger.record(*Site(tmp_path / "other").backup()[:1])
        assert check_log(ledger).is_good
        found = list(ledger.facts())
        assert [shown(fact) for fact in found[: len(old)]] == [shown(fact) for fact in old]
        assert _jobs(found)[len(kinds) :] == [(2, "backup")]
        assert {fact.kind_version for fact in found if fact.kind == OPENING_KIND} == {1, 2}


def test_a_rescue_takes_old_and_new_facts_over_byte_for_byte(tmp_path: Path, newer: None) -> None:
    with open_golden(tmp_path) as ledger:
        ledger.open_log_epoch("unproven")
        before, site = [shown(fact) for fact in ledger.facts()], ledger
        keyring, clock, randomness = site.keyring, site._clock, site._randomness
    log = tmp_path / "log"
    rescued = rescue_log(str(log), keyring, clock, randomness, site_name="")
    assert rescued.facts == len(before)


def test_the_program_of_today_refuses_facts_of_tomorrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path / "home")
    with monkeypatch.context() as patch:
        patch.setitem(KINDS, "job.started", replace(KINDS["job.started"], version=2))
        patch.setitem(FACT_UPCASTERS, ("job.started", 1), Upcaster(clear=_job_of_today, sealed=_untouched))
        with site.create() as ledger:
            ledger.record(*site.backup()[:1])
    data = (tmp_path / "home" / "log" / "log.db").read_bytes()
    with site.open() as ledger:
        assert ledger.history().newer == 1
        assert check_log(ledger).newer == 1
        with pytest.raises(RefusedError, match="newer Farkeep"):
            ledger.record(*site.backup()[:1])
    assert (tmp_path / "home" / "log" / "log.db").read_bytes() == data


@pytest.mark.parametrize("version", [0, -1, 1])
def test_a_version_that_nothing_leads_on_from_is_damage(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "job.started", replace(KINDS["job.started"], version=3))
    known = {("job.started", 2): Upcaster(clear=_same, sealed=_untouched)}
    with pytest.raises(DamagedError, match="a version that there never was"):
        find_kind("job.started", version, known)
    assert find_kind("job.started", 2, known).steps == (known["job.started", 2],)


def test_upcasters_lead_from_every_older_version_of_every_kind() -> None:
    assert set(FACT_UPCASTERS) == {(kind.topic, number) for kind in KINDS.values() for number in range(1, kind.version)}
