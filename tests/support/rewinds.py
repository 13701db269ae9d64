"""A home of which parts are put back from older copies, and what must still be there."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from shared.errors import DamagedError, FarkeepError
from siteagent.home import Home
from siteagent.jobs.audit import audit_verify
from siteagent.jobs.forget import Manner, forget_named
from siteagent.jobs.record import Who
from siteagent.jobs.repair_log import open_broken, repair_log
from tests.support.days import pruned
from tests.support.homes import Place, contents, incompressible

CONTENT = ("packs", "snapshots", "reaches", "changes")


class Copy:
    """The home as it was: which snapshots it held whole, and which its log says were given up because nobody wanted
    them."""

    def __init__(self, folder: Path, present: set[bytes], given_up: set[bytes]) -> None:
        self.folder, self.present, self.given_up = folder, set(present), set(given_up)


class Rewinds:
    """A walk. `present`: acknowledged snapshots whose bytes are all on the disk; `positions`: what was ever recorded.

    `moves` are ways in which something older comes back; each leaves whatever `present` says.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance, self.folder = random.Random(seed), folder
        (folder / "site").mkdir()
        self.place = Place(folder / "site").create()
        self.truth: dict[bytes, dict[bytes, bytes]] = {}
        self.present: set[bytes] = set()
        self.positions: dict[tuple[bytes, int], bytes] = {}
        self.copies: list[Copy] = []
        self.repairs, self.steps, self.swept, self.is_lacking = 0, 0, 0, False
        self.unwanted: set[bytes] = set()
        self.given_up: set[bytes] = set()
        self.back_up()
        self.keep()

    @property
    def head(self) -> Path:
        """The high-water mark."""
        return Path(f"{self.place.home}.head")

    # Ordinary work

    def back_up(self) -> None:
        """A snapshot of a source that has changed, or gone back to what it was some days ago."""
        self.steps += 1
        self.place.write(f"file {self.chance.randrange(5)}", incompressible(f"{self.chance.randrange(9)}", 9_000))
        with self.place.open() as home:
            snapshot = self.place.backup(home).snapshot
            files = self.place.source.iterdir()
            self.truth[snapshot] = {self.place.path(file.name): file.read_bytes() for file in files}
            self.present.add(snapshot)
            self.require_readable(home, {snapshot})

    def forget_and_prune(self) -> None:
        """Some of the oldest go for ever."""
        with self.place.open() as home:
            wanted = home.ledger.history().wanted[:-1]
            going = self.chance.sample(wanted, min(len(wanted), 2))
            if going:
                self.place.clock.sleep(60)
                forget_named(home, Who("user", "host"), going, Manner(grace_ns=0))
                self.unwanted |= {entry.id for entry in going}
            try:
                swept = set(pruned(home, is_now=True).snapshots)
            except DamagedError:
                assert self.is_lacking
                return
        assert not swept & self.present - self.unwanted
        self.present -= swept
        self.given_up |= swept
        self.swept += len(swept)

    def keep(self) -> None:
        """Copy the home as it is."""
        target = self.folder / f"copy {len(self.copies)}"
        shutil.copytree(self.place.home, target / "home")
        if self.head.exists():
            shutil.copy(self.head, target / "home.head")
        self.copies.append(Copy(target, self.present, self.given_up))

    # What comes back

    def put_back(self, copy: Copy, names: tuple[str, ...]) -> None:
        """Folders of the home (and `.head`) as they were. What that log gave up is not asked for, even where it came
        back meanwhile."""
        if "log" in names:
            self.given_up |= copy.given_up
            self.present -= copy.given_up
        for name in names:
            if name == ".head":
                self.head.unlink(missing_ok=True)
                if (copy.folder / "home.head").exists():
                    shutil.copy(copy.folder / "home.head", self.head)
                continue
            shutil.rmtree(self.place.home / name, ignore_errors=True)
            if (copy.folder / "home" / name).exists():
                shutil.copytree(copy.folder / "home" / name, self.place.home / name)

    def log(self, copy: Copy) -> None:
        """The log, while mark and packs are newer."""
        self.put_back(copy, ("log",))

    def mark(self, copy: Copy) -> None:
        """The mark: it proves less than it could."""
        self.put_back(copy, (".head",))

    def log_and_mark(self, copy: Copy) -> None:
        """Both: only packs, manifests and changes can tell."""
        self.put_back(copy, ("log", ".head"))

    def log_and_index(self, copy: Copy) -> None:
        """Two databases of one day."""
        self.put_back(copy, ("log", "index"))

    def home(self, copy: Copy) -> None:
        """The whole home as another folder, while the mark beside it is newer."""
        os.rename(self.place.home, self.folder / f"before {self.steps}")
        shutil.copytree(copy.folder / "home", self.place.home)
        self.present, self.given_up = set(copy.present), set(copy.given_up)

    def home_and_mark(self, copy: Copy) -> None:
        """All there is: the folder is another one, so a new log epoch must begin."""
        self.home(copy)
        self.put_back(copy, (".head",))

    def packs(self, copy: Copy) -> None:
        """Packs and manifests of a rewound home under a newer log."""
        self.put_back(copy, CONTENT)
        self.is_lacking = self.is_lacking or not self.present <= copy.present
        self.present &= copy.present

    def no_log(self, _: Copy) -> None:
        """The log is gone."""
        shutil.rmtree(self.place.home / "log")
        (self.place.home / "log").mkdir()

    def no_mark(self, _: Copy) -> None:
        """The mark is gone."""
        self.head.unlink(missing_ok=True)

    def cut_log(self, _: Copy) -> None:
        """The log ends somewhere."""
        path = self.place.home / "log" / "log.db"
        os.truncate(path, self.chance.randrange(path.stat().st_size))

    @property
    def moves(self) -> tuple[Callable[[Copy], None], ...]:
        """All of them."""
        return (self.log, self.mark, self.log_and_mark, self.log_and_index, self.home, self.home_and_mark, self.packs,
                self.no_log, self.no_mark, self.cut_log)  # fmt: skip

    # What must hold

    def step(self) -> None:
        """One step: work, or something comes back and is dealt with."""
        self.place.clock.sleep(3600)
        choice = self.chance.random()
        if choice < 0.35:
            self.back_up()
        elif choice < 0.5:
            self.forget_and_prune()
        elif choice < 0.65:
            self.keep()
        else:
            self.rewind(self.chance.choice(self.moves), self.chance.choice(self.copies))
        self.note_positions()

    def rewind(self, move: Callable[[Copy], None], copy: Copy) -> None:
        """Something older comes back; a repair makes the best of it."""
        before, was_marked = self.newest_position(), self.is_marked()
        move(copy)
        self.steps += 1
        is_refused = self.is_refused()
        if move == self.home_and_mark:
            # It is another folder than the mark speaks of: positions that came after the copy must not be used again.
            pass
        elif not is_refused and (not was_marked or move == self.log_and_mark):
            # Nothing at hand tells of what came after the copy.
            self.positions = {}
        elif not is_refused:
            assert self.newest_position() == before, "facts are missing, and nobody noticed"
        self.repair()
        with self.place.open() as home:
            assert audit_verify(home).problems == []
            self.require_readable(home, self.present)

    def is_marked(self) -> bool:
        """True when the mark beside the home is that of its newest fact."""
        try:
            with self.place.open() as home:
                return self.head.exists() and self.head.read_bytes() == home.ledger.high_water()
        except FarkeepError:
            return False

    def newest_position(self) -> tuple[bytes, int] | None:
        """The head of the log, when it opens."""
        try:
            with self.place.open() as home:
                position = home.ledger.head.position
                return position.log_epoch, position.sequence
        except FarkeepError:
            return None

    def is_refused(self) -> bool:
        """True when nothing may be written; then nothing is, and the audit says so."""
        packs = sorted(os.listdir(self.place.home / "packs"))
        try:
            with self.place.open() as home:
                audit = audit_verify(home)
                try:
                    pruned(home, is_now=True, is_dry_run=False) if audit.problems else None
                except FarkeepError:
                    assert sorted(os.listdir(self.place.home / "packs")) == packs
                    return True
                assert not audit.problems, "a prune in a home whose log is older than its packs"
                return False
        except FarkeepError:
            return True

    def repair(self) -> None:
        """`farkeep repair log`."""
        with open_broken(self.place.access, "repair log", self.place.world) as home:
            report = repair_log(home)
        assert report.not_taken == []
        self.repairs += bool(report.reason)

    def require_readable(self, home: Home, snapshots: set[bytes]) -> None:
        """These snapshots are known and read as they did."""
        history = home.ledger.history()
        for snapshot in snapshots:
            entry = history.snapshot(snapshot)
            assert entry is not None, f"{snapshot.hex()} is lost"
            assert contents(home, entry) == self.truth[snapshot]

    def note_positions(self) -> None:
        """No position is used twice for different facts."""
        with self.place.open() as home:
            for fact in home.ledger.facts():
                position = fact.position
                known = self.positions.setdefault((position.log_epoch, position.sequence), position.hash)
                assert known == position.hash, f"position {position.sequence} was used twice"
