"""SNAP[:PATH]: grammar, look-up, and what is said when it names none or several."""

import pytest

from shared.decisions import SegmentsSwept, SnapshotsForgotten, SnapshotsForgottenSealed
from shared.errors import RefusedError, UsageError
from siteagent.cli.moment import parse_moment, rfc3339
from siteagent.cli.snapspec import find_snapshot, find_snapshots, parse_spec
from siteagent.ledger.history import History
from siteagent.ledger.reading import Mark
from tests.support.histories import add_fact, add_snapshot, new_history

DAY_NS = 86_400 * 10**9
START_NS = parse_moment("2026-03-01T12:00:00.5Z")
IDS = ("abcdef11", "abcdef12", "12345678", "99999999")
ONE, TWO, THREE, OTHER = (bytes.fromhex(text.ljust(32, "0")) for text in IDS)


@pytest.fixture
def history() -> History:
    """docs on three days in a row, and one of mail."""
    made = new_history()
    for day, snapshot in enumerate((ONE, TWO, THREE)):
        add_snapshot(made, snapshot, "docs", START_NS + day * DAY_NS)
    add_snapshot(made, OTHER, "mail", START_NS + DAY_NS)
    return made


@pytest.mark.parametrize(("text", "snap", "path"), [
    ("latest", "latest", None), ("latest:/", "latest", b"/"), ("latest:/a/b", "latest", b"/a/b"),
    ("docs@2026-01-01T10:00:00:/a:/b", "docs@2026-01-01T10:00:00", b"/a:/b"),
    ("latest:/a//b/./c/", "latest", b"/a/b/c"),
    ("abcdef:/\udcff", "abcdef", b"/\xff"), ("latest://etc", "latest", b"/etc"), ("latest:x", "latest:x", None),
])  # fmt: skip
def test_snap_ends_at_the_first_colon_with_a_slash(text: str, snap: str, path: bytes | None) -> None:
    spec = parse_spec(text)
    assert (spec.snap, spec.path) == (snap, path)


@pytest.mark.parametrize("text", ["", ":/a", "latest:/a/../b", "latest:/.."])
def test_a_spec_without_snapshot_or_with_a_way_up_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_spec(text)


@pytest.mark.parametrize(("snap", "found"), [
    ("latest", OTHER), ("docs@latest", THREE), ("mail@latest", OTHER), (ONE.hex(), ONE), (ONE.hex().upper(), ONE),
    ("abcdef11", ONE), ("123456", THREE), ("docs@2026-03-01T12:00:00.5Z", ONE), ("docs@2026-03-01T12:00:00Z", ONE),
    ("docs@2026-03-03T11:00:00Z", TWO), ("docs@2999-01-01", THREE), ("docs@2026-03-01T14:00:01+02:00", ONE),
])  # fmt: skip
def test_a_snapshot_is_found(history: History, snap: str, found: bytes) -> None:
    assert find_snapshot(history, snap).id == found


def test_the_time_that_is_shown_of_a_snapshot_names_it(history: History) -> None:
    for entry in history.snapshots_named("docs"):
        assert entry.summary is not None
        assert find_snapshot(history, f"docs@{rfc3339(entry.summary.time_ns)}").id == entry.id


def test_digits_that_fit_several_are_refused_with_the_candidates(history: History) -> None:
    with pytest.raises(RefusedError, match="2 snapshots begin") as caught:
        find_snapshot(history, "abcdef")
    assert "abcdef110000 (docs" in caught.value.message
    assert "abcdef120000 (docs" in caught.value.message
    assert caught.value.next_step == "write more digits"


def test_of_many_candidates_some_are_shown_and_the_rest_counted(history: History) -> None:
    for number in range(20):
        add_snapshot(history, bytes.fromhex(f"777777{number:02}".ljust(32, "0")), "x", START_NS)
    with pytest.raises(RefusedError, match="and 10 more"):
        find_snapshot(history, "777777")


@pytest.mark.parametrize(("snap", "message", "next_step"), [
    ("abcdef99", "no snapshot with this id", "farkeep snapshots"),
    ("pics@latest", "no snapshot of this name", "docs, mail"),
    ("pics@2026-01-01", "no snapshot of this name", "docs, mail"),
    ("docs@2026-02-01", "no snapshot of this name so early", "the first one is of"),
])  # fmt: skip
def test_what_is_not_there_is_refused(history: History, snap: str, message: str, next_step: str) -> None:
    with pytest.raises(RefusedError) as caught:
        find_snapshot(history, snap)
    assert message in caught.value.message
    assert next_step in caught.value.next_step


@pytest.mark.parametrize(("snap", "next_step"), [
    ("docs", "write docs@latest"), ("abcde", "6 or more"), ("abcdef1100" * 4, "6 or more"), ("no such", "NAME@latest"),
    ("docs@", "RFC 3339"), ("docs@soon", "RFC 3339"), ("a b@latest", "1 to 64"), ("@latest", "1 to 64"),
])  # fmt: skip
def test_wrong_grammar_is_a_usage_error(history: History, snap: str, next_step: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_snapshot(history, snap)
    assert next_step in caught.value.next_step


def test_an_empty_home_says_how_to_begin() -> None:
    with pytest.raises(RefusedError, match="no snapshot yet") as caught:
        find_snapshot(new_history(), "latest")
    assert "farkeep backup" in caught.value.next_step


def test_an_erased_snapshot_is_found_by_its_id_but_has_no_name(history: History) -> None:
    erased = bytes.fromhex("55555555".ljust(32, "0"))
    add_snapshot(history, erased, "docs", START_NS + 9 * DAY_NS, mark=Mark.ERASED)
    assert find_snapshot(history, "555555").id == erased
    assert find_snapshot(history, "docs@latest").id == THREE
    assert find_snapshot(history, "docs@2999-01-01").id == THREE


def forget(history: History, *snapshots: bytes) -> None:
    clear = SnapshotsForgotten(decision=bytes(16), snapshots=snapshots, sweep_after_ns=START_NS)
    add_fact(history, clear, SnapshotsForgottenSealed(user="u", host="h"), START_NS + 9 * DAY_NS)


def test_a_forgotten_snapshot_is_found_by_its_id_and_by_nothing_else(history: History) -> None:
    forget(history, THREE, OTHER)
    assert find_snapshot(history, "123456").id == THREE
    assert find_snapshot(history, "latest").id == find_snapshot(history, "docs@latest").id == TWO
    assert find_snapshot(history, "docs@2999-01-01").id == TWO
    with pytest.raises(RefusedError, match="no snapshot of this name") as caught:
        find_snapshot(history, "mail@latest")
    assert caught.value.next_step == "the names are: docs"


def test_a_swept_snapshot_is_said_to_be_gone(history: History) -> None:
    forget(history, THREE)
    add_fact(history, SegmentsSwept(job=bytes(16), snapshots=(THREE,), segments=b""), None, START_NS + 10 * DAY_NS)
    for snap in ("123456", THREE.hex()):
        with pytest.raises(RefusedError, match="forgotten and then swept: it is gone"):
            find_snapshot(history, snap)
    add_snapshot(history, bytes.fromhex("12345699".ljust(32, "0")), "docs", START_NS)
    assert find_snapshot(history, "123456").id.hex().startswith("12345699")


def test_several_are_found_in_the_order_they_were_named_each_once(history: History) -> None:
    found = find_snapshots(history, ["latest", ONE.hex(), "docs@latest", "mail@latest", "abcdef11"])
    assert [entry.id for entry in found] == [OTHER, ONE, THREE]
    assert find_snapshots(history, []) == []
    for text in ("latest:/", "docs@latest:/a"):
        with pytest.raises(UsageError, match="only whole snapshots"):
            find_snapshots(history, [text])
