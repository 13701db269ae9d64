"""What the demonstration chooses: all that fits, else parts by their names, the same ones every time."""

from pathlib import Path

import pytest

from scripts.demo_copies import change, copy_some
from scripts.demo_selection import select

MEGABYTE = 1_000_000


@pytest.fixture
def roots(tmp_path: Path) -> list[str]:
    """Two roots, the second with a part that is larger than the others together."""
    sizes = {"one/a": 1, "one/b": 2, "two/huge": 50, "two/last": 1, "two/more": 1}
    for name, megabytes in sizes.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(b"x" * MEGABYTE * megabytes)
    return [str(tmp_path / "one"), str(tmp_path / "two")]


def test_all_is_taken_when_it_fits(roots: list[str]) -> None:
    selection = select(roots, 60 * MEGABYTE)
    assert selection.is_whole
    assert list(selection.paths) == roots
    assert (selection.files, selection.size_bytes) == (5, 55 * MEGABYTE)


def test_else_each_root_gets_its_part(roots: list[str]) -> None:
    selection = select(roots, 8 * MEGABYTE)
    assert not selection.is_whole
    assert list(selection.paths) == [f"{roots[0]}/a", f"{roots[0]}/b", f"{roots[1]}/last", f"{roots[1]}/more"]
    assert selection.size_bytes == 5 * MEGABYTE


def test_many_small_files_count_for_more_than_their_size(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(100):
        (tmp_path / "many" / str(number)).touch()
    assert select([str(tmp_path)], MEGABYTE).paths == ()


def test_a_root_that_is_missing_or_a_link_is_left_out(roots: list[str], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(roots[0])
    assert select([str(tmp_path / "link"), str(tmp_path / "none"), roots[0]], 60 * MEGABYTE).paths == (roots[0],)


def test_copies_stay_within_their_limit_and_change_in_every_way(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(100):
        (source / f"{number:03}").write_bytes(b"x" * 1000)
    copies = tmp_path / "copies"
    assert copy_some([str(source)], copies, limit_bytes=80_000) == 80
    counts = change(copies)
    assert all(counts.values())
    assert sum(path.stat().st_size == 1000 for path in source.iterdir()) == 100, "only copies are changed"
