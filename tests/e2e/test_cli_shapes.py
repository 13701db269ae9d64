"""The JSON of every command: members, types, one document."""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.farkeep import Farkeep
from tests.support.inside import quick_driver
from tests.support.site import fill

HEX32 = re.compile(r"[0-9a-f]{32}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3}(\d{3})?)?)?Z")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes")


@pytest.fixture(scope="module")
def farkeep(place: Path) -> Farkeep:
    """A home with two snapshots of a small tree, used by all tests of this file, which only read."""
    made = Farkeep(place / "home")
    made.init("--recovery-out", place / "recovery")
    (place / "source").mkdir()
    fill(place / "source")
    made.backup(place / "source", "--tag", "one", "--tag", "two", name="docs")
    made.backup(place / "source", name="docs")
    return made


def test_init(farkeep: Farkeep, place: Path) -> None:
    organisation = farkeep.home.parent / "recovery/organisation.json"
    document = quick_driver(place / "other").init("--organisation", organisation, site="beta").json()
    assert set(document) == {"site", "name", "home", "key_file", "is_protected", "organisation", "shares", "next"}
    assert HEX32.fullmatch(document["site"])
    assert (document["name"], document["home"], document["key_file"]) == (
        "beta", str(place / "other"), str(place / "other.key"))  # fmt: skip
    assert (document["shares"], document["is_protected"]) == ([], False)
    assert set(document["organisation"]) == {"name", "id", "fingerprint"}
    assert all(isinstance(step, str) for step in document["next"])


def test_backup(farkeep: Farkeep, place: Path) -> None:
    document = farkeep.backup(place / "source", name="shape").json()
    assert set(document) == {
        "snapshot", "name", "time", "files", "folders", "bytes_seen", "bytes_read", "bytes_new", "bytes_stored",
        "seconds", "quality", "errors", "error_count", "counts", "excluded", "sockets_skipped", "skipped_home", "notes",
    }  # fmt: skip
    assert HEX32.fullmatch(document["snapshot"])
    assert TIME.fullmatch(document["time"])
    assert set(document["counts"]) == {"new", "changed", "removed", "renamed", "unchanged"}
    assert (document["name"], document["files"], document["quality"]) == ("shape", 6, "live")
    assert (document["errors"], document["skipped_home"], document["notes"]) == ([], [], [])


def test_backup_dry_run(farkeep: Farkeep, place: Path) -> None:
    document = farkeep.backup(place / "source", "--dry-run", name="docs").json()
    assert set(document) == {
        "is_dry_run", "name", "files", "folders", "bytes_seen", "files_to_read", "bytes_to_read", "seconds", "errors",
        "error_count", "counts", "excluded", "sockets_skipped", "skipped_home",
    }  # fmt: skip
    assert document["is_dry_run"] is True


def test_snapshots(farkeep: Farkeep) -> None:
    rows = farkeep.snapshots("--name", "docs").json()
    assert [set(row) for row in rows] == [
        {"snapshot", "name", "time", "files", "bytes_seen", "quality", "tags", "host", "note", "held", "forgotten",
         "sweep_after"}] * 2  # fmt: skip
    assert [(row["note"], row["held"], row["forgotten"], row["sweep_after"]) for row in rows] == [
        ("", None, None, None)] * 2  # fmt: skip
    assert rows[0]["tags"] == ["one", "two"]
    assert rows[0]["time"] < rows[1]["time"]
    lines = farkeep.run("snapshots", "--jsonl", "--name", "docs", is_json=False).stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_ls(farkeep: Farkeep, place: Path) -> None:
    rows = farkeep.run("ls", f"latest:{place}/source").json()
    assert all(set(row) >= {"path", "type", "size", "mode", "uid", "gid", "mtime", "target"} for row in rows)
    by_name: dict[str, Any] = {row["path"].rpartition("/")[2]: row for row in rows}
    odd = by_name.pop("odd\n\\xff\x1b[1m")
    assert set(odd) - set(by_name["large"]) == {"path_bytes"}
    assert by_name["link"]["target"] == "sub/small"
    assert (by_name["large"]["type"], by_name["large"]["size"], by_name["large"]["mode"]) == ("file", 768_000, 0o640)
    assert TIME.fullmatch(by_name["large"]["mtime"])
    assert by_name["sub"]["type"] == "folder"
    result = farkeep.run("ls", f"latest:{place}/source", "--limit", "2")
    assert result.json() == rows[:2]
    assert "first 2" in result.stderr


def test_ls_of_a_whole_snapshot_is_everything(farkeep: Farkeep, place: Path) -> None:
    everything = {row["path"] for row in farkeep.run("ls", "docs@latest").json()}
    below = {row["path"] for row in farkeep.run("ls", f"docs@latest:{place}/source", "--recursive").json()}
    assert below < everything
    assert str(place / "source/sub/small") in below


def test_stats(farkeep: Farkeep) -> None:
    assert set(farkeep.run("stats").json()) == {
        "site", "site_name", "snapshots", "forgotten", "names", "oldest", "newest", "bytes_seen", "packs",
        "segments", "damaged_segments", "bytes_stored", "bytes_data", "bytes_catalog", "bytes_manifests", "bytes_log",
        "bytes_index", "bytes_free",
    }  # fmt: skip


def test_restore(farkeep: Farkeep, place: Path) -> None:
    document = farkeep.restore(f"docs@latest:{place}/source", place / "restored").json()
    assert set(document) == {
        "files", "written", "unchanged", "deleted", "bytes_written", "not_applied", "errors", "seconds"}  # fmt: skip
    assert (document["files"], document["errors"]) == (6, [])


def test_verify(farkeep: Farkeep) -> None:
    for options in ((), ("--read-data",), ("--sample", "50")):
        document = farkeep.verify(*options).json()
        assert set(document) >= {"snapshots", "segments_checked", "bytes_read", "damaged", "not_proven"}
        assert document["damaged"] == []
        assert document["not_proven"]
        assert document["segments_checked"] > 0


def test_verify_of_damage(place: Path) -> None:
    (place / "random").mkdir()
    (place / "random/file\udcff").write_bytes(os.urandom(200_000))
    other = quick_driver(place / "damaged")
    other.init()
    other.backup(place / "random")
    data_pack = max((other.home / "packs").iterdir(), key=lambda pack: pack.stat().st_size)
    data = bytearray(data_pack.read_bytes())
    data[len(data) // 2] ^= 1
    data_pack.write_bytes(data)
    result = other.verify("--read-data", check=False)
    document = result.json()
    assert result.exit_code == 4
    assert all(set(row) >= {"segment", "paths", "snapshots"} for row in document["damaged"])
    assert any(HEX32.fullmatch(snapshot) for row in document["damaged"] for snapshot in row["snapshots"])
    (row,) = document["damaged"]
    assert row["paths"] == [f"{place}/random/file\\xff"]
    assert base64.b64decode(row["paths_bytes"][0]) == os.fsencode(place / "random/file\udcff")


def test_events(farkeep: Farkeep) -> None:
    rows = farkeep.run("events").json()
    assert all(set(row) == {"position", "sequence", "time", "kind", "summary", "job", "snapshot"} for row in rows)
    third = rows[2]
    assert farkeep.run("events", "--as-of", third["position"]).json() == rows[:3]
    assert farkeep.run("events", "--as-of", "2001-01-01").json() == []
    assert farkeep.run("events", "--as-of", "2999-01-01", "--limit", "1").json()[0]["sequence"] >= rows[-1]["sequence"]
    assert farkeep.run("events", "--limit", "2").json()[-1]["sequence"] >= rows[-1]["sequence"]


def test_audit_and_repair(farkeep: Farkeep) -> None:
    audit = farkeep.run("audit", "verify").json()
    assert audit["is_good"] is True
    assert audit["problems"] == []
    log = farkeep.run("repair", "log").json()
    assert set(log) == {"reason", "known_until", "rescued", "snapshots", "packs", "not_taken", "notes"}
    assert (log["reason"], log["known_until"]) == ("", None)
    assert set(farkeep.run("repair", "index").json()) == {
        "packs", "segments", "walked", "left_out", "notes", "seconds"}  # fmt: skip


def test_key_show(farkeep: Farkeep) -> None:
    document = farkeep.run("key", "show").json()
    assert set(document) == {
        "site", "site_name", "identity", "key_file", "is_protected", "organisation", "key_epochs",
        "domains"}  # fmt: skip
    assert [epoch["number"] for epoch in document["key_epochs"]] == [1]


def test_version() -> None:
    document = Farkeep(Path("/nowhere")).run("version").json()
    assert set(document) == {"version", "python"}


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    from shared.version import VERSION

    assert version("farkeep") == VERSION


def test_tables_for_people_go_to_standard_output_and_prose_to_standard_error(farkeep: Farkeep) -> None:
    result = farkeep.run("snapshots", is_json=False)
    assert result.stdout.decode().splitlines()[0].split() == [
        "snapshot", "time", "name", "files", "size", "quality", "host", "tags", "held",
        "note"]  # fmt: skip
    assert "snapshots" in result.stderr
    assert farkeep.run("snapshots", "-q", is_json=False).stderr == ""
