"""One command while it runs: its options, its output, and the home it works on."""

from __future__ import annotations

import os
import time
from functools import cached_property

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping

    from shared.clock import Clock
    from siteagent.cli.output import Output
    from siteagent.cli.settings import Settings
    from siteagent.home import Access, Home, World


class Figures:
    """What a command took: seconds, bytes read from packs by this process, sequence numbers of the facts recorded."""

    __slots__ = ("bytes_read", "facts", "seconds")

    def __init__(self, seconds: float, bytes_read: int, facts: range) -> None:
        self.seconds, self.bytes_read, self.facts = seconds, bytes_read, facts


class Session:
    """What a command module is given."""

    def __init__(self, command: str, options: Namespace, output: Output, environment: Mapping[str, str],
                 world: World | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`world` replaces clock, randomness and disks in tests."""
        self.command, self.options, self.output, self.environment = command, options, output, environment
        self._world, self._monotonic, self._began = world, monotonic, monotonic()
        self._home: Home | None = None
        self.is_noted = True
        """False for what nobody wants to find in H/farkeep.log."""
        self._first_fact = 0

    @cached_property
    def settings(self) -> Settings:
        """What options, variables and H/farkeep.toml say, the wished priority taken; UsageError or RefusedError."""
        from siteagent.cli.settings import find_settings

        found = find_settings(self.options, self.environment)
        if found.nice is not None or found.disk_priority is not None:
            from siteagent.cli.priority import take_priority

            take_priority(found.nice, found.disk_priority)
        return found

    @cached_property
    def clock(self) -> Clock:
        """The time, whatever else is wrong."""
        if self._world is not None:
            return self._world.clock
        from shared.clock import SystemClock

        return SystemClock()

    @cached_property
    def world(self) -> World:
        """Time, chance, disks, and the number of workers."""
        if self._world is None:
            from shared.randomness import SystemRandomness
            from siteagent.home import World

            return World(self.clock, SystemRandomness(), workers=self.settings.threads)
        if not self.settings.threads:
            return self._world
        from msgspec.structs import replace

        return replace(self._world, workers=self.settings.threads)

    @cached_property
    def access(self) -> Access:
        """How to get at the home; raises RefusedError when the passphrase file does not read."""
        from siteagent.cli.settings import passphrase
        from siteagent.home import Access

        found = self.settings
        return Access(found.home, found.key_file, passphrase(found), found.wait_s)

    def open_home(self) -> Home:
        """Become the owner of the home and open it; close it afterwards."""
        from siteagent.home import open_home

        self._home = open_home(self.access, self.command, self.world)
        self._first_fact = self._home.ledger.head.position.sequence + 1
        return self._home

    @property
    def named_home(self) -> str:
        """The home's folder, as an option or variable names it; empty when none does."""
        named = self.options.home or self.environment.get("FARKEEP_HOME", "")
        return os.path.abspath(named) if named else ""

    def figures(self) -> Figures:
        """What the command took so far."""
        seconds = self._monotonic() - self._began
        if self._home is None:
            return Figures(seconds, 0, range(0))
        head = self._home.ledger.head.position.sequence
        return Figures(seconds, self._home.reader.bytes_read, range(self._first_fact, head + 1))

    def notes(self, notes: list[str]) -> None:
        """Say what was noticed on the way."""
        for note in notes:
            self.output.warn(f"note: {note}")


def user_name() -> str:
    """The name of the user who runs this, or the number when it has none."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def host_name() -> str:
    """The name of this machine."""
    return os.uname().nodename
