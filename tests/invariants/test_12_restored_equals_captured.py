"""Restored equals captured: data, holes, links, times, owners, modes, ACLs, attributes and odd names, of every snapshot
that is kept, after any sequence of edits, backups, forgetting and pruning; compared by an independent walker.
"""

from __future__ import annotations

import fnmatch
import os
import random
from pathlib import Path

import pytest

from siteagent.jobs.prune import PruneRequest, prune
from siteagent.jobs.record import Who
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.restore.filewriter import FileWriter
from siteagent.restore.restorer import Restorer
from tests.support import trees
from tests.support.build import build
from tests.support.descriptions import Content, Description, File, Fill, Folder, for_ordinary_user
from tests.support.homes import forget
from tests.support.mutate import mutate
from tests.support.tally import Tally
from tests.support.trips import Site, open_site
from tests.support.walker import AS_ORDINARY_USER, Ignore, Kind, Tree, compare, describe

pytestmark = pytest.mark.usefixtures("no_sync_of_restores")
_IS_ROOT = os.geteuid() == 0
_IGNORED = frozenset({Ignore.SOCKETS}) if _IS_ROOT else frozenset({Ignore.SOCKETS, *AS_ORDINARY_USER})
ROUNDS, EDITS = 5, 30


def below(folder: Path, pattern: str) -> list[Path]:
    """Files by name, in order, as deep as a path can name them (`rglob` may raise there)."""
    return sorted(Path(above, name) for above, _, names in os.walk(folder) for name in fnmatch.filter(names, pattern))



class Course:
    """A source that changes, and every snapshot of it that is kept, with the tree that it has to give back."""

    def __init__(self, folder: Path, site: Site, seed: int) -> None:
        self.folder, self.site, self.random, self.seed = folder, site, random.Random(seed), seed
        self.source, self.compared = folder / "source", 0
        description = trees.random_tree(seed, 60)
        build(description if _IS_ROOT else for_ordinary_user(description), self.source)
        # A generated root may deny its own owner what comes next.
        self.source.chmod(self.source.stat().st_mode & 0o7777 | 0o700)
        text, noise = Content(900_000, seed, Fill.TEXT), Content(1_500_000, seed + 1)
        build(Description(((b"logs", Folder()), (b"logs/text", File(text)), (b"logs/noise", File(noise)))),
              self.source / "large")  # fmt: skip
        self.kept: dict[bytes, Tree] = {}

    def edit(self) -> None:
        """Some edits anywhere, a change within the large files, and now and then a move of a whole folder."""
        mutate(self.random.randrange(1 << 30), self.source, EDITS)
        for path in [*below(self.source, "noise"), *below(self.source, "text")]:
            if path.is_file() and not path.is_symlink() and path.stat().st_size > 1000:
                with path.open("r+b") as file:
                    file.seek(self.random.randrange(path.stat().st_size))
                    file.write(self.random.randbytes(3000))
        large = self.source / "large"
        if large.is_dir() and not large.is_symlink() and self.random.random() < 0.4:
            large.rename(self.source / f"moved {self.random.randrange(1 << 30)}")

    def back_up(self) -> None:
        """One more snapshot."""
        before = describe(self.source)
        result = self.site.back_up(self.source, name="course")
        assert result.errors == []
        assert result.summary.quality == "live"
        self.kept[result.snapshot] = before

    def forget_and_prune(self) -> None:
        """Some of the older snapshots go, and what only they needed."""
        gone = [snapshot for snapshot in list(self.kept)[:-1] if self.random.random() < 0.5]
        for snapshot in gone:
            del self.kept[snapshot]
        if gone:
            forget(self.site.home, gone)
        prune(self.site.home, PruneRequest(Who("user", "host")))

    def restore(self, snapshot: bytes, path: bytes, target: Path, *, deletes: bool = False) -> None:
        """Restore a part of a snapshot, without any trouble."""
        entry = self.site.home.ledger.history().snapshot(snapshot)
        assert entry is not None
        request = RestoreRequest(entry, path, str(target), "user", "host", deletes=deletes, deletes_unmarked=deletes)
        assert restore(self.site.home, [request]).errors == []

    def differences(self) -> list[str]:
        """Every kept snapshot: in full, over what an earlier one left; one of them into a new folder, and in part."""
        found = []
        for snapshot, tree in self.kept.items():
            self.restore(snapshot, os.fsencode(self.source), self.folder / "in place", deletes=True)
            found += self.compare(tree, self.folder / "in place")
        snapshot = self.random.choice(list(self.kept))
        tree, number = self.kept[snapshot], self.random.randrange(1 << 30)
        self.restore(snapshot, os.fsencode(self.source), self.folder / f"new {number}")
        found += self.compare(tree, self.folder / f"new {number}")
        folders = sorted(tree.paths(Kind.FOLDER) - {b""})
        if folders:
            part = self.random.choice(folders)
            self.restore(snapshot, os.fsencode(self.source) + b"/" + part, self.folder / f"part {number}")
            now = describe(self.folder / f"part {number}")
            found += compare(tree.below(part), now, ignore={*_IGNORED, Ignore.LINKS})
        return found

    def compare(self, tree: Tree, target: Path) -> list[str]:
        """What was restored differs in this from what was captured."""
        self.compared += 1
        return compare(tree, describe(target), ignore=_IGNORED)


@pytest.mark.parametrize("number", range(2))
def test_every_kept_snapshot_of_a_changing_source(number: int, folder: Path, seed: int, is_long_run: bool,
                                                  tally: Tally) -> None:  # fmt: skip
    """Edits, deltas, moves, forgetting, pruning and compaction in any order, and everything restored after each."""
    with open_site(folder) as site:
        course = Course(folder, site, 100 * seed + number)
        print(f"seed {course.seed}")
        for _ in range(40 if is_long_run else ROUNDS):
            course.back_up()
            if course.random.random() < 0.6:
                course.forget_and_prune()
            assert course.differences() == []
            course.edit()
    tally("snapshots compared", course.compared)


@pytest.mark.parametrize("has_earlier", [False, True])
def test_a_restore_that_was_broken_off_anywhere_is_completed_by_the_next(has_earlier: bool, folder: Path, seed: int,
                                                                         is_long_run: bool, tally: Tally) -> None:
    """Broken off after so many files, parts and folders; over nothing, and over an older snapshot."""
    with open_site(folder) as site:
        course = Course(folder, site, seed)
        course.back_up()
        older = next(iter(course.kept))
        course.edit()
        course.back_up()
        newest = list(course.kept)[-1]
        points, step, is_over = 0, 0, False
        while not is_over:
            target = folder / f"target {step}"
            if has_earlier:
                course.restore(older, os.fsencode(course.source), target)
            is_over = not break_off(course, newest, target, step)
            course.restore(newest, os.fsencode(course.source), target, deletes=True)
            assert course.compare(course.kept[newest], target) == []
            assert below(target, ".farkeep-*") == []
            points, step = points + 1, step + (1 if is_long_run else 9)
    tally("restores broken off", points)


class BrokenOffError(Exception):
    """The power went."""


def break_off(course: Course, snapshot: bytes, target: Path, after: int) -> bool:
    """Restore until so many steps are done; False when it came to its end before."""
    left = [after]

    def count(real: object) -> object:
        def call(*args: object, **named: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise BrokenOffError
            return real(*args, **named)  # type: ignore[operator]

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((FileWriter, "fresh"), (FileWriter, "begin"), (FileWriter, "finish"), (FileWriter, "link"),
                            (FileWriter, "special"), (FileWriter, "fill"), (Restorer, "_folder_metadata")):  # fmt: skip
            patch.setattr(owner, name, count(getattr(owner, name)))
        try:
            course.restore(snapshot, os.fsencode(course.source), target, deletes=True)
        except BrokenOffError:
            return True
    return False
