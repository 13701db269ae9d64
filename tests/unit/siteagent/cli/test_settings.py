"""Where home and key are: option > variable > farkeep.toml."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from shared.errors import RefusedError, UsageError
from siteagent.cli.settings import DiskPriority, encode_file, find_settings, passphrase, read_file


def options(**given: Any) -> Namespace:
    names = ("home", "key_file", "passphrase_file", "wait", "threads", "nice", "ionice")
    return Namespace(**{**dict.fromkeys(names), **given})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_a_home_must_be_named() -> None:
    with pytest.raises(UsageError, match="no home") as caught:
        find_settings(options(), {})
    assert "FARKEEP_HOME" in caught.value.next_step


def test_the_option_wins_over_the_variable_and_the_variable_over_the_file(home: Path) -> None:
    (home / "farkeep.toml").write_bytes(encode_file({"key_file": "/file", "passphrase_file": "/pfile"}))
    variables = {"FARKEEP_HOME": str(home), "FARKEEP_KEY_FILE": "/variable", "FARKEEP_PASSPHRASE_FILE": "/pvariable"}
    found = find_settings(options(key_file="/option", passphrase_file="/poption"), variables)
    assert (found.home, found.key_file, found.passphrase_file) == (str(home), "/option", "/poption")
    found = find_settings(options(), variables)
    assert (found.key_file, found.passphrase_file) == ("/variable", "/pvariable")
    found = find_settings(options(home=str(home)), {})
    assert (found.key_file, found.passphrase_file) == ("/file", "/pfile")
    assert find_settings(options(home="/elsewhere"), variables).home == "/elsewhere"


def test_paths_become_absolute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    (home / "farkeep.toml").write_text('key_file = "../kept"\n')
    found = find_settings(options(home="home/", passphrase_file="p"), {})
    assert found.home == str(home)
    assert found.key_file == str(home.parent / "kept")
    assert found.passphrase_file == str(home.parent / "p")


def test_a_credential_handed_in_by_the_service_manager_is_the_last_resort(tmp_path: Path) -> None:
    variables = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_settings(options(home="/h"), variables).passphrase_file == ""
    (tmp_path / "farkeep").write_text("secret\n")
    found = find_settings(options(home="/h"), variables)
    assert passphrase(found) == b"secret"
    other = find_settings(options(home="/h"), {**variables, "FARKEEP_PASSPHRASE_FILE": "/p"})
    assert other.passphrase_file == "/p"


@pytest.mark.parametrize("content", [b"key_file = 7\n", b"kye_file = 'x'\n", b"= broken", b"\xff\xfe"])
def test_a_file_that_does_not_read_is_refused(home: Path, content: bytes) -> None:
    (home / "farkeep.toml").write_bytes(content)
    with pytest.raises(RefusedError, match="settings do not read") as caught:
        find_settings(options(home=str(home)), {})
    assert caught.value.subject == str(home / "farkeep.toml")
    assert "key_file" in caught.value.next_step


@pytest.mark.parametrize("path", ["/plain", '/with "quotes" and \\ back', "/käse", "/tab less"])
def test_what_is_remembered_is_read_back(home: Path, path: str) -> None:
    (home / "farkeep.toml").write_bytes(encode_file({"key_file": path}))
    assert read_file(str(home / "farkeep.toml")) == {"key_file": path}


@pytest.mark.parametrize("path", ["/a\nb", "/\udcff", "/\x1b"])
def test_a_path_that_is_no_text_cannot_be_remembered(path: str) -> None:
    with pytest.raises(RefusedError, match="cannot be remembered"):
        encode_file({"key_file": path})


def test_a_passphrase_file_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be read"):
        passphrase(find_settings(options(home="/h", passphrase_file=str(tmp_path / "none")), {}))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(RefusedError, match="1 to"):
        passphrase(find_settings(options(home="/h", passphrase_file=str(tmp_path / "empty")), {}))


@pytest.mark.parametrize("wait", [-1.0, float("inf"), float("nan")])
def test_a_senseless_wait_is_refused(wait: float) -> None:
    with pytest.raises(UsageError, match="no time to wait"):
        find_settings(options(home="/h", wait=wait), {})


def test_the_time_to_recall_is_kept_as_it_is_written(home: Path) -> None:
    assert find_settings(options(home=str(home)), {}).sweep_after == ""
    (home / "farkeep.toml").write_bytes(encode_file({"sweep_after": "30d"}))
    assert find_settings(options(home=str(home)), {}).sweep_after == "30d"


@pytest.mark.parametrize(("name", "field", "expected"), [
    ("threads", "threads", [3, 2, 1]), ("nice", "nice", [3, 2, 1]),
    ("ionice", "disk_priority", [DiskPriority(True), DiskPriority(False, 7), DiskPriority(False, 4)]),
])  # fmt: skip
def test_workers_and_priorities_are_options_variables_or_settings(
    home: Path, name: str, field: str, expected: list[object]
) -> None:
    texts = ["idle", "best-effort:7", "best-effort"] if name == "ionice" else ["3", "2", "1"]
    stored = f'"{texts[2]}"' if name == "ionice" else texts[2]
    (home / "farkeep.toml").write_text(f"{name} = {stored}\n")
    variables = {"FARKEEP_HOME": str(home), f"FARKEEP_{name.upper()}": texts[1]}
    assert getattr(find_settings(options(**{name: texts[0]}), variables), field) == expected[0]
    assert getattr(find_settings(options(), variables), field) == expected[1]
    assert getattr(find_settings(options(home=str(home)), {}), field) == expected[2]
    (home / "farkeep.toml").write_bytes(encode_file({name: texts[2]}))
    assert getattr(find_settings(options(home=str(home)), {}), field) == expected[2]


def test_without_a_word_nothing_changes() -> None:
    found = find_settings(options(home="/h"), {})
    assert (found.threads, found.nice, found.disk_priority) == (0, None, None)
    assert find_settings(options(home="/h", nice="0", ionice="best-effort:0"), {}).nice == 0


@pytest.mark.parametrize(("name", "text"), [
    ("threads", "0"), ("threads", "-1"), ("threads", "257"), ("threads", "x"), ("nice", "20"), ("nice", "-21"),
    ("nice", "1.5"), ("nice", "٣"), ("ionice", "realtime"), ("ionice", "best-effort:8"), ("ionice", "idle:1"),
    ("ionice", "best-effort:"),
])  # fmt: skip
def test_senseless_workers_and_priorities_are_refused(name: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_settings(options(home="/h", **{name: text}), {})
    assert caught.value.subject == text


def test_a_number_in_the_file_is_one_only_where_a_number_belongs(home: Path) -> None:
    for content in ("ionice = 3\n", "nice = true\n", "nice = 1.5\n"):
        (home / "farkeep.toml").write_text(content)
        with pytest.raises(RefusedError, match="settings do not read"):
            find_settings(options(home=str(home)), {})
