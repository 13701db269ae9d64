"""The kernel's mount table: which mount holds a path, and whether it is a network file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from siteagent.disk.mounts import Mount, mount_of, network_kind, read_mounts

TABLE = rb"""22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 22 0:25 / /mnt/nfs\040share rw,relatime shared:9 master:2 - nfs4 server:/export rw,vers=4.2
31 30 0:26 / /mnt/nfs\040share/local rw - tmpfs tmpfs rw
32 22 0:27 / /data rw - ext4 /dev/vdb rw
33 32 0:28 / /data rw - cifs //server/data rw
a line that does not parse
34 22 0:29 / - x
"""


def test_lines_are_parsed_and_others_passed_over() -> None:
    mounts = read_mounts(TABLE)
    assert mounts[:3] == [
        Mount(b"/", "ext4"), Mount(b"/mnt/nfs share", "nfs4"), Mount(b"/mnt/nfs share/local", "tmpfs"),
    ]  # fmt: skip
    assert len(mounts) == 5
    assert read_mounts(b"") == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "ext4"), ("/home/x", "ext4"), ("/mnt/nfs share", "nfs4"), ("/mnt/nfs share/a/b", "nfs4"),
     ("/mnt/nfs share/local/a", "tmpfs"), ("/mnt/nfs share2", "ext4"), ("/data/x", "cifs"), ("/database", "ext4")],
)  # fmt: skip
def test_the_deepest_and_newest_mount_holds_a_path(path: str, kind: str) -> None:
    found = mount_of(path, read_mounts(TABLE))
    assert found is not None
    assert found.kind == kind


def test_a_network_file_system_is_named(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(TABLE)
    assert network_kind("/mnt/nfs share/a", str(table)) == "nfs4"
    assert network_kind("/data", str(table)) == "cifs"
    assert network_kind("/mnt/nfs share/local", str(table)) is None
    assert network_kind("/home", str(table)) is None


def test_a_link_is_followed_to_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    table = tmp_path / "mountinfo"
    table.write_bytes(f"40 22 0:30 / {tmp_path}/real rw - nfs4 server:/x rw\n".encode())
    assert network_kind(str(tmp_path / "link" / "new"), str(table)) == "nfs4"


def test_without_a_mount_table_nothing_is_claimed(tmp_path: Path) -> None:
    assert network_kind("/data", str(tmp_path / "missing")) is None
