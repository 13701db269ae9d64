"""A restore in a process of its own that kills itself: `python -m tests.support.killed HOME PATH TARGET HOW COUNT`.

HOW is `steps` (kill before the COUNT-th change of the file system), `answers` (after the COUNT-th answer of a worker
process; their numbers are printed first), or `never` (print how many steps there were).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from shared.randomness import SystemRandomness
from siteagent.disk.child import Child
from siteagent.home import Access, World, open_home
from siteagent.jobs.restore import RestoreRequest, restore
from siteagent.restore.restorer import Total
from tests.support.trips import LaterClock

_CHANGES = frozenset({"os.rename", "os.mkdir", "os.link", "os.symlink", "os.utime", "os.chmod", "os.chown", "os.remove",
                      "os.truncate", "os.rmdir"})  # fmt: skip
_ROOT = Path(__file__).parents[2]
AS_SCRIPT = "from tests.support.killed import main; raise SystemExit(main())"


def run(home: Path, path: Path, target: Path, how: str, count: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the restore of the newest snapshot; the home must not be open."""
    command = [sys.executable, "-m", "tests.support.killed", str(home), str(path), str(target), how, str(count)]
    # Into a file and not a pipe: workers that outlive the command would hold a pipe open.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(command, cwd=_ROOT, stdout=said, stderr=said, timeout=120, check=False)
        said.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, said.read().decode("utf-8", "backslashreplace"))


class _Bomb:
    """Counts, and ends this process as the power ends a machine."""

    def __init__(self, limit: int) -> None:
        self.limit, self.count, self.is_armed = limit, 0, False

    def tick(self, event: str = "", _: object = None) -> None:
        """One step."""
        if not self.is_armed or (event and event not in _CHANGES):
            return
        self.count += 1
        if self.count == self.limit:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    """Restore, and perhaps die."""
    home_path, path, target, how, count = sys.argv[1:]
    bomb = _Bomb(0 if how == "never" else int(count))
    if how == "answers":
        take, start = Total.take, Child.__init__

        def taking(total: Total, answer: object) -> None:
            take(total, answer)  # type: ignore[arg-type]
            bomb.tick()

        def starting(child: Child, *args: object, **named: object) -> None:
            start(child, *args, **named)  # type: ignore[arg-type]
            print(child.process, flush=True)

        Total.take, Child.__init__ = taking, starting  # type: ignore[method-assign,assignment]
    else:
        sys.addaudithook(bomb.tick)
    world = World(LaterClock(), SystemRandomness(), network_kind=lambda _: None, may_start_processes=how == "answers",
                  reserve_bytes=0)  # fmt: skip
    with open_home(Access(home_path), "test", world) as home:
        newest = home.ledger.history().snapshots[-1]
        bomb.is_armed = True
        result = restore(home, [RestoreRequest(newest, os.fsencode(path), target, "user", "host")])
        bomb.is_armed = False
    print(bomb.count)
    return len(result.errors)


if __name__ == "__main__":
    sys.exit(main())
