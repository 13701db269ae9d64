"""Jobs as facts: begun, ended, failed; and when nothing may be recorded."""

import pytest

from shared.errors import ExhaustedError, RefusedError
from shared.facts import Fact, RestoreDone, RestoreDoneSealed
from siteagent.home import Home
from siteagent.jobs.record import recorded, recorded_reading
from siteagent.ledger.high_water import Verdict
from siteagent.ledger.state import JobEntry
from tests.support.site import WHO, Site


def last(home: Home) -> JobEntry:
    return home.ledger.history().jobs[-1]


def test_a_job_says_who_what_and_what_came_of_it(home: Home) -> None:
    with recorded(home, "key", WHO, ("rotate", "\udcff")) as job:
        assert last(home).outcome == ""
        job.counters = {"keys": 1}
        job.outcome = "partial"
    entry = last(home)
    assert entry.started is not None
    assert entry.ended is not None
    assert (entry.kind, entry.started.user, entry.started.host, entry.started.what) == (
        "key", "tester", "bench", ("rotate", "\\udcff"))  # fmt: skip
    assert (entry.outcome, entry.ended.counters) == ("partial", {"keys": 1})


@pytest.mark.parametrize(("error", "outcome"), [(RefusedError("no"), "refused"), (ExhaustedError("full"), "failed"),
                                                (KeyboardInterrupt("SIGINT"), "failed")])
def test_a_job_that_does_not_end_well_says_why(home: Home, error: BaseException, outcome: str) -> None:
    with pytest.raises(type(error)):
        with recorded(home, "key", WHO, ()):
            raise error
    entry = last(home)
    assert entry.ended is not None
    assert (entry.outcome, entry.ended.message) == (outcome, str(error))


def test_facts_of_a_job_stand_before_its_end(home: Home) -> None:
    with recorded_reading(home, WHO, ("cat",)) as job:
        sealed = RestoreDoneSealed(user="u", host="h", snapshot=bytes(16), paths=(), target=b"")
        job.facts.append(Fact(RestoreDone(job=job.id), sealed))
    assert [fact.kind for fact in home.ledger.facts()][-3:] == ["job.started", "restore.done", "job.ended"]


def test_a_log_that_is_not_proven_gets_a_new_epoch_first(site: Site) -> None:
    (site.folder / "home.head").unlink()
    with site.open() as home:
        assert home.ledger.verdict is Verdict.UNPROVEN
        with recorded(home, "key", WHO, ()):
            pass
        assert [fact.kind for fact in home.ledger.facts()].count("log.opened") == 2


@pytest.mark.parametrize("verdict", [Verdict.REWOUND, Verdict.DAMAGED])
def test_reading_goes_on_where_nothing_may_be_recorded(home: Home, verdict: Verdict) -> None:
    before = len(list(home.ledger.facts()))
    home.ledger.verdict = verdict
    with recorded_reading(home, WHO, ("cat",)) as job:
        assert job.id == b""
    with recorded(home, "verify", WHO, (), is_reading=True) as job:
        assert job.id == b""
    assert len(list(home.ledger.facts())) == before


def test_an_end_that_cannot_be_recorded_is_a_note(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ExhaustedError("no space left")

    with pytest.raises(RefusedError):
        with recorded(home, "key", WHO, ()):
            monkeypatch.setattr(home.ledger, "record", full)
            raise RefusedError("no")
    assert home.notes == ["the end of the job could not be recorded: no space left"]
