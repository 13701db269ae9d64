"""`diff`, `find` and `history`: JSON, words, limits, names that are no text."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.farkeep import Farkeep
from tests.support.inside import quick_driver


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reading") / "source"
    (folder / "sub").mkdir(parents=True)
    for name in ("gone", "grows", "same", "sub/deep", "odd\udcff\x1b[1m"):
        (folder / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    return folder


@pytest.fixture(scope="module")
def snapshots(source: Path, farkeep: Farkeep) -> list[str]:
    """Three snapshots of docs; the last two are equal."""
    ids = [farkeep.backup(source, name="docs").json()["snapshot"]]
    (source / "gone").unlink()
    (source / "odd\udcff\x1b[1m").unlink()
    (source / "grows").write_bytes(b"much longer than before")
    (source / "new").write_bytes(b"new")
    ids += [farkeep.backup(source, name="docs").json()["snapshot"] for _ in range(2)]
    return ids


@pytest.fixture(scope="module")
def farkeep(source: Path) -> Farkeep:
    made = quick_driver(source.parent / "home")
    made.init()
    return made


def lines(farkeep: Farkeep, *words: str) -> list[Any]:
    return [json.loads(line) for line in farkeep.run(*words, "--jsonl", is_json=False).stdout.splitlines()]


def test_diff(farkeep: Farkeep, source: Path, snapshots: list[str]) -> None:
    words = ("diff", f"{snapshots[0][:8]}:{source}", f"docs@latest:{source}")
    rows = farkeep.run(*words).json()
    assert [set(row) - {"path_bytes"} for row in rows] == [{"change", "path", "type", "size", "old_size"}] * 4
    assert {(row["change"], row["path"]) for row in rows} == {
        ("removed", f"{source}/gone"), ("content", f"{source}/grows"), ("added", f"{source}/new"),
        ("removed", f"{source}/odd\\xff\x1b[1m")}  # fmt: skip
    (odd,) = (row for row in rows if "path_bytes" in row)
    assert base64.b64decode(odd["path_bytes"]) == os.fsencode(source / "odd\udcff\x1b[1m")
    assert lines(farkeep, *words) == rows
    assert farkeep.run(*words, "--stat").json() == {
        "added": 1, "removed": 2, "type": 0, "content": 1, "metadata": 0, "bytes": 3 + 23 - 5 - 4 - 8}  # fmt: skip


def test_diff_in_words(farkeep: Farkeep, source: Path, snapshots: list[str]) -> None:
    words = ("diff", f"{snapshots[0]}:{source}", f"latest:{source}")
    result = farkeep.run(*words, is_json=False)
    assert result.stdout.decode().splitlines() == [
        f"- {source}/gone", f"M {source}/grows", f"+ {source}/new", f"- {source}/odd\\xff\\x1b[1m"]  # fmt: skip
    assert result.stderr == "1 added, 2 removed, 1 with other content; +9 B\n"
    result = farkeep.run(*words, "--limit", "1", is_json=False)
    assert (result.stdout.decode(), result.stderr) == (
        f"- {source}/gone\n", "only the first 1 changes are shown (--limit)\n")  # fmt: skip
    assert farkeep.run(*words, "--limit", "4", is_json=False).stderr.startswith("1 added")
    assert farkeep.run("diff", snapshots[1], "latest", is_json=False).stderr == "nothing differs\n"
    assert farkeep.run(*words, "--stat", is_json=False).stdout == b""


def test_diff_of_two_folders_names_relative_paths(farkeep: Farkeep, source: Path, snapshots: list[str]) -> None:
    rows = farkeep.run("diff", f"latest:{source}", f"latest:{source}/sub").json()
    assert {(row["change"], row["path"]) for row in rows} >= {("added", "deep"), ("removed", "sub/deep")}


def test_find(farkeep: Farkeep, source: Path, snapshots: list[str]) -> None:
    (row,) = farkeep.run("find", "gon*").json()
    assert set(row) == {"path", "type", "size", "mtime", "name", "snapshot", "time", "since", "snapshots"}
    assert (row["path"], row["type"], row["size"], row["snapshot"], row["snapshots"], row["name"]) == (
        f"{source}/gone", "file", 4, snapshots[0], 1, "docs")  # fmt: skip
    assert row["time"] == row["since"]
    (same,) = farkeep.run("find", f"{source}/s?me", "--name", "docs").json()
    assert (same["snapshot"], same["snapshots"]) == (snapshots[2], 3)
    assert same["since"] < same["time"]
    assert farkeep.run("find", "gone", "--snapshot", "latest").json() == []
    assert farkeep.run("find", "GONE").json() == []
    assert farkeep.run("find", "GONE", "-i").json() == [row]
    assert lines(farkeep, "find", "gone") == [row]
    assert farkeep.run("find", "x", "--name", "docs", "--snapshot", "latest", check=False).exit_code == 2
    assert farkeep.run("find", "x", "--limit", "-1", check=False).exit_code == 2


def test_find_in_words(farkeep: Farkeep, source: Path, snapshots: list[str]) -> None:
    result = farkeep.run("find", "odd*", is_json=False)
    heading, row = result.stdout.decode().splitlines()
    assert heading.split() == ["newest", "name", "snapshot", "in", "size", "modified", "path"]
    assert row.endswith(f"{source}/odd\\xff\\x1b[1m")
    assert result.stderr == "1 path found\n"
    assert "only the first 1" in farkeep.run("find", "*", "--limit", "1", is_json=False).stderr
    assert farkeep.run("find", "nowhere", is_json=False).stdout == b""


def test_history(farkeep: Farkeep, source: Path, snapshots: list[str]) -> None:
    first, second = farkeep.run("history", source / "grows").json()
    assert set(first) == {"snapshot", "time", "size", "mtime", "same_until", "last_snapshot", "snapshots", "type",
                          "change", "name"}  # fmt: skip
    assert (first["snapshot"], first["size"], first["change"], first["same_until"]) == (
        snapshots[0], 5, "added", first["time"])  # fmt: skip
    assert (second["snapshot"], second["size"], second["change"], second["last_snapshot"]) == (
        snapshots[1], 23, "content", snapshots[2])  # fmt: skip
    assert second["same_until"] > second["time"]
    there, gone = lines(farkeep, "history", f"{source}/gone")
    assert (there["type"], there["snapshots"], gone["type"], gone["size"], gone["mtime"], gone["snapshots"]) == (
        "file", 1, None, None, None, 2)  # fmt: skip
    (folder,) = farkeep.run("history", f"{source}/sub/", "--name", "docs").json()
    assert (folder["type"], folder["snapshots"]) == ("folder", 3)


def test_history_in_words(farkeep: Farkeep, source: Path, snapshots: list[str]) -> None:
    rows = farkeep.run("history", source / "gone", is_json=False).stdout.decode().splitlines()
    assert rows[0].split() == ["from", "until", "name", "snapshot", "in", "size", "modified", "what"]
    assert rows[1].endswith("file, added")
    assert rows[2].endswith("not there any more")


def test_history_of_what_never_was_is_refused(farkeep: Farkeep, source: Path, snapshots: list[str]) -> None:
    result = farkeep.run("history", source / "never", check=False)
    assert (result.exit_code, result.json()["error"]["message"]) == (1, "this path is in no snapshot")
    result = farkeep.run("history", "relative", check=False)
    assert result.exit_code == 2
    assert "farkeep find" in result.json()["error"]["next"]
