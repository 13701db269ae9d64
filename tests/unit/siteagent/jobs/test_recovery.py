"""Where recovery files may go, and how they get there."""

from pathlib import Path

import pytest

from shared.errors import ExhaustedError, RefusedError
from shared.organisation import decode_organisation
from shared.shares import combine
from siteagent.home import World
from siteagent.jobs.recovery import ShareCount, new_organisation, require_free_folder, write_recovery
from tests.support.command_line import local_world


def test_the_files_are_private_and_complete(tmp_path: Path) -> None:
    world, folder = local_world(), tmp_path / "a/b"
    organisation, texts = new_organisation("The Firm", ShareCount(2, 4), world)
    paths = write_recovery(str(folder), texts, organisation, world)
    assert [Path(path).name for path in paths] == [f"share-{number}.txt" for number in range(1, 5)]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert decode_organisation((folder / "organisation.json").read_bytes()) == organisation
    assert combine([Path(path).read_text() for path in paths[1:3]]) == combine(texts[:2])


@pytest.mark.parametrize("name", ["share-1.txt", "share-9.txt", "organisation.json"])
def test_earlier_recovery_files_are_never_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(RefusedError, match=name):
        require_free_folder(str(tmp_path), "/home")


def test_other_files_and_missing_folders_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    require_free_folder(str(tmp_path), "/home")
    require_free_folder(str(tmp_path / "none"), "/home")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RefusedError, match="folder"):
        require_free_folder(str(tmp_path / "file"), "/home")


@pytest.mark.parametrize("inside", ["home", "home/recovery", "link/recovery"])
def test_shares_never_lie_in_the_home_they_recover(tmp_path: Path, inside: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    with pytest.raises(RefusedError, match="must not lie in the home"):
        require_free_folder(str(tmp_path / inside), str(tmp_path / "home"))


def test_a_disk_that_fills_up_leaves_no_share_behind(tmp_path: Path) -> None:
    world = local_world()

    class Full:
        def __init__(self, root: str) -> None:
            self._real = world.disk(root)
            self._made = 0

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def create(self, path: str) -> object:
            self._made += 1
            if self._made == 3:
                raise ExhaustedError("no space left")
            return self._real.create(path)

    full = World(world.clock, world.randomness, disk=Full)  # type: ignore[arg-type]
    organisation, texts = new_organisation("The Firm", ShareCount(), full)
    with pytest.raises(ExhaustedError):
        write_recovery(str(tmp_path / "out"), texts, organisation, full)
    assert list((tmp_path / "out").iterdir()) == []
