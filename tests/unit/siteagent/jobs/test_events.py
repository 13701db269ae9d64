"""The log as people read it."""

import pytest

from shared.errors import RefusedError
from shared.factkinds import KINDS
from shared.facts import Subject
from siteagent.home import Home
from siteagent.jobs.events import _DESCRIBERS, events
from tests.support.site import Site, fill


def test_facts_come_in_order_with_a_line_each(home: Home) -> None:
    found = list(events(home))
    assert [event.position.sequence for event in found] == list(range(1, len(found) + 1))
    assert all(event.summary for event in found)
    assert found[0].summary == "the log of alpha begins"
    assert "backup started by" in next(event.summary for event in found if event.kind == "job.started")
    taken = next(event for event in found if event.kind == "snapshot.taken")
    assert " of docs: 6 files" in taken.summary
    assert len(taken.snapshot) == 16
    assert len(found[-1].job) == 16


def test_the_newest_are_shown_when_there_is_a_limit(home: Home) -> None:
    everything = list(events(home))
    assert list(events(home, limit=2)) == everything[-2:]
    assert list(events(home, limit=0)) == []


def test_the_log_is_shown_as_of_a_position_or_a_time(home: Home) -> None:
    everything = list(events(home))
    middle = everything[3]
    assert list(events(home, middle.position)) == everything[:4]
    assert list(events(home, everything[-1].time_ns)) == everything
    assert list(events(home, everything[0].time_ns - 1)) == []


def test_a_position_of_another_log_is_refused(site: Site, home: Home) -> None:
    position = next(iter(events(home))).position
    stranger = type(position)(position.site, position.log_epoch, position.sequence, bytes(32))
    with pytest.raises(RefusedError):
        list(events(home, stranger))


def test_what_was_erased_is_shown_as_erased(site: Site) -> None:
    fill(site.source)
    site.backup()
    with site.open() as home:
        home.ledger.erase_subject(Subject(kind="source", name="docs"), "asked")
        found = list(events(home))
    assert any("(erased)" in event.summary or event.summary == "erased" for event in found)
    assert not any("docs" in event.summary for event in found)


def test_every_kind_of_fact_has_words() -> None:
    assert set(_DESCRIBERS) == {kind.clear for kind in KINDS.values()}
