"""Where home and key are: option > variable > farkeep.toml."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from shared.errors import RefusedError, UsageError
from siteagent.cli.settings import encode_file, find_settings, passphrase, read_file


def options(**given: Any) -> Namespace:
    return Namespace(**{"home": None, "key_file": None, "passphrase_file": None, "wait": None, **given})


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
