"""Work as an ordinary user, in a process that root starts and that gives its rights up once everything is imported.

So the user needs no right to reach the interpreter's files, and nothing is forked beside threads of a database.
`python -m tests.support.ordinary FOLDER USER-NUMBER TRIP` runs one of the functions below in a folder of that user.
"""

from __future__ import annotations

import os
import pickle  # rocksdict imports it when a database is opened, which is too late
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import siteagent.jobs.restore
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.sources.xattrs import encode_xattrs
from tests.support import oddities, trees
from tests.support.build import build
from tests.support.descriptions import for_ordinary_user
from tests.support.forged import forge_rows, forged_entry
from tests.support.mutate import mutate
from tests.support.trips import open_site
from tests.support.walker import AS_ORDINARY_USER, Ignore, compare, describe

NOBODY = 65534
DONE = "it ran to its end as an ordinary user"
_ROOT = Path(__file__).parents[2]
# RocksDB's module imports it when a database is opened: too late where the user cannot reach the standard library.
_NEEDED_LATER = (pickle,)


def run_as_nobody(folder: Path, trip: Callable[[Path], None]) -> str:
    """Run a function of this module as the user nobody in `folder`/own; returns DONE, or what went wrong."""
    folder.chmod(0o755)
    own = folder / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    command = [sys.executable, "-m", "tests.support.ordinary", str(own), str(NOBODY), trip.__name__]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout if done.returncode == 0 else f"exit code {done.returncode}: {done.stdout}{done.stderr}"


def round_trips(folder: Path) -> None:
    """Trees come back, also over earlier copies whose folders are read-only."""
    ignored = frozenset({Ignore.SOCKETS, *AS_ORDINARY_USER})
    with open_site(folder) as site:
        for number, description in enumerate((trees.zoo(), trees.random_tree(11, 120))):
            source, target = folder / f"source {number}", folder / f"target {number}"
            build(for_ordinary_user(description), source)
            for day in range(3):
                before = describe(source)
                result = site.back_up(source, name=source.name)
                restored = site.restore(result, source, target, deletes=True)
                assert [*result.errors, *restored.errors] == [], (day, [*result.errors, *restored.errors])
                assert compare(before, describe(target), ignore=ignored) == []
                mutate(day, source, 30)


def unreadable_files(folder: Path) -> None:
    """What this user may not read is named; everything else comes back, and later the rest too."""
    source, target = folder / "source", folder / "target"
    source.mkdir()
    for name, size in (("closed", 10), ("closed, large", 500_000), ("open", 10)):
        (source / name).write_bytes(bytes(size))
    (source / "closed folder").mkdir()
    (source / "closed folder" / "file").write_bytes(b"x")
    (source / "folder of names").mkdir()
    (source / "folder of names" / "file").write_bytes(b"x")
    closed = {"closed": 0, "closed, large": 0o200, "closed folder": 0o300, "folder of names": 0o600}
    for name, mode in closed.items():
        (source / name).chmod(mode)
    with open_site(folder) as site:
        result = site.back_up(source)
        named = {os.fsdecode(error.path) for error in result.errors}
        expected = {str(source / name) for name in closed if name != "folder of names"}
        assert named == expected | {str(source / "folder of names" / "file")}
        assert result.summary.quality == "partial"
        restored = site.restore(result, source, target)
        assert {Path(os.fsdecode(error.path)).name for error in restored.errors} == {"closed", "closed, large"}
        assert (target / "open").read_bytes() == bytes(10)
        assert not (target / "closed").exists()
        for name in closed:
            (source / name).chmod(0o700)
        site.restore(site.back_up(source), source, target, deletes=True)
        assert compare(describe(source), describe(target)) == []


def excluded_by_the_system(folder: Path) -> None:
    """A folder that could not be listed is empty in the snapshot: a restore with --delete must not empty it."""
    source = folder / "source"
    for name in ("closed", "readable"):
        (source / name).mkdir(parents=True)
        (source / name / "file").write_bytes(b"x")
    (source / "closed").chmod(0)
    with open_site(folder) as site:
        result = site.back_up(source)
        (source / "closed").chmod(0o700)
        (source / "readable" / "later").write_bytes(b"x")
        restored = site.restore(result, source, source, deletes=True, deletes_unmarked=True)
        assert restored.deleted == 1
        (source / "closed").chmod(0o700)
        assert (source / "closed" / "file").read_bytes() == b"x"


def foreign_files(folder: Path) -> None:
    """A snapshot with files that were setuid and setgid to root, restored by a user who cannot make them root's."""
    source, target = folder / "source", folder / "target"
    source.mkdir()
    for name in ("small", "with attributes", "linked"):
        (source / name).write_bytes(b"#!/bin/sh")
    with open_site(folder) as site:
        model = site.snapshot(site.back_up(source))
        changes: dict[str, object] = {"mode": 0o106755, "uid": 0, "gid": 0}
        capability = oddities.CAPABILITY_XATTR
        xattrs = b"\0" + encode_xattrs(dict((capability,)))
        entry = forge_rows(site.home, model, lambda store: [
            forged_entry(store, b"", b"attributes", "file")._replace(**changes, xattrs=xattrs),  # type: ignore[arg-type]
            forged_entry(store, b"", b"linked", "linked")._replace(**changes),  # type: ignore[arg-type]
            forged_entry(store, b"", b"plain", "file")._replace(**changes),  # type: ignore[arg-type]
        ])  # fmt: skip
        for _ in range(2):
            result = restore(site.home, [RestoreRequest(entry, b"/", str(target), "user", "host")])
            assert result.errors == []
            assert {"owners", "attributes"} <= set(result.answer.reasons)
            for name in ("attributes", "linked", "plain"):
                assert (target / name).stat().st_mode & 0o7777 == 0o755, name
                assert os.listxattr(target / name) == []


def main() -> int:
    """Give the rights up, then run."""
    folder, number, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    setattr(siteagent.jobs.restore, "sync_target", lambda handle: None)  # noqa: B010 - it is no public name there
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)
    os.chdir(folder)
    globals()[name](folder)
    print(DONE if os.geteuid() == number else "still with rights", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
