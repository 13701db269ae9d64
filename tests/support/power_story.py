"""A life of a home on a recorded disk: the shipped command, process by process, and what the user was told when.

The moments are lengths of the disk's tape: what stood on standard output at a moment counts as acknowledged from there.
"""

from __future__ import annotations

import os
import random
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from tests.support.build import build
from tests.support.farkeep import Farkeep
from tests.support.file_extents import blocks_by_part
from tests.support.machine import change, small_tree
from tests.support.recorded_block import Event, RecordedBlock
from tests.support.walker import Tree, describe

_LOOK_S = 0.01


class Command(Struct, frozen=True):
    """One command: when it was started, when its success was told (None: it was killed), and when it had ended.

    `tree` is what a backup saw; `snapshot` what it told, or what a forget was about; `key_epoch` what a rotation told.
    """

    name: str
    began: int
    told: int | None
    ended: int
    tree: Tree | None = None
    snapshot: bytes = b""
    key_epoch: int = 0


class Story(Struct):
    """What happened on a disk: its events, the commands, and the part of the home that blocks belonged to."""

    source: Path
    events: list[Event]
    commands: list[Command] = field(default_factory=list)
    parts: dict[int, str] = field(default_factory=dict)

    def told(self, moment: int) -> list[Command]:
        """The commands whose success had been told by then."""
        return [command for command in self.commands if command.told is not None and command.told <= moment]

    def begun(self, moment: int) -> list[Command]:
        """The commands that had been started by then."""
        return [command for command in self.commands if command.began < moment]

    def moments_told(self) -> list[int]:
        """When something was acknowledged."""
        return [command.told for command in self.commands if command.told is not None]


class Life:
    """Runs commands on a home below a mounted folder."""

    def __init__(self, folder: Path, mounted: Path, block: RecordedBlock, seed: int,
                 executable: Path | None = None) -> None:
        self._block, self._chance, self._user_home = block, random.Random(seed), folder / "user"
        self._user_home.mkdir()
        self._home = mounted / "home"
        self._farkeep = Farkeep(self._home, executable=executable)
        self.story = Story(folder / "source", block.events)
        build(small_tree(), self.story.source)

    def live(self) -> Story:
        """Everything that appends facts and index entries, with a backup that is killed among it."""
        self._init()
        self.back_up()
        change(self.story.source)
        self.back_up()
        self._edit("second day")
        self._kill_backup()
        self.back_up()
        self._forget(0)
        self._run("prune")
        self._rotate()
        self._edit("third day")
        self.back_up()
        return self.story

    def live_shortly(self) -> Story:
        """Making a home and backing up into it."""
        self._init()
        self.back_up()
        return self.story

    def _init(self) -> None:
        self._run("init", "--site", "london", "--no-recovery")

    def _edit(self, text: str) -> None:
        (self.story.source / text).write_bytes(self._chance.randbytes(300_000))
        with (self.story.source / "big").open("r+b") as file:
            file.seek(self._chance.randrange(1_000_000))
            file.write(text.encode())

    def back_up(self) -> None:
        """One snapshot, told."""
        tree = describe(self.story.source)
        self._run("backup", self.story.source, "--name", "docs",
                  note=lambda command, said: msgspec.structs.replace(
                      command, tree=tree, snapshot=bytes.fromhex(said["snapshot"])))  # fmt: skip

    def _forget(self, number: int) -> None:
        snapshot = [command.snapshot for command in self.story.commands if command.name == "backup"][number]
        self._run("forget", snapshot.hex(), "--now",
                  note=lambda command, said: msgspec.structs.replace(command, snapshot=snapshot))  # fmt: skip

    def _rotate(self) -> None:
        self._run("key", "rotate", "--new-secret",
                  note=lambda command, said: msgspec.structs.replace(command, key_epoch=said["key_epoch"]))  # fmt: skip

    def _run(self, *words: str | Path, note: Callable[[Command, Any], Command] | None = None) -> None:
        began = len(self._block.events)
        process = self._farkeep.start(*words, user_home=self._user_home)
        with process:
            assert process.stdout is not None
            while not select.select([process.stdout], [], [], _LOOK_S)[0]:
                self._look()
            said = process.stdout.readline()
            told = len(self._block.events)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
        command = Command(str(words[0]), began, told, len(self._block.events))
        self._ended(note(command, msgspec.json.decode(said)) if note else command)

    def _kill_backup(self) -> None:
        began, tree = len(self._block.events), describe(self.story.source)
        process = self._farkeep.start("backup", self.story.source, "--name", "docs", user_home=self._user_home)
        self._block.wait_for(began + self._chance.randrange(20, 70))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self._ended(Command("killed backup", began, None, len(self._block.events), tree))

    def _ended(self, command: Command) -> None:
        self.story.commands.append(command)
        self._look()

    def _look(self) -> None:
        """Note what lies where; now and then, for SQLite and RocksDB remove files before their process ends."""
        self.story.parts.update(blocks_by_part(self._home))
