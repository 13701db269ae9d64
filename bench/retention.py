"""What a home costs after two simulated years of daily, weekly, monthly and yearly retention, beside what is live.

`python -m bench.retention` (minutes; `--days 120` is a short form) takes a snapshot a day of a changing source, forgets
what the rules drop and prunes at once, with the installed command. What is live is what a fresh home costs that was
given only the snapshots that are left, in order. Prints both, their ratio (at most 1.25), and the bytes written again.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.place import folder_size

FILES, CHANGES = 200, 6
RATIO_MAX = 1.25
_STORE = ("packs", "snapshots", "reaches", "changes")


class Site:
    """A home and the command that works on it."""

    def __init__(self, program: str, home: Path) -> None:
        self._program, self.home = program, home
        self.run("init", "--site", "bench", "--no-recovery")

    def run(self, *words: str) -> Any:
        """Run a command; returns its document."""
        command = (self._program, "--home", str(self.home), "--json", "--quiet", *words)
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    def backup(self, source: Path) -> str:
        """Take a snapshot; returns its id."""
        return str(self.run("backup", str(source), "--name", "bench")["snapshot"])

    def size_bytes(self) -> int:
        """What packs, manifests and reaches take on the disk."""
        return sum(folder_size(self.home / name).allocated_bytes for name in _STORE)


class Source:
    """Text-like files of which some change every day, a log that grows, a database that is written into."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self._chance = folder, random.Random(seed)
        self._words = [self._chance.randbytes(6).hex().encode() for _ in range(3000)]
        folder.mkdir()
        for number in range(FILES):
            self._write(number)
        (folder / "database").write_bytes(self._chance.randbytes(2_000_000))

    def _text(self, size_bytes: int) -> bytes:
        return b" ".join(self._chance.choices(self._words, k=size_bytes // 13))

    def _write(self, number: int) -> None:
        (self.folder / f"file {number}").write_bytes(self._text(self._chance.randrange(500, 30_000)))

    def spend_a_day(self) -> None:
        """Change a few things."""
        for _ in range(CHANGES):
            self._write(self._chance.randrange(FILES))
        with (self.folder / "log").open("ab") as log:
            log.write(self._text(5_000))
        with (self.folder / "database").open("r+b") as database:
            for _ in range(3):
                database.seek(self._chance.randrange(1_990_000))
                database.write(self._chance.randbytes(5_000))


def is_kept(day: int, today: int) -> bool:
    """Seven daily, five weekly, twelve monthly, all yearly ones."""
    age = today - day
    return age < 7 or (day % 7 == 0 and age < 35) or (day % 30 == 0 and age < 365) or day % 365 == 0


def simulate(program: str, folder: Path, days: int, seed: int) -> tuple[int, int, int]:
    """Bytes of the home, bytes of a fresh one with what is left, bytes that prunes wrote again."""
    site, source = Site(program, folder / "home"), Source(folder / "source", seed)
    kept: dict[int, str] = {}
    rewritten = 0
    for day in range(days):
        source.spend_a_day()
        kept[day] = site.backup(source.folder)
        shutil.copytree(source.folder, folder / f"day {day}")
        gone = [other for other in kept if not is_kept(other, day)]
        if gone:
            site.run("forget", *(kept.pop(other) for other in gone))
            rewritten += site.run("prune", "--now")["bytes_rewritten"]
            for other in gone:
                shutil.rmtree(folder / f"day {other}")
    fresh = Site(program, folder / "fresh")
    for day in kept:
        shutil.rmtree(source.folder)
        shutil.copytree(folder / f"day {day}", source.folder)
        fresh.backup(source.folder)
    return site.size_bytes(), fresh.size_bytes(), rewritten


def main() -> int:
    """Run; status 1 when the ratio is above the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default=os.path.join(os.path.dirname(sys.executable), "farkeep"))
    options = parser.parse_args()
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="farkeep-retention-", dir=base) as folder:
        size, live, rewritten = simulate(options.program, Path(folder), options.days, options.seed)
    print(f"{options.days} days: {size:,} bytes, live {live:,}, ratio {size / live:.3f} (at most {RATIO_MAX}), "
          f"written again {rewritten:,}")  # fmt: skip
    return int(size > RATIO_MAX * live)


if __name__ == "__main__":
    sys.exit(main())
