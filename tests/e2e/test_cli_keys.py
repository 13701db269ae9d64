"""Homes, keys and passphrases from the command line."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.farkeep import Farkeep
from tests.support.inside import quick_driver


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    (tmp_path / "passphrase").write_text("open sesame\n")
    return tmp_path / "passphrase"


def with_file(farkeep: Farkeep, source: Path) -> Farkeep:
    source.mkdir(exist_ok=True)
    (source / "file").write_bytes(b"content")
    farkeep.backup(source, name="docs")
    return farkeep


def test_init_writes_shares_privately_and_says_what_to_do_with_them(tmp_path: Path) -> None:
    farkeep = quick_driver(tmp_path / "home")
    result = farkeep.init("--recovery-out", tmp_path / "out", "--shares", "3/5")
    names = [f"share-{number}.txt" for number in range(1, 6)]
    assert sorted(os.listdir(tmp_path / "out")) == ["organisation.json", *names]
    assert result.json()["shares"] == [str(tmp_path / "out" / name) for name in names]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o600}
    assert "print" in result.stderr
    assert "3 of 5" in result.stderr
    assert (tmp_path / "home.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("options", "code"), [
    (["--recovery-out", "OUT", "--no-recovery"], 2), (["--shares", "2/3", "--no-recovery"], 2),
    (["--recovery-out", "OUT", "--shares", "3/2"], 2), (["--recovery-out", "OUT", "--shares", "1/3"], 1),
    (["--recovery-out", "home/out"], 1), (["--organisation", "none.json"], 1), (["--no-recovery", "--site", ""], 2),
    (["--no-recovery", "--key-file", "home/key"], 1), (["--no-recovery", "--passphrase-file", "none"], 1),
    (["--recovery-out", "taken"], 1),
])  # fmt: skip
def test_a_refused_init_leaves_nothing_behind(tmp_path: Path, options: list[str], code: int) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/share-1.txt").write_text("precious")
    farkeep = quick_driver(tmp_path / "home")
    result = farkeep.run("init", "--site", "x", *options, check=False, cwd=tmp_path)
    assert result.exit_code == code, result.report()
    assert result.json()["error"]["next"]
    assert os.listdir(tmp_path) == ["taken"]
    assert (tmp_path / "taken/share-1.txt").read_text() == "precious"


def test_a_named_key_file_is_remembered(tmp_path: Path) -> None:
    farkeep = quick_driver(tmp_path / "home")
    (tmp_path / "keys").mkdir()
    farkeep.run("init", "--site", "x", "--no-recovery", "--key-file", "keys/site.key", cwd=tmp_path)
    assert os.listdir(tmp_path / "keys") == ["site.key"]
    assert not (tmp_path / "home.key").exists()
    assert farkeep.snapshots().json() == []
    assert farkeep.run("key", "show").json()["key_file"] == str(tmp_path / "keys/site.key")
    moved = tmp_path / "moved"
    (tmp_path / "keys/site.key").rename(moved)
    assert farkeep.snapshots(check=False).exit_code == 1
    assert farkeep.run("snapshots", env={"FARKEEP_KEY_FILE": str(moved)}).json() == []
    assert farkeep.snapshots("--key-file", str(moved)).json() == []


def test_a_passphrase_comes_from_each_of_its_sources(tmp_path: Path, passphrase: Path) -> None:
    farkeep = quick_driver(tmp_path / "home")
    assert farkeep.init("--passphrase-file", passphrase).json()["is_protected"] is True
    result = farkeep.snapshots(check=False)
    error = result.json()["error"]
    assert (result.exit_code, error["kind"]) == (1, "refused")
    assert "passphrase" in error["message"]
    assert "FARKEEP_PASSPHRASE_FILE" in error["next"]
    assert farkeep.run("snapshots", "--passphrase-file", passphrase).json() == []
    assert farkeep.run("snapshots", env={"FARKEEP_PASSPHRASE_FILE": str(passphrase)}).json() == []
    (tmp_path / "credentials").mkdir()
    shutil.copy(passphrase, tmp_path / "credentials/farkeep")
    assert farkeep.run("snapshots", env={"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}).json() == []
    (tmp_path / "wrong").write_text("guess\n")
    result = farkeep.run("snapshots", "--passphrase-file", tmp_path / "wrong", check=False,
                         env={"FARKEEP_PASSPHRASE_FILE": str(passphrase)})
    assert (result.exit_code, "does not open" in result.stderr) == (1, True)


def test_a_passphrase_is_set_and_removed(tmp_path: Path, passphrase: Path) -> None:
    farkeep = quick_driver(tmp_path / "home")
    farkeep.init()
    document = farkeep.run("key", "passphrase", "--new-passphrase-file", passphrase).json()
    assert document == {"key_file": str(tmp_path / "home.key"), "is_protected": True}
    assert farkeep.snapshots(check=False).exit_code == 1
    farkeep.run("key", "passphrase", "--remove", "--passphrase-file", passphrase)
    assert farkeep.snapshots().json() == []
    assert farkeep.run("key", "passphrase", check=False).exit_code == 2


def test_a_lost_key_is_made_again_from_shares(tmp_path: Path) -> None:
    farkeep = quick_driver(tmp_path / "home")
    farkeep.init("--recovery-out", tmp_path / "out")
    with_file(farkeep, tmp_path / "source")
    (tmp_path / "home.key").unlink()
    share = [word for number in (1, 3) for word in ("--recovery-share", tmp_path / f"out/share-{number}.txt")]
    assert farkeep.run("key", "restore", *share[:2], check=False).exit_code == 1
    assert not (tmp_path / "home.key").exists()
    document = farkeep.run("key", "restore", *share).json()
    assert (document["key_file"], document["is_protected"]) == (str(tmp_path / "home.key"), False)
    assert farkeep.run("cat", f"latest:{tmp_path}/source/file", is_json=False).stdout == b"content"
    result = farkeep.run("key", "restore", *share, check=False)
    assert (result.exit_code, result.json()["error"]["message"]) == (1, "there is a key file already")


def test_shares_may_follow_one_another(tmp_path: Path) -> None:
    """On the worst day nobody should have to guess how often to repeat an option."""
    farkeep = quick_driver(tmp_path / "home")
    farkeep.init("--recovery-out", tmp_path / "out")
    (tmp_path / "home.key").unlink()
    farkeep.run("key", "restore", "--recovery-share", tmp_path / "out/share-1.txt", tmp_path / "out/share-3.txt")
    assert farkeep.run("snapshots").json() == []
    result = farkeep.run("key", "split", "--recovery-share", tmp_path / "out/share-1.txt", tmp_path / "out/share-2.txt",
                         "--recovery-out", tmp_path / "anew")  # fmt: skip
    assert result.exit_code == 0
    assert (tmp_path / "anew/share-1.txt").exists()


def test_a_restored_key_may_lie_elsewhere_and_have_a_passphrase(tmp_path: Path, passphrase: Path) -> None:
    farkeep = quick_driver(tmp_path / "home")
    farkeep.init("--recovery-out", tmp_path / "out")
    (tmp_path / "home.key").unlink()
    share = [word for number in (1, 2) for word in ("--recovery-share", tmp_path / f"out/share-{number}.txt")]
    farkeep.run("key", "restore", *share, "--key-file", tmp_path / "new", "--passphrase-file", passphrase)
    assert farkeep.run("snapshots", "--passphrase-file", passphrase).json() == []
    assert farkeep.run("key", "show", "--passphrase-file", passphrase).json()["key_file"] == str(tmp_path / "new")


def test_shares_are_split_anew(tmp_path: Path) -> None:
    farkeep = quick_driver(tmp_path / "home")
    farkeep.init("--recovery-out", tmp_path / "out")
    share = [word for number in (1, 2) for word in ("--recovery-share", tmp_path / f"out/share-{number}.txt")]
    result = farkeep.run("key", "split", *share, "--recovery-out", tmp_path / "new", "--shares", "3/4")
    assert len(result.json()["shares"]) == 4
    assert "stay valid" in result.stderr
    result = farkeep.run("key", "split", *share, "--recovery-out", tmp_path / "new", check=False)
    assert (result.exit_code, "recovery files already" in result.stderr) == (1, True)
    result = farkeep.run("key", "split", "--recovery-share", tmp_path / "home/format", "--recovery-out",
                         tmp_path / "other", check=False)  # fmt: skip
    assert result.exit_code in (1, 4)
    assert result.json()["error"]["subject"] == str(tmp_path / "home/format")


def test_keys_rotate_and_everything_stays_readable(tmp_path: Path) -> None:
    farkeep = quick_driver(tmp_path / "home")
    farkeep.init()
    with_file(farkeep, tmp_path / "source")
    assert farkeep.run("key", "rotate").json() == {"key_epoch": 2}
    assert farkeep.run("key", "rotate", "--new-secret").json() == {"key_epoch": 3}
    farkeep.backup(tmp_path / "source", "--rehash", name="docs")
    assert [epoch["number"] for epoch in farkeep.run("key", "show").json()["key_epochs"]] == [1, 2, 3]
    farkeep.verify("--read-data")
    first, second = (row["snapshot"] for row in farkeep.snapshots().json())
    for snapshot in (first, second):
        content = farkeep.run("cat", f"{snapshot}:{tmp_path}/source/file", is_json=False).stdout
        assert content == b"content"


def test_a_second_site_joins_the_organisation(tmp_path: Path) -> None:
    first, second = quick_driver(tmp_path / "first"), quick_driver(tmp_path / "second")
    told = first.init("--recovery-out", tmp_path / "out", "--organisation-name", "The Firm").json()["organisation"]
    joined = second.init("--organisation", tmp_path / "out/organisation.json", site="beta").json()["organisation"]
    assert joined == told
    assert told["name"] == "The Firm"
    (tmp_path / "second.key").unlink()
    share = [word for number in (2, 3) for word in ("--recovery-share", tmp_path / f"out/share-{number}.txt")]
    second.run("key", "restore", *share)
    assert second.run("key", "show").json()["organisation"]["fingerprint"] == told["fingerprint"]
