"""What `backup` takes and leaves: selection, several roots, lists, rereading, the output of commands."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.farkeep import Farkeep
from tests.support.inside import quick_driver


@pytest.fixture
def farkeep(tmp_path: Path) -> Farkeep:
    made = quick_driver(tmp_path / "home")
    made.init()
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name in ("keep.txt", "drop.o", "sub/keep.o", "sub/deep/file", "cache/data", "big"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * (5000 if name == "big" else 10))
    return folder


def files(farkeep: Farkeep, source: Path) -> set[str]:
    rows = farkeep.run("ls", "latest").json()
    return {os.path.relpath(row["path"], source) for row in rows if row["type"] == "file"}


EVERYTHING = {"keep.txt", "drop.o", "sub/keep.o", "sub/deep/file", "cache/data", "big"}


@pytest.mark.parametrize(("options", "left_out"), [
    (["--exclude", "*.o"], {"drop.o", "sub/keep.o"}), (["--exclude", "*.o", "--exclude", "!keep.o"], {"drop.o"}),
    (["--exclude", "/cache"], {"cache/data"}), (["--exclude", "deep/"], {"sub/deep/file"}),
    (["--exclude-larger-than", "1K"], {"big"}), (["--exclude", "nothing"], set()),
])  # fmt: skip
def test_what_is_excluded_is_left_out_and_counted(
    farkeep: Farkeep, source: Path, options: list[str], left_out: set[str]
) -> None:
    document = farkeep.backup(source, *options).json()
    assert files(farkeep, source) == EVERYTHING - left_out
    assert bool(document["excluded"]) is bool(left_out)


def test_patterns_may_come_from_a_file_and_name_absolute_paths(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    (tmp_path / "patterns").write_text(f"# what is not wanted\n\n*.o\n!/sub/keep.o\n{source}/cache\n")
    farkeep.backup(source, "--exclude-from", tmp_path / "patterns")
    assert files(farkeep, source) == EVERYTHING - {"drop.o", "cache/data"}
    result = farkeep.backup(source, "--exclude-from", tmp_path / "none", check=False)
    assert (result.exit_code, result.json()["error"]["subject"]) == (1, str(tmp_path / "none"))


def test_marked_caches_are_left_out(farkeep: Farkeep, source: Path) -> None:
    (source / "cache/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    farkeep.backup(source, "--exclude-caches")
    assert files(farkeep, source) == EVERYTHING - {"cache/data"} | {"cache/CACHEDIR.TAG"}
    farkeep.backup(source)
    assert "cache/data" in files(farkeep, source)


def test_relative_paths_join_the_working_folder_and_nested_ones_merge(farkeep: Farkeep, source: Path) -> None:
    document = farkeep.run("backup", "sub", ".", "sub/deep", "--name", "n", cwd=source).json()
    assert document["files"] == len(EVERYTHING)
    assert files(farkeep, source) == EVERYTHING


def test_paths_may_come_from_a_list(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    data = b"\0".join(os.fsencode(source / name) for name in ("keep.txt", "sub"))
    (tmp_path / "list").write_bytes(data)
    farkeep.backup("--files-from0", tmp_path / "list", source / "big")
    assert files(farkeep, source) == {"keep.txt", "sub/keep.o", "sub/deep/file", "big"}
    farkeep.run("backup", "--files-from0", "-", stdin=data)
    assert files(farkeep, source) == {"keep.txt", "sub/keep.o", "sub/deep/file"}
    result = farkeep.run("backup", "--files-from0", "-", stdin=b"/no/such/one\0", check=False)
    assert (result.exit_code, result.json()["error"]["kind"]) == (1, "refused")


def test_a_very_long_list_is_recorded_by_the_folder_that_holds_it(farkeep: Farkeep, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    names = [folder / f"{'n' * 200}{number}" for number in range(400)]
    for name in names:
        name.touch()
    document = farkeep.run("backup", "--files-from0", "-", stdin=b"\0".join(map(os.fsencode, names))).json()
    assert document["files"] == 400
    assert document["name"].startswith("alpha_")
    assert farkeep.run("events").json()[-1]["summary"].startswith("done")


def test_a_source_that_holds_the_home_leaves_it_out_and_says_so(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    result = farkeep.backup(tmp_path, name="all")
    assert result.json()["skipped_home"] == [str(farkeep.home)]
    assert str(farkeep.home) in result.stderr
    paths = {row["path"] for row in farkeep.run("ls", "latest").json()}
    assert str(source / "big") in paths
    assert not any(path.startswith(f"{farkeep.home}/") for path in paths)


def test_unchanged_files_are_read_again_when_asked_for(farkeep: Farkeep, source: Path) -> None:
    for path in source.rglob("*"):
        os.utime(path, (10**9, 10**9))
    farkeep.backup(source, name="n")
    everything = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    assert farkeep.backup(source, "--rehash", name="n").json()["bytes_read"] == everything
    assert farkeep.backup(source, "--recheck", "1/1", name="n").json()["bytes_read"] == everything


def command(farkeep: Farkeep, text: str, *options: str, check: bool = True) -> Any:
    words = ("backup", "--stdin-from-command", text, "--stdin-name", "dumps/db.sql", "--name", "dumps", *options)
    return farkeep.run(*words, check=check)


def test_the_output_of_a_command_is_a_file(farkeep: Farkeep) -> None:
    document = command(farkeep, "seq 1 300000 | cat").json()
    expected = b"".join(b"%d\n" % number for number in range(1, 300_001))
    assert (document["files"], document["bytes_seen"], document["bytes_read"]) == (1, len(expected), len(expected))
    assert farkeep.run("cat", "dumps@latest:/dumps/db.sql", is_json=False).stdout == expected
    (row,) = (row for row in farkeep.run("ls", "dumps@latest").json() if row["type"] == "file")
    assert (row["path"], row["size"]) == ("/dumps/db.sql", len(expected))
    assert command(farkeep, "seq 1 300000").json()["bytes_new"] == 0


@pytest.mark.parametrize("text", ["true", "printf x", "head -c 131072 /dev/zero", "head -c 131073 /dev/zero"])
def test_short_output_is_a_file_too(farkeep: Farkeep, text: str) -> None:
    size = command(farkeep, text).json()["bytes_seen"]
    assert len(farkeep.run("cat", "dumps@latest:/dumps/db.sql", is_json=False).stdout) == size
    farkeep.verify("--read-data")


def test_a_command_that_fails_records_nothing(farkeep: Farkeep) -> None:
    result = command(farkeep, "echo half; echo 'why \x1b[1m' >&2; exit 9", check=False)
    error = result.json()["error"]
    assert (result.exit_code, error["kind"]) == (1, "refused")
    assert "exit status 9" in error["message"]
    assert "why" in error["message"]
    assert "\x1b" not in result.stderr
    assert farkeep.snapshots().json() == []
    assert command(farkeep, "echo whole").exit_code == 0
    farkeep.verify("--read-data")


@pytest.mark.parametrize("words", [
    ("--stdin-from-command", "true"), ("--stdin-name", "x"),
    ("--stdin-from-command", "true", "--stdin-name", "x", "/tmp"),
    ("--stdin-from-command", "true", "--stdin-name", "/"), ("--stdin-from-command", "true", "--stdin-name", "../x"),
    ("--stdin-from-command", "true", "--stdin-name", "x", "--dry-run"), ("/tmp", "--exclude-larger-than", "much"),
    ("/tmp", "--recheck", "often"), ("/tmp", "--tag", ""), ("/tmp", "--name", "a b"), ("/tmp", "--name", "latest"),
])  # fmt: skip
def test_senseless_options_are_usage_errors(farkeep: Farkeep, words: tuple[str, ...]) -> None:
    result = farkeep.run("backup", *words, check=False)
    assert (result.exit_code, result.json()["error"]["kind"]) == (2, "usage")
    assert farkeep.snapshots().json() == []


def test_an_empty_pattern_is_refused(farkeep: Farkeep, source: Path) -> None:
    assert farkeep.backup(source, "--exclude", "", check=False).exit_code == 1


def test_a_dry_run_changes_nothing(farkeep: Farkeep, source: Path) -> None:
    facts = farkeep.run("events").stdout
    document = farkeep.backup(source, "--dry-run", "--exclude", "*.o").json()
    assert (document["files"], document["files_to_read"], document["excluded"]) == (4, 4, 2)
    assert farkeep.run("events").stdout == facts
    assert list((farkeep.home / "packs").iterdir()) == []


def test_the_parent_is_the_newest_of_the_same_name(farkeep: Farkeep, source: Path) -> None:
    first = farkeep.backup(source, name="one").json()["counts"]
    other = farkeep.backup(source, name="two").json()["counts"]
    again = farkeep.backup(source, name="one").json()["counts"]
    assert first["new"] == other["new"] > 0
    assert again["new"] == 0
    assert again["unchanged"] >= len(EVERYTHING)


def test_jsonl_of_a_single_document_is_one_line(farkeep: Farkeep, source: Path) -> None:
    result = farkeep.run("backup", source, "--jsonl", is_json=False)
    assert set(json.loads(result.stdout)) >= {"snapshot", "name"}
