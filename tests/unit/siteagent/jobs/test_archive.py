"""A snapshot as a tar archive, read by the standard library and by tar itself."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from shared.errors import RefusedError
from siteagent.home import Home
from siteagent.jobs.archive import write_archive
from tests.support.site import WHO, Site, newest
from tests.support.walker import Ignore, compare, describe


def archive(home: Home, path: bytes | None) -> bytes:
    parts: list[bytes] = []
    result = write_archive(home, newest(home), path, WHO, lambda data: parts.append(bytes(data)))
    data = b"".join(parts)
    assert result.bytes_written == len(data)
    assert len(data) % 512 == 0
    return data


def members(data: bytes) -> dict[bytes, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {os.fsencode(member.name): member for member in tar}


def test_a_folder_stands_below_a_dot_with_its_own_metadata_first(site: Site, home: Home) -> None:
    found = members(archive(home, site.path()))
    assert next(iter(found)) in (b".", b"./")
    names = {name.removeprefix(b"./").rstrip(b"/") for name in found} - {b"."}
    assert names == {path.removeprefix(site.path() + b"/") for path in _walk(site.path())}


def test_a_file_stands_under_its_name(site: Site, home: Home) -> None:
    assert list(members(archive(home, site.path("sub/small")))) == [b"small"]


@pytest.mark.parametrize("path", [None, b"/"])
def test_a_snapshot_keeps_its_absolute_paths(site: Site, home: Home, path: bytes | None) -> None:
    assert site.path("sub/small")[1:] in members(archive(home, path))


def test_members_say_what_stat_says(site: Site, home: Home) -> None:
    found = members(archive(home, site.path()))
    large, link, fifo, small = (found[b"./" + name] for name in (b"large", b"link", b"fifo", b"sub/small"))
    assert (large.isfile(), large.size, large.mode) == (True, 768_000, 0o640)
    assert (link.issym(), link.linkname) == (True, "sub/small")
    assert fifo.isfifo()
    hard = found[b"./sub/hard"]
    # The first name in the archive carries the content, the other one leads to it.
    assert (hard.isfile(), small.islnk(), small.linkname) == (True, True, "./sub/hard")
    assert hard.pax_headers["mtime"] == "-1.500000001"


def test_unpacking_gives_back_the_source(site: Site, home: Home, tmp_path: Path) -> None:
    os.setxattr(site.source / "large", b"user.k=%", b"\0raw\xff")
    home.close()
    site.backup()
    with site.open() as again:
        data = archive(again, site.path())
    target = tmp_path / "unpacked"
    target.mkdir()
    command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", "-", "-C", str(target)]
    subprocess.run(command, input=data, check=True, capture_output=True)
    assert compare(describe(site.source), describe(target), ignore={Ignore.HOLES}) == []


@pytest.mark.parametrize("name", ["n" * 100, "n" * 101, "n" * 255, "ä" * 100])
def test_long_names_come_back(site: Site, name: str) -> None:
    folder = site.source / "d" / name
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x")
    os.symlink(name * 3, folder / "link")
    site.backup()
    with site.open() as home:
        found = members(archive(home, site.path()))
    assert found[os.fsencode(f"./d/{name}/file")].size == 1
    assert found[os.fsencode(f"./d/{name}/link")].linkname == name * 3


def test_a_path_that_is_not_there_is_refused(site: Site, home: Home) -> None:
    with pytest.raises(RefusedError, match="not in the snapshot"):
        archive(home, site.path("none"))


def test_who_took_what_is_a_fact(site: Site, home: Home) -> None:
    archive(home, site.path("sub"))
    job = home.ledger.history().jobs[-1]
    assert job.started is not None
    assert (job.kind, job.outcome, job.started.what[0]) == ("restore", "done", "dump")


def _walk(top: bytes) -> list[bytes]:
    return [os.path.join(folder, name) for folder, folders, files in os.walk(top) for name in folders + files]


