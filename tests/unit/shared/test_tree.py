"""Keys of catalogs: order as raw components, and back again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.tree import child_folder, components_of, escaped, folder_key, key_of, path_of, unescaped

COMPONENT = st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from([b"\0", b"\1", b"\1\1", b"\0\1", b"\1\2"]))
PATH = st.lists(COMPONENT, max_size=5)


@given(COMPONENT)
def test_a_component_comes_back_and_holds_no_zero(component: bytes) -> None:
    assert unescaped(escaped(component)) == component
    assert b"\0" not in escaped(component)


@given(PATH, PATH)
def test_folder_keys_sort_like_lists_of_components(one: list[bytes], other: list[bytes]) -> None:
    assert (folder_key(one) < folder_key(other)) == (one < other)


@given(PATH, COMPONENT, PATH, COMPONENT)
def test_entry_keys_sort_by_folder_then_name(one: list[bytes], name: bytes, other: list[bytes], more: bytes) -> None:
    keys = key_of(folder_key(one), name), key_of(folder_key(other), more)
    assert (keys[0] < keys[1]) == ((one, name) < (other, more))


@given(PATH)
def test_components_come_back(path: list[bytes]) -> None:
    assert components_of(folder_key(path)) == path


@given(PATH, COMPONENT)
def test_the_key_of_a_subfolder_grows_by_its_name(path: list[bytes], name: bytes) -> None:
    assert child_folder(folder_key(path), name) == folder_key([*path, name])
    assert child_folder(folder_key(path), b"") == folder_key(path)


def test_golden_keys() -> None:
    assert folder_key([b"usr", b"a\0b\1"]) == b"usr\0a\1\1b\1\2"
    assert key_of(b"usr", b"x\0") == b"usr\0\0x\1\1"
    assert key_of(b"", b"") == b"\0\0"


def test_paths() -> None:
    assert path_of(b"", b"") == b"/"
    assert path_of(b"", b"a") == b"/a"
    assert path_of(folder_key([b"usr", b"a\0b"]), b"c") == b"/usr/a\0b/c"
    assert path_of(folder_key([b"usr", b"share"]), b"") == b"/usr/share"
