"""The golden log reads for ever, fact by fact, and today's program writes the same facts."""

from __future__ import annotations

import json
from pathlib import Path

from shared.factkinds import KINDS
from siteagent.ledger.high_water import Verdict
from siteagent.ledger.log_check import check_log
from siteagent.ledger.reading import Mark
from tests.support.golden_log import DECISIONS, FOLDER, open_golden, shown, write_decisions, write_log
from tests.support.ledgers import Site

EXPECTED = json.loads((FOLDER / "expected.json").read_bytes())
DECIDED = json.loads((DECISIONS / "expected.json").read_bytes())


def test_every_fact_reads_as_it_was_written(tmp_path: Path) -> None:
    with open_golden(tmp_path) as ledger:
        assert [shown(fact) for fact in ledger.facts()] == EXPECTED


def test_they_hold_every_kind_and_a_subject_that_was_erased() -> None:
    assert {fact["kind"] for fact in EXPECTED + DECIDED} == set(KINDS)
    assert {fact["clear"] for fact in EXPECTED if isinstance(fact["clear"], str)} == {Mark.ERASED.value}
    assert len({fact["log_epoch"] for fact in EXPECTED}) == 2


def test_its_chain_and_signatures_hold(tmp_path: Path) -> None:
    with open_golden(tmp_path) as ledger:
        report = check_log(ledger)
        assert (report.is_good, report.facts, report.log_epochs) == (True, len(EXPECTED), 2)


def test_it_adds_up_to_the_same_and_can_be_continued(tmp_path: Path) -> None:
    with open_golden(tmp_path) as ledger:
        history = ledger.history()
        assert history.snapshot_names == ["golden", "", "golden"]
        assert [job.outcome for job in history.jobs] == ["done"] * 4
        assert len(history.packs) == 7 and len(history.jumps) == 1
        assert ledger.verdict is Verdict.UNPROVEN
        ledger.open_log_epoch("unproven")
        assert check_log(ledger).is_good


def test_the_program_of_today_writes_the_same_facts(tmp_path: Path) -> None:
    site = Site(tmp_path / "home")
    write_log(site)
    with site.open() as ledger:
        assert [shown(fact) for fact in ledger.facts()] == EXPECTED


def test_decisions_read_as_they_were_written_and_add_up(tmp_path: Path) -> None:
    with open_golden(tmp_path, DECISIONS) as ledger:
        assert [shown(fact) for fact in ledger.facts()] == DECIDED
        assert check_log(ledger).is_good
        history = ledger.history()
        labelled = history.snapshot(bytes(range(16)))
        assert labelled is not None
        assert (labelled.tags, labelled.note) == (("canary-tag",), "canary-note")
        assert not history.holds and history.swept == [bytes(range(16, 32))]
        assert (history.superseded, history.swept_segments) == ([(b"new", b"old")], [b"set"])


def test_the_program_of_today_writes_the_same_decisions(tmp_path: Path) -> None:
    site = Site(tmp_path / "home")
    write_decisions(site)
    with site.open() as ledger:
        assert [shown(fact) for fact in ledger.facts()] == DECIDED
