"""What must hold of a home after the power failed: looked at through the shipped code, then used again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from shared.errors import RefusedError
from siteagent.home import Access, Home, open_home
from siteagent.jobs.backup import BackupRequest, back_up
from siteagent.jobs.initialise import NewHome, initialise
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.jobs.verify import verify
from siteagent.ledger.state import SnapshotEntry
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from tests.support.command_line import local_world
from tests.support.places import remove_tree
from tests.support.power_story import Story
from tests.support.walker import Tree, compare, describe


class PowerCheck:
    """Looks at a home below a folder where a disk is mounted."""

    def __init__(self, story: Story, mounted: Path, scratch: Path, *, is_thorough: bool) -> None:
        """`scratch` is a place for what is restored; thorough means that everything that is shown is restored."""
        self._story, self._scratch, self._is_thorough = story, scratch / "restored", is_thorough
        self._access, self._world = Access(str(mounted / "home")), local_world()
        self._now = describe(story.source)

    def require_survival(self, moment: int, *, looks_first: bool) -> None:
        """Everything told by then is there and restores, nothing is damaged, and the next backup works.

        A verification mends the index: unless it looks first, restore and backup have to do with what the crash left.
        """
        if not self._require_home(moment):
            return
        with open_home(self._access, "test", self._world) as home:
            self._require_told(home, moment)
            if looks_first:
                self._require_sound(home)
            self._require_shown(home, moment)
            self._require_next(home)
            if not looks_first:
                self._require_sound(home)

    def _require_home(self, moment: int) -> bool:
        """False after an init that was cut off and could not be tried again without removing what it left."""
        if os.path.exists(os.path.join(self._access.home, "format")):
            return True
        assert self._story.told(moment) == [], "an acknowledged home is gone"
        with contextlib.suppress(RefusedError):
            initialise(NewHome(self._access, "london", None), self._world)
            return True
        return False

    def _require_told(self, home: Home, moment: int) -> None:
        told, begun, history = self._story.told(moment), self._story.begun(moment), home.ledger.history()
        may_be_swept = any(command.name == "prune" for command in begun)
        gone = {command.snapshot for command in begun if command.name == "forget" and may_be_swept}
        shown, wanted = ({entry.id for entry in entries} for entries in (history.snapshots, history.wanted))
        kept = {command.snapshot for command in told if command.tree} - gone
        assert kept <= shown, "an acknowledged snapshot is gone"
        for command in told:
            assert command.name != "forget" or command.snapshot not in wanted, "a forgotten snapshot is wanted again"
            assert home.keyring.current.number >= command.key_epoch, "a key rotation was lost"

    def _require_sound(self, home: Home) -> None:
        found = verify(home, "read-data")
        assert found.is_good, (found.problems, found.damaged)

    def _require_shown(self, home: Home, moment: int) -> None:
        begun = self._story.begun(moment)
        trees = {command.snapshot: command.tree for command in begun if command.tree}
        untold = [command.tree for command in begun if command.tree and (command.told or moment + 1) > moment]
        shown = list(home.ledger.history().snapshots)
        for entry in shown if self._is_thorough else shown[-1:]:
            expected = trees.get(entry.id)
            self._require_whole(home, entry, [expected] if expected is not None else untold)

    def _require_next(self, home: Home) -> None:
        newest = next_backup(home, self._story.source)
        self._require_whole(home, newest, [self._now])

    def _require_whole(self, home: Home, entry: SnapshotEntry, possible: list[Tree]) -> None:
        request = RestoreRequest(entry, os.fsencode(self._story.source), str(self._scratch), "user", "host")
        result = restore(home, [request])
        assert result.errors == [], result.errors
        differences = [compare(tree, describe(self._scratch)) for tree in possible]
        remove_tree(self._scratch)
        assert [] in differences, differences


def next_backup(home: Home, source: Path) -> SnapshotEntry:
    """Back up as the next command does; nothing of what was cut off may be left open."""
    node, roots = merge_roots([os.fsencode(source)], b"/")
    back_up(home, BackupRequest("docs", tuple(roots), PosixView(node, None, None), "user", "host"))
    history = home.ledger.history()
    assert history.open_jobs == [], "a job that was cut off is still open"
    assert home.packs.unfinished() == [], "half a pack is left over"
    return history.snapshots[-1]
