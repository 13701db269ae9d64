"""The estimate of a first backup's size."""

import os
from pathlib import Path

from siteagent.cli.scan import Scan, count_bytes


def build(folder: Path) -> bytes:
    (folder / "sub").mkdir()
    (folder / "sub/file").write_bytes(b"x" * 100)
    (folder / "odd\udcff").write_bytes(b"x" * 10)
    (folder / "link").symlink_to("sub")
    os.mkfifo(folder / "fifo")
    return os.fsencode(folder)


def test_sizes_of_files_add_up_and_links_are_not_followed(tmp_path: Path) -> None:
    top = build(tmp_path)
    assert count_bytes([top]) == 110
    assert count_bytes([top + b"/sub", top + b"/odd\xff", top + b"/none"]) == 110


def test_the_count_runs_beside_and_is_known_at_its_end(tmp_path: Path) -> None:
    scan = Scan((build(tmp_path),))
    scan._process.wait(60)
    assert scan.total_bytes() == 110
    assert scan.total_bytes() == 110
    scan.close()


def test_a_source_without_a_byte_may_be_asked_for_again(tmp_path: Path) -> None:
    scan = Scan((os.fsencode(tmp_path),))
    scan._process.wait(60)
    assert [scan.total_bytes(), scan.total_bytes()] == [0, 0]
    scan.close()


def test_a_count_that_is_not_needed_any_more_ends(tmp_path: Path) -> None:
    scan = Scan((b"/",))
    assert scan.total_bytes() == 0
    scan.close()
    assert scan._process.returncode is not None
