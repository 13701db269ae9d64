"""A restore that is killed in the middle, for real: the same command again completes it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from siteagent.disk.child import Child
from tests.support import killed, stuck
from tests.support.build import build
from tests.support.descriptions import Content, Description, Fifo, File, Folder, HardLink, Metadata, Symlink
from tests.support.farkeep import Farkeep
from tests.support.trees import wide_folder
from tests.support.trips import open_site
from tests.support.walker import compare, describe

_IS_LONG = os.environ.get("FARKEEP_TEST_LONG") == "1"
TREE = Description((
    (b"a", Folder(Metadata(0o750, 7))),
    (b"a/deep", File(Content(3000, 1), Metadata(0o4711, 9, xattrs=((b"user.x", b"y"),)))),
    (b"fifo", Fifo()),
    (b"large", File(Content(9 << 20, 3))),
    (b"link", Symlink(b"a/file")),
    (b"middle", File(Content(300_000, 4))),
    (b"one", File(Content(400_000, 5))),
    (b"sparse", File(Content(1 << 20, 6, extents=((65536, 131072),)))),
    (b"two", HardLink(b"one")),
))  # fmt: skip


@pytest.mark.parametrize("has_earlier", [False, True])
def test_killed_at_a_step(has_earlier: bool, folder: Path) -> None:
    """Into a new folder, and over an earlier copy with other content under the same names, sizes and times."""
    source, target = folder / "source", folder / "target"
    build(TREE, source)
    with open_site(folder) as site:
        site.back_up(source)
    killed.run(site.path, source, folder / "earlier", "never")
    for name in ("a/deep", "large", "middle", "one"):
        about = (folder / "earlier" / name).stat()
        (folder / "earlier" / name).write_bytes(bytes(about.st_size))
        os.utime(folder / "earlier" / name, ns=(about.st_mtime_ns, about.st_mtime_ns))

    def prepare(name: str) -> Path:
        place = folder / name
        if has_earlier:
            os.system(f"cp -a '{folder / 'earlier'}' '{place}'")
        return place

    counted = killed.run(site.path, source, prepare("counted"), "never")
    steps = int(counted.stdout)
    assert steps > 15
    for count in range(1, steps + 1, 1 if _IS_LONG else max(1, steps // 3)):
        target = prepare(f"target {count}")
        assert killed.run(site.path, source, target, "steps", count).returncode == -signal.SIGKILL
        again = killed.run(site.path, source, target, "never")
        assert again.returncode == 0, again.stdout
        assert compare(describe(source), describe(target)) == []


def test_killed_with_worker_processes(folder: Path) -> None:
    """The next try completes it, with what the workers of the first one left."""
    source, target = folder / "source", folder / "target"
    build(wide_folder(3300), source)
    build(Description(tuple((b"%d" % number, File(Content(9 << 20, number))) for number in range(2))), source / "large")
    with open_site(folder) as site:
        site.back_up(source)
    for count in (1, 2):
        first = killed.run(site.path, source, target, "answers", count)
        assert first.returncode == -signal.SIGKILL, first.stdout
        workers = [int(line) for line in first.stdout.split()]
        assert workers
        again = killed.run(site.path, source, target, "answers", 1_000_000)
        assert again.returncode == 0, again.stdout
        assert [number for number in workers if is_restoring(number)] == []
        assert compare(describe(source), describe(target)) == []
        os.truncate(target / "large" / "1", 5 << 20)


def test_a_worker_ends_with_its_parent_in_the_middle_of_its_work() -> None:
    """Else the next try would find somebody writing beside it."""
    worker = Child("tests.support.stuck")
    worker.send(stuck.Request())
    assert worker.receive(stuck.Request) is not None
    os.close(worker._requests)
    ended, until = (0, 0), time.monotonic() + 60
    while not ended[0] and time.monotonic() < until:
        ended = os.waitpid(worker.process, os.WNOHANG)
    if not ended[0]:
        os.kill(worker.process, signal.SIGKILL)
    assert ended[0] == worker.process


def is_restoring(process: int) -> bool:
    """True when this process still runs as a worker of a restore."""
    try:
        return b"siteagent.restore.process" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def test_the_installed_command_killed_from_outside(folder: Path) -> None:
    source, target = folder / "source", folder / "target"
    build(wide_folder(800), source)
    (source / "large").write_bytes(os.urandom(20 << 20))
    farkeep, user_home = Farkeep(folder / "site" / "home"), folder / "user"
    user_home.mkdir()
    farkeep.init()
    farkeep.backup(source)
    process = farkeep.start("restore", b"latest:" + os.fsencode(source), "--to", target, user_home=user_home)
    while process.poll() is None and not (target / "wide").exists():
        pass
    process.kill()
    process.communicate()
    farkeep.restore(b"latest:" + os.fsencode(source), target)
    assert compare(describe(source), describe(target)) == []
    again = farkeep.restore(b"latest:" + os.fsencode(source), target, "--delete").json()
    assert (again["written"], again["deleted"], again["errors"]) == (0, 0, [])
