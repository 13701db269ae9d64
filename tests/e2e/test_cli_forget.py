"""`forget`, `unforget` and what `snapshots` and `stats` say of it: answers, refusals, and the state afterwards."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.farkeep import Farkeep, Result
from tests.support.inside import quick_driver

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3}(\d{3})?)?)?Z")
COUNT = 5


@pytest.fixture
def farkeep(tmp_path: Path) -> Farkeep:
    """A home with five snapshots of docs and one of mail."""
    made = quick_driver(tmp_path / "home")
    made.init()
    (tmp_path / "source").mkdir()
    for number in range(COUNT):
        (tmp_path / "source/file").write_text(str(number))
        made.backup(tmp_path / "source", "--tag", f"t{number}", name="docs")
    made.backup(tmp_path / "source", name="mail")
    return made


@pytest.fixture
def docs(farkeep: Farkeep) -> list[str]:
    """The ids of docs, oldest first."""
    return listed(farkeep, "--name", "docs")


def listed(farkeep: Farkeep, *options: str) -> list[str]:
    return [row["snapshot"] for row in farkeep.snapshots(*options).json()]


def refused(result: Result, code: int, *words: str) -> None:
    """A command that must fail with this code and say these words, on both outputs."""
    error: dict[str, Any] = result.json()["error"]
    assert result.exit_code == code, result.report()
    said = f"{error['message']} {error['subject']} {error['next']}"
    for word in words:
        assert word in said, result.report()
    assert error["message"] in result.stderr
    assert error["next"] in result.stderr


def test_rules_say_what_keeps_each(farkeep: Farkeep, docs: list[str]) -> None:
    result = farkeep.run("forget", "--keep", "tag t1, last 2")
    document = result.json()
    assert set(document) == {"is_dry_run", "kept", "forgotten", "already_forgotten", "sweep_after", "needs_yes_forget",
                             "notes"}  # fmt: skip
    assert all(set(row) == {"snapshot", "name", "time", "rules"} for row in document["kept"])
    (mail,) = listed(farkeep, "--name", "mail")
    assert {row["snapshot"]: row["rules"] for row in document["kept"]} == {
        docs[1]: ["tag t1"], docs[3]: ["last 2"], docs[4]: ["last 1", "last good"], mail: ["last 1", "last good"]}
    assert document["forgotten"] == [docs[0], docs[2]]
    assert TIME.fullmatch(document["sweep_after"])
    assert (document["is_dry_run"], document["needs_yes_forget"], document["notes"]) == (False, None, [])
    assert "2 snapshots forgotten, 4 kept" in result.stderr
    assert "farkeep unforget" in result.stderr
    assert listed(farkeep) == [docs[1], docs[3], docs[4], mail]


def test_the_table_for_people(farkeep: Farkeep, docs: list[str]) -> None:
    result = farkeep.run("forget", "--keep", "LAST 3", "--name", "docs", "--dry-run", is_json=False)
    lines = result.stdout.decode().splitlines()
    assert lines[0].split() == ["snapshot", "time", "name", "kept", "by"]
    assert [line.split()[0] for line in lines[1:]] == [snapshot[:12] for snapshot in docs]
    assert [line.endswith("- (forget)") for line in lines[1:]] == [True, True, False, False, False]
    assert lines[5].endswith("docs  last 1, last good")
    assert "2 snapshots would be forgotten, 3 kept" in result.stderr
    assert "unforget" not in result.stderr
    assert listed(farkeep, "--name", "docs") == docs


def test_more_than_half_is_asked_about(farkeep: Farkeep, docs: list[str]) -> None:
    rules = ("forget", "--keep", "last 1")
    refused(farkeep.run(*rules, check=False), 1, "4 of 6 snapshots", "more than half", "--dry-run", "--yes-forget 4")
    rehearsal = farkeep.run(*rules, "--dry-run")
    assert rehearsal.json()["needs_yes_forget"] == 4
    assert "--yes-forget 4" in rehearsal.stderr
    refused(farkeep.run(*rules, "--yes-forget", "3", check=False), 1, "4 snapshots would be forgotten, not 3")
    assert len(listed(farkeep)) == COUNT + 1
    assert farkeep.run(*rules, "--yes-forget", "4").json()["forgotten"] == docs[:4]
    assert farkeep.run(*rules).json()["forgotten"] == []


def test_forgotten_snapshots_are_listed_apart_and_come_back(farkeep: Farkeep, docs: list[str]) -> None:
    farkeep.run("forget", docs[4], docs[0])
    assert listed(farkeep, "--name", "docs") == docs[1:4]
    assert farkeep.run("ls", "docs@latest").json() == farkeep.run("ls", docs[3]).json()
    rows = farkeep.snapshots("--name", "docs", "--forgotten").json()
    assert [row["snapshot"] for row in rows] == docs
    assert [row["forgotten"] is not None for row in rows] == [True, False, False, False, True]
    assert all(TIME.fullmatch(row["sweep_after"]) and row["sweep_after"] > row["forgotten"]
               for row in (rows[0], rows[4]))
    assert farkeep.snapshots("--all").json()[: COUNT] == rows
    lines = farkeep.run("snapshots", "--jsonl", "--forgotten", "--name", "docs", is_json=False).stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert farkeep.run("stats").json()["forgotten"] == 2
    assert b"forgotten         2, not swept yet" in farkeep.run("stats", is_json=False).stdout
    # It is still found by its id, and still whole.
    assert farkeep.run("cat", f"{docs[0]}:{farkeep.home.parent}/source/file", is_json=False).stdout == b"0"
    result = farkeep.run("unforget", docs[0][:8], docs[1])
    assert result.json() == {"recalled": [docs[0]], "already_wanted": [docs[1]]}
    assert "1 snapshot taken back" in result.stderr
    assert farkeep.run("unforget", "--all").json() == {"recalled": [docs[4]], "already_wanted": []}
    assert listed(farkeep, "--name", "docs") == docs
    farkeep.verify("--read-data")


def test_both_tables_of_snapshots(farkeep: Farkeep, docs: list[str]) -> None:
    farkeep.run("forget", docs[1])
    farkeep.run("forget", docs[0], "--now")
    result = farkeep.run("snapshots", is_json=False)
    first, second = result.stdout.decode().split("\n\n")
    assert [line.split()[0] for line in first.splitlines()[1:-1]] == [snapshot[:12] for snapshot in docs[2:]]
    heading, now, later = second.splitlines()
    assert heading.startswith("forgotten ") and heading.endswith("may be swept")
    assert now.startswith(docs[0][:12]) and now.endswith("by the next prune")
    assert later.startswith(docs[1][:12]) and re.search(r"from 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d$", later)
    assert "4 snapshots" in result.stderr
    assert "2 forgotten" in result.stderr


def test_unforget_of_one_name(farkeep: Farkeep, docs: list[str]) -> None:
    (mail,) = listed(farkeep, "--name", "mail")
    farkeep.run("forget", docs[0], mail, "--yes-last")
    assert farkeep.run("unforget", "--all", "--name", "docs").json()["recalled"] == docs[:1]
    refused(farkeep.run("unforget", "--all", "--name", "docs", check=False), 1, "nothing is forgotten", "docs")
    assert listed(farkeep) == docs


def test_the_time_to_recall_comes_from_option_or_settings(farkeep: Farkeep, docs: list[str]) -> None:
    (farkeep.home / "farkeep.toml").write_text('sweep_after = "30d"\n')
    found = [farkeep.run("forget", snapshot, *options).json()["sweep_after"]
             for snapshot, options in zip(docs, ((), ("--after", "1d"), ("--now",)), strict=False)]
    assert sorted(found, reverse=True) == found
    assert len({text[:10] for text in found}) == 3
    (farkeep.home / "farkeep.toml").write_text('sweep_after = "a while"\n')
    refused(farkeep.run("forget", docs[3], check=False), 2, "no length of time", "a while")
    assert listed(farkeep, "--name", "docs") == docs[3:]


def test_the_last_good_one(farkeep: Farkeep, docs: list[str]) -> None:
    (mail,) = listed(farkeep, "--name", "mail")
    refused(farkeep.run("forget", "mail@latest", check=False), 1, "the last good snapshot of mail", mail, "--yes-last")
    refused(farkeep.run("forget", *docs, check=False), 1, "the last good snapshot of docs")
    refused(farkeep.run("forget", *docs, "--dry-run", check=False), 1, "the last good snapshot of docs")
    assert listed(farkeep) == [*docs, mail]
    farkeep.run("forget", "mail@latest", "--yes-last")
    refused(farkeep.run("ls", "mail@latest", check=False), 1, "no snapshot of this name", "docs")
    assert listed(farkeep) == docs


def test_what_is_held_stays(farkeep: Farkeep, docs: list[str]) -> None:
    hold = farkeep.run("hold", docs[0], "--reason", "a court case").json()["hold"][:12]
    refused(farkeep.run("forget", docs[0], docs[1], check=False), 1, f"hold {hold} of ", "until it is released",
            "(a court case)", docs[0], f"farkeep release {hold}")  # fmt: skip
    document = farkeep.run("forget", "--keep", "last 3").json()
    assert document["forgotten"] == [docs[1]]
    assert document["kept"][0] == {**document["kept"][0], "snapshot": docs[0], "rules": [f"hold {hold}"]}
    farkeep.run("release", hold)
    farkeep.run("forget", docs[0])
    assert listed(farkeep, "--name", "docs") == docs[2:]


def test_a_forgotten_one_may_be_held(farkeep: Farkeep, docs: list[str]) -> None:
    farkeep.run("forget", docs[0], "--now")
    farkeep.run("hold", docs[0])
    row = farkeep.snapshots("--forgotten").json()[0]
    assert (row["snapshot"], row["held"]) == (docs[0], "hold")
    assert row["forgotten"]
    assert b"when no hold keeps it" in farkeep.run("snapshots", is_json=False).stdout


def test_what_is_forgotten_already_is_not_touched(farkeep: Farkeep, docs: list[str]) -> None:
    first = farkeep.run("forget", docs[0]).json()
    again = farkeep.run("forget", docs[0], "--now")
    assert (again.json()["forgotten"], again.json()["already_forgotten"]) == ([], docs[:1])
    assert "forgotten already" in again.stderr
    row = farkeep.snapshots("--forgotten").json()[0]
    assert row["sweep_after"] == first["sweep_after"]


@pytest.mark.parametrize(("words", "said"), [
    ((), "nothing says what to forget"), (("latest", "--keep", "last 1"), "not both"),
    (("latest", "--name", "docs"), "belong to --keep"), (("latest", "--yes-forget", "1"), "belong to --keep"),
    (("latest", "--confirm-clock"), "belong to --keep"), (("--keep", "last 1", "--yes-last"), "rules never forget"),
    (("--keep", "weakly 3"), "weakly"), (("--keep", ""), "a rule is missing"), (("--keep", "last 0"), "last 0"),
    (("--keep", "last 1", "--name", "a b"), "cannot be a name"), (("latest", "--after", "soon"), "no length of time"),
    (("latest", "--after", "7d", "--now"), "not allowed with"), (("latest:/x",), "only whole snapshots"),
    (("--keep", "last 1", "--yes-forget", "all"), "invalid int"), (("docs",), "docs@latest"),
])  # fmt: skip
def test_wrong_words_are_usage_errors(farkeep: Farkeep, words: tuple[str, ...], said: str) -> None:
    refused(farkeep.run("forget", *words, check=False), 2, said)
    assert len(listed(farkeep)) == COUNT + 1


@pytest.mark.parametrize("words", [(), ("--name", "docs"), ("latest", "--all"), ("latest", "--name", "docs")])
def test_unforget_wants_snapshots_or_all(farkeep: Farkeep, words: tuple[str, ...]) -> None:
    refused(farkeep.run("unforget", *words, check=False), 2, "name snapshots, or add --all", "farkeep snapshots")


def test_a_snapshot_that_is_not_there(farkeep: Farkeep) -> None:
    refused(farkeep.run("forget", "ffffff0", check=False), 1, "no snapshot with this id")
    refused(farkeep.run("forget", "--keep", "last 1", "--name", "pics", check=False), 1, "no snapshot of this name",
            "docs, mail")
    refused(farkeep.run("unforget", "ffffff0", check=False), 1, "no snapshot with this id")


def test_the_log_says_what_was_decided_and_what_was_refused(farkeep: Farkeep, docs: list[str]) -> None:
    farkeep.run("forget", "--keep", "last 1", check=False)
    farkeep.run("forget", "--keep", "last 4")
    farkeep.run("unforget", "--all")
    said = [row["summary"] for row in farkeep.run("events", "--limit", "8").json()]
    assert any(text.startswith("refused: these rules would forget 4 of 6 snapshots") for text in said)
    assert f"snapshot {docs[0][:8]} forgotten by last 4" in said
    assert f"snapshot {docs[0][:8]} wanted again" in said
