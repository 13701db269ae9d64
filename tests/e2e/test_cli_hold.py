"""`hold`, `holds`, `release`, `tag` and `note` from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.farkeep import Farkeep, Result
from tests.support.inside import quick_driver

FIELDS = {"hold", "is_lock", "is_active", "placed", "until", "by", "snapshots", "name", "is_everything", "reason"}


@pytest.fixture
def farkeep(tmp_path: Path) -> Farkeep:
    """A home with two snapshots of docs."""
    made = quick_driver(tmp_path / "home")
    made.init()
    (tmp_path / "file").write_bytes(b"content")
    for _ in range(2):
        made.backup(tmp_path / "file", "--tag", "first", name="docs")
    return made


def ids(farkeep: Farkeep) -> list[str]:
    return [row["snapshot"] for row in farkeep.snapshots().json()]


def holds(farkeep: Farkeep) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = farkeep.run("holds").json()
    return found


def refused(result: Result, code: int, *words: str) -> None:
    error = result.json()["error"]
    assert result.exit_code == code, result.report()
    said = f"{error['message']} {error['subject']} {error['next']}"
    assert all(word in said for word in words), result.report()
    assert error["message"] in result.stderr


def test_a_hold_is_placed_listed_and_released(farkeep: Farkeep) -> None:
    one, two = ids(farkeep)
    placed = farkeep.run("hold", one, two, one, "--reason", "audit", "--until", "2199-12-31")
    document = placed.json()
    assert set(document) == FIELDS
    assert (document["snapshots"], document["name"], document["is_everything"]) == ([one, two], None, False)
    assert (document["is_lock"], document["is_active"], document["reason"]) == (False, True, "audit")
    assert document["until"] > "2199-12-30"
    assert "keeps" in placed.stderr and "until 2199-12-31 23:59:59" in placed.stderr
    assert holds(farkeep) == [document]
    assert [row["held"] for row in farkeep.snapshots().json()] == ["hold", "hold"]
    released = farkeep.run("release", document["hold"][:6], "--reason", "done")
    assert released.json() == {"released": document["hold"]}
    assert "is over" in released.stderr
    assert holds(farkeep) == []
    assert [row["held"] for row in farkeep.snapshots().json()] == [None, None]


def test_a_name_or_everything_is_held_with_what_comes_later(farkeep: Farkeep, tmp_path: Path) -> None:
    by_name = farkeep.run("hold", "--name", "docs").json()
    assert (by_name["name"], by_name["snapshots"], by_name["is_everything"]) == ("docs", [], False)
    farkeep.backup(tmp_path / "file", name="mail")
    farkeep.backup(tmp_path / "file", name="docs")
    assert [row["held"] for row in farkeep.snapshots().json()] == ["hold", "hold", None, "hold"]
    whole = farkeep.run("hold", "--everything", "--lock", "--until", "2199-01-01").json()
    assert (whole["name"], whole["is_everything"], whole["is_lock"]) == (None, True, True)
    assert [row["held"] for row in farkeep.snapshots().json()] == ["lock"] * 4
    assert [row["hold"] for row in holds(farkeep)] == [by_name["hold"], whole["hold"]]


def test_a_lock_cannot_be_released_before_its_time(farkeep: Farkeep) -> None:
    lock = farkeep.run("hold", "--name", "docs", "--lock", "--until", "2199-01-01").json()["hold"]
    refused(farkeep.run("release", lock, check=False), 1, "cannot be released before its time", "2199-01-01", lock[:12])
    refused(farkeep.run("forget", "latest", check=False), 1, f"lock {lock[:12]}", "until 2199-01-01")
    assert [row["hold"] for row in holds(farkeep)] == [lock]
    assert len(ids(farkeep)) == 2


def test_holds_for_people(farkeep: Farkeep) -> None:
    one, _ = ids(farkeep)
    farkeep.run("hold", one, "--reason", "red\x1b[31m")
    farkeep.run("hold", "--everything", "--until", "2199-01-01", "--lock")
    result = farkeep.run("holds", is_json=False)
    heading, first, second = result.stdout.decode().splitlines()
    assert heading.split() == ["hold", "kind", "since", "until", "by", "what", "reason"]
    assert one[:12] in first and "released" in first and first.endswith("red\\x1b[31m")
    assert " lock " in second and "2199-01-01 23:59:59" in second and "everything" in second
    assert "2 holds" in result.stderr


@pytest.mark.parametrize(("words", "said"), [
    ((), "say what to hold"), (("latest", "--name", "docs"), "exclude each other"),
    (("--everything", "--name", "docs"), "exclude each other"), (("latest", "--lock"), "a lock needs an end"),
    (("latest", "--until", "soon"), "no time"), (("latest:/x",), "only whole snapshots"),
    (("--name", "latest"), "cannot be a name"), (("docs",), "docs@latest"),
])  # fmt: skip
def test_wrong_words_are_usage_errors(farkeep: Farkeep, words: tuple[str, ...], said: str) -> None:
    refused(farkeep.run("hold", *words, check=False), 2, said)
    assert holds(farkeep) == []


@pytest.mark.parametrize(("words", "said"), [
    (("hold", "latest", "--until", "2001-01-01"), "this time is past"),
    (("hold", "latest", "--until", "2999-01-01"), "too far away"),
    (("hold", "--everything", "--reason", "x" * 1001), "1000"),
    (("hold", "--name", "pics"), "no snapshot of this name"),
    (("hold", "ffffff0"), "no snapshot with this id"), (("release", "ffffff0"), "no hold with this id"),
    (("release", "latest"), "no hold with this id"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(farkeep: Farkeep, words: tuple[str, ...], said: str) -> None:
    refused(farkeep.run(*words, check=False), 1, said)
    assert holds(farkeep) == []


# Labels


def test_tags_come_and_go(farkeep: Farkeep) -> None:
    one, two = ids(farkeep)
    result = farkeep.run("tag", one, two, "--add", "kept", "--add", "käse", "--remove", "first")
    assert result.json() == [{"snapshot": one, "tags": ["kept", "käse"]}, {"snapshot": two, "tags": ["kept", "käse"]}]
    farkeep.run("tag", two, "--remove", "kept")
    assert [row["tags"] for row in farkeep.snapshots().json()] == [["kept", "käse"], ["käse"]]
    farkeep.run("tag", two, "--remove", "käse")
    shown = farkeep.run("tag", two, "--remove", "käse", is_json=False)
    assert f"snapshot {two[:12]}: no tags" in shown.stderr


def test_a_note_is_shown_and_goes(farkeep: Farkeep) -> None:
    one, _ = ids(farkeep)
    assert farkeep.run("note", one, "before the\nmove").json() == {"snapshot": one, "note": "before the\nmove"}
    assert farkeep.snapshots().json()[0]["note"] == "before the\nmove"
    assert b"before the\\x0amove" in farkeep.run("snapshots", is_json=False).stdout
    farkeep.run("note", one, "")
    assert farkeep.snapshots().json()[0]["note"] == ""


@pytest.mark.parametrize(("words", "said"), [
    (("tag", "latest"), "no tag is named"), (("tag", "latest", "--add", "a", "--remove", "a"), "come and go at once"),
    (("tag", "latest", "--add", ""), "1 to 100"), (("tag", "latest", "--add", "a\nb"), "1 to 100"),
    (("tag", "--add", "a"), "SNAP"), (("note", "latest"), "TEXT"), (("note", "latest", "x" * 4001), "up to 4000"),
    (("note", "latest:/x", "text"), "only whole snapshots"),
])  # fmt: skip
def test_wrong_labels_are_usage_errors(farkeep: Farkeep, words: tuple[str, ...], said: str) -> None:
    refused(farkeep.run(*words, check=False), 2, said)
    assert [(row["tags"], row["note"]) for row in farkeep.snapshots().json()] == [(["first"], "")] * 2


def test_rules_see_tags_as_they_are_now(farkeep: Farkeep, tmp_path: Path) -> None:
    one, two = ids(farkeep)
    three = farkeep.backup(tmp_path / "file", name="docs").json()["snapshot"]
    farkeep.run("tag", one, "--add", "release")
    farkeep.run("tag", two, "--remove", "first")
    document = farkeep.run("forget", "--keep", "tag release, tag first").json()
    assert {row["snapshot"]: row["rules"] for row in document["kept"]} == {
        one: ["tag first", "tag release"], three: ["last good"]}  # fmt: skip
    assert document["forgotten"] == [two]
