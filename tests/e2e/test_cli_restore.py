"""What lands where, what is left alone, what leaves the snapshot as an archive."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.support.farkeep import Farkeep
from tests.support.inside import quick_driver
from tests.support.permissions import bound_by_permissions
from tests.support.walker import compare, describe


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name in ("one.txt", "two.bin", "sub/three.txt", "sub/deep/four.bin"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    os.utime(folder, ns=(0, 1_500_000_000_123_456_789))
    return folder


@pytest.fixture
def farkeep(tmp_path: Path, source: Path) -> Farkeep:
    made = quick_driver(tmp_path / "home")
    made.init()
    made.backup(source, name="docs")
    return made


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


EVERYTHING = {"one.txt", "two.bin", "sub/three.txt", "sub/deep/four.bin"}


def test_the_contents_of_a_folder_land_in_the_target(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    farkeep.restore(f"latest:{source}", tmp_path / "out")
    assert compare(describe(source), describe(tmp_path / "out")) == []


def test_a_file_lands_under_its_name(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    farkeep.restore(f"latest:{source}/sub/three.txt", tmp_path / "out")
    assert below(tmp_path / "out") == {"three.txt"}


def test_a_whole_snapshot_keeps_its_absolute_paths(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    farkeep.restore("docs@latest", tmp_path / "out")
    inside = tmp_path / "out" / str(source).lstrip("/")
    assert compare(describe(source), describe(inside)) == []


def test_several_paths_land_side_by_side(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    specs = (f"latest:{source}/one.txt", f"latest:{source}/sub")
    document = farkeep.run("restore", *specs, "--to", tmp_path / "out").json()
    assert below(tmp_path / "out") == {"one.txt", "three.txt", "deep/four.bin"}
    assert document["files"] == 3


@pytest.mark.parametrize(("options", "kept"), [
    (["--include", "*.txt"], {"one.txt", "sub/three.txt"}), (["--exclude", "*.txt"], {"two.bin", "sub/deep/four.bin"}),
    (["--include", "/sub", "--exclude", "deep"], {"sub/three.txt"}),
])  # fmt: skip
def test_a_part_is_chosen_by_patterns(
    farkeep: Farkeep, source: Path, tmp_path: Path, options: list[str], kept: set[str]
) -> None:
    farkeep.restore(f"latest:{source}", tmp_path / "out", *options)
    assert below(tmp_path / "out") == kept


def test_delete_leaves_alone_what_patterns_leave_alone(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    farkeep.restore(f"latest:{source}", out)
    for name in ("own.txt", "own.bin", "sub/own.txt", "sub/own.bin"):
        (out / name).write_bytes(b"of another")
    farkeep.restore(f"latest:{source}", out, "--delete", "--exclude", "*.txt")
    assert below(out) == EVERYTHING | {"own.txt", "sub/own.txt"}


def test_absolute_patterns_choose_from_a_whole_snapshot(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    farkeep.restore("latest", tmp_path / "out", "--include", f"{source}/sub")
    assert below(tmp_path / "out" / str(source).lstrip("/")) == {"sub/three.txt", "sub/deep/four.bin"}


def test_only_what_differs_is_touched(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    farkeep.restore(f"latest:{source}", tmp_path / "out")
    (tmp_path / "out/one.txt").write_bytes(b"changed!")
    untouched = (tmp_path / "out/two.bin").stat().st_ino
    document = farkeep.restore(f"latest:{source}", tmp_path / "out").json()
    assert (document["files"], document["unchanged"]) == (4, 3)
    assert (tmp_path / "out/one.txt").read_bytes() == b"one.txt"
    assert (tmp_path / "out/two.bin").stat().st_ino == untouched


def test_a_dry_run_says_what_would_be_done(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    document = farkeep.restore(f"latest:{source}", tmp_path / "out", "--dry-run").json()
    assert (document["files"], document["written"]) == (4, 4)
    assert not (tmp_path / "out").exists()


def test_delete_acts_in_marked_folders_and_asks_elsewhere(farkeep: Farkeep, source: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "precious").touch()
    result = farkeep.restore(f"latest:{source}", foreign, "--delete", check=False)
    error = result.json()["error"]
    assert (result.exit_code, error["kind"]) == (1, "refused")
    assert "1 entries" in error["message"]
    assert "--delete-unmarked" in error["next"]
    assert (foreign / "precious").exists()
    assert farkeep.restore(f"latest:{source}", foreign, "--delete", "--delete-unmarked").json()["deleted"] == 1
    (foreign / "later").touch()
    assert farkeep.restore(f"latest:{source}", foreign, "--delete").json()["deleted"] == 1
    assert below(foreign) == EVERYTHING


@pytest.mark.parametrize("options", [["--delete-unmarked"], ["--delete", "latest"]])
def test_senseless_options_are_usage_errors(farkeep: Farkeep, tmp_path: Path, options: list[str]) -> None:
    result = farkeep.restore("latest", tmp_path / "out", *options, check=False)
    assert (result.exit_code, result.json()["error"]["kind"]) == (2, "usage")
    assert not (tmp_path / "out").exists()


def test_a_missing_target_is_a_usage_error(farkeep: Farkeep) -> None:
    result = farkeep.run("restore", "latest", check=False)
    assert (result.exit_code, result.json()["error"]["kind"]) == (2, "usage")


@pytest.mark.needs_root
def test_what_cannot_be_applied_is_counted_and_strict_makes_it_a_failure(
    farkeep: Farkeep, source: Path, tmp_path: Path
) -> None:
    os.chown(source / "one.txt", 12345, 12345)
    farkeep.backup(source, name="docs")
    bound = bound_by_permissions(farkeep.home, tmp_path, "chown", "fowner")
    for options, code in (([], 0), (["--strict"], 3)):
        result = bound.restore(f"docs@latest:{source}", tmp_path / f"out{code}", *options, check=False)
        assert result.exit_code == code, result.report()
        assert result.json()["not_applied"] == 1
        assert "could not be applied" in result.stderr
        assert "owner" in result.stderr


def test_cat_and_dump_write_content_and_nothing_else(farkeep: Farkeep, source: Path) -> None:
    result = farkeep.run("cat", f"latest:{source}/one.txt", is_json=False)
    assert (result.stdout, result.stderr) == (b"one.txt", "")
    with tarfile.open(fileobj=io.BytesIO(farkeep.run("dump", f"latest:{source}", is_json=False).stdout)) as tar:
        assert {name.removeprefix("./") for name in tar.getnames()} - {"."} == EVERYTHING | {"sub", "sub/deep"}


def test_a_dump_of_a_whole_snapshot_unpacks_like_a_restore(farkeep: Farkeep, source: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(farkeep.run("dump", "latest", is_json=False).stdout)) as tar:
        assert f"{source}/one.txt"[1:] in tar.getnames()
        assert not any(name.startswith("/") for name in tar.getnames())


def test_failures_of_cat_and_dump_are_a_document_when_nothing_was_written(farkeep: Farkeep, source: Path) -> None:
    for command in ("cat", "dump"):
        result = farkeep.run(command, f"latest:{source}/none", check=False)
        assert (result.exit_code, result.json()["error"]["kind"]) == (1, "refused")
    result = farkeep.run("cat", "latest", check=False)
    assert (result.exit_code, result.json()["error"]["kind"]) == (2, "usage")
