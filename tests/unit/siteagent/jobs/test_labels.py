"""Tags and notes: what is recorded, and for whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.chain import NO_ID
from shared.errors import RefusedError
from shared.facts import Subject
from siteagent.home import Home
from siteagent.jobs.labels import TAGS_MAX, LabelChange, change_labels
from tests.support.homes import Place
from tests.support.series import entries, kinds, take_daily
from tests.support.site import WHO


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path).create()


@pytest.fixture
def home(place: Place) -> Iterator[Home]:
    with place.open() as opened:
        take_daily(place, opened, 2)
        yield opened


def test_only_what_differs_is_recorded(home: Home) -> None:
    both = entries(home, home.ledger.history().snapshot_ids)
    first, second = change_labels(home, WHO, both[:1], LabelChange(added=("a", "a")))[0], both[1]
    assert first.tags == ("a",)
    changed = change_labels(home, WHO, [first, second], LabelChange(added=("a",), removed=("never there",)))
    assert [entry.tags for entry in changed] == [("a",), ("a",)]
    assert kinds(home, 3) == ["job.started", "snapshot.labelled", "job.ended"]
    head = home.ledger.head.position
    change_labels(home, WHO, changed, LabelChange(added=("a",), note=""))
    assert home.ledger.head.position == head


def test_a_note_is_written_and_removed(home: Home) -> None:
    (entry,) = change_labels(home, WHO, entries(home, home.ledger.history().snapshot_ids[:1]), LabelChange(note="why"))
    assert (entry.note, entry.tags) == ("why", ())
    (entry,) = change_labels(home, WHO, [entry], LabelChange(note=""))
    assert entry.note == ""


def test_labels_belong_to_the_source_and_are_erased_with_it(home: Home) -> None:
    (entry,) = change_labels(home, WHO, entries(home, home.ledger.history().snapshot_ids[:1]),
                             LabelChange(added=("a",), note="about somebody"))  # fmt: skip
    fact = home.ledger.newest_facts(2)[0]
    assert fact.subject == entry.subject != NO_ID
    home.ledger.erase_subject(Subject(kind="source", name="docs"), "asked for")
    (erased,) = entries(home, [entry.id])
    assert (erased.note, erased.tags, erased.summary) == ("", (), None)
    (labelled,) = change_labels(home, WHO, [erased], LabelChange(note="still kept for the record"))
    assert labelled.note == "still kept for the record"


def test_a_snapshot_has_so_many_tags_and_no_more(home: Home) -> None:
    (entry,) = entries(home, home.ledger.history().snapshot_ids[:1])
    (entry,) = change_labels(home, WHO, [entry], LabelChange(added=tuple(map(str, range(TAGS_MAX)))))
    with pytest.raises(RefusedError, match="up to 100 tags"):
        change_labels(home, WHO, [entry], LabelChange(added=("more",)))
    (entry,) = change_labels(home, WHO, [entry], LabelChange(added=("more",), removed=("0",)))
    assert (len(entry.tags), entry.tags[-1]) == (TAGS_MAX, "more")
