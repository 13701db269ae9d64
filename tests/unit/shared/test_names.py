"""Names people give and names people see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UsageError
from shared.names import check_name, default_name, is_name, shown


@pytest.mark.parametrize("name", ["g", "docs", "A.b_c-9", "x" * 64, "latest2", "deadbeefg", ".", "-x"])
def test_a_name_is_taken(name: str) -> None:
    assert check_name(name) == name
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "latest", "deadbeef", "ABCDEF", "0", "x" * 65, "a b", "a/b", "a@b", "é", "a\n"])
def test_a_name_that_means_something_else_or_nothing_is_refused(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(UsageError, match="cannot be a name") as caught:
        check_name(name)
    assert caught.value.next_step


def test_a_default_name_is_the_site_and_the_paths() -> None:
    assert default_name("london", [b"/srv/data"]) == "london_srv-data"
    assert default_name("london", [b"/"]) == "london_root"
    assert default_name("my site", [b"/a", b"/b c"]) == "my-site_a_b-c"


def test_long_default_names_stay_apart() -> None:
    one, other = (default_name("s", [b"/" + b"x" * 100 + tail]) for tail in (b"1", b"2"))
    assert len(one) == 64
    assert one != other


def test_a_default_name_of_hex_digits_only_is_no_id() -> None:
    assert is_name(default_name("abc", []))


@given(st.text(max_size=20), st.lists(st.binary(max_size=90), max_size=4))
def test_every_default_name_is_a_name(site: str, paths: list[bytes]) -> None:
    assert is_name(default_name(site, paths))


@pytest.mark.parametrize(("name", "text"), [
    (b"plain", "plain"), (b"a\x1b[31mred", "a\\x1b[31mred"), (b"\xff", "\\xff"),
    (b"a\nb\r\t\x7f", "a\\x0ab\\x0d\\x09\\x7f"),
    ("\u202egnp.exe", "\\u202egnp.exe"), ("\u2066x\u200b", "\\u2066x\\u200b"), ("\x9b31m", "\\x9b31m"),
    ("käse", "käse"),
    ("\ud800", "\\ud800"),
])  # fmt: skip
def test_what_could_speak_to_a_terminal_is_spelled_out(name: str | bytes, text: str) -> None:
    assert shown(name) == text


@given(st.binary(max_size=60))
def test_nothing_that_steers_a_terminal_is_left(name: bytes) -> None:
    text = shown(name)
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text)
    text.encode("utf-8")
