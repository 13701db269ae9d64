"""Thirty nights of a real SQLite database: what each night stores, and how long the last one takes to come back.

`python -m bench.nights [--mib N] [--nights N] [--folder DIR] [--seed N]`. Every night 2 % of the rows are updated in
place. Beside each night stands what `zstd -3 --long=30 --patch-from` of the previous night's file makes of it, where
that program is there. The last night is restored from the home with all nights and from a home that holds nothing else
(a plain snapshot), in turns; both are compared with the database.
"""

import argparse
import json
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Command, measure
from bench.place import Job, Place
from bench.tools import Farkeep

ROW_BYTES = 400
UPDATED_SHARE = 0.02
RESTORES = 3


@dataclass(frozen=True)
class Night:
    """Bytes stored by one night, bytes of the patch that zstd makes of it (0: not made), and seconds."""

    stored_bytes: int
    patch_bytes: int
    wall_s: float


def make_database(path: Path, size_bytes: int, chance: random.Random) -> int:
    """Make a database of about this size; returns its number of rows."""
    rows = size_bytes // (ROW_BYTES + 40)
    with sqlite3.connect(path) as database:
        database.execute("create table item (id integer primary key, name text, amount integer, body blob)")
        database.executemany(
            "insert into item values (?, ?, ?, ?)",
            ((n, f"item {n} of {chance.randrange(1000)}", chance.randrange(10**6), _body(chance)) for n in range(rows)),
        )
        database.execute("create index by_amount on item (amount)")
    return rows


def _body(chance: random.Random) -> bytes:
    return chance.randbytes(ROW_BYTES * 3 // 4) + b"a part that shrinks " * (ROW_BYTES // 80)


def update_rows(path: Path, rows: int, chance: random.Random) -> None:
    """Update a random share of the rows in place."""
    with sqlite3.connect(path) as database:
        for row in chance.sample(range(rows), round(rows * UPDATED_SHARE)):
            database.execute("update item set amount = ?, body = ? where id = ?",
                             (chance.randrange(10**6), _body(chance), row))  # fmt: skip


class Nights:
    """One run below `folder`."""

    def __init__(self, folder: Path, tool: Farkeep, seed: int) -> None:
        self._folder, self._tool, self._chance = folder, tool, random.Random(seed)
        self._source = folder / "source"
        self._source.mkdir()
        self._database = self._source / "base.sqlite"
        self._zstd = shutil.which("zstd")
        self._nightly = self._place("nightly")

    def _place(self, name: str) -> Place:
        place = Place(self._folder / name)
        place.prepare()
        self._run(self._tool.initialise(place))
        return place

    def _run(self, command: Command) -> tuple[float, dict[str, int]]:
        output = self._folder / "output"
        usage = measure(command, output)
        text = output.read_text()
        return usage.wall_s, json.loads(text[text.index("{") :].splitlines()[0]) if "{" in text else {}

    def run(self, size_bytes: int, nights: int) -> list[Night]:
        """Make the database, then back it up night after night."""
        rows = make_database(self._database, size_bytes, self._chance)
        found = []
        for number in range(nights):
            before = self._folder / "before"
            if number:
                shutil.copyfile(self._database, before)
                update_rows(self._database, rows, self._chance)
            wall_s, result = self._run(self._tool.backup(Job(self._nightly, self._source, "nights")))
            found.append(Night(result["bytes_stored"], self._patch_bytes(before) if number else 0, wall_s))
        return found

    def _patch_bytes(self, before: Path) -> int:
        if self._zstd is None:
            return 0
        patch = self._folder / "patch"
        arguments = (self._zstd, "-q", "-f", "-3", "--long=30", f"--patch-from={before}", str(self._database), "-o",
                     str(patch))  # fmt: skip
        measure(Command(arguments), self._folder / "output")
        return patch.stat().st_size

    def restores(self) -> tuple[float, float]:
        """Median seconds of restoring the last night: from all nights, from a home with that night alone."""
        alone = self._place("alone")
        self._run(self._tool.backup(Job(alone, self._source, "nights")))
        seconds: dict[str, list[float]] = {"nightly": [], "alone": []}
        for _ in range(RESTORES):
            for name, place in (("nightly", self._nightly), ("alone", alone)):
                job = Job(place, self._source, "nights")
                seconds[name].append(self._run(self._tool.restore(job))[0])
                if (job.target / self._database.name).read_bytes() != self._database.read_bytes():
                    raise SystemExit(f"the restored database differs ({name})")
                shutil.rmtree(job.target)
        return statistics.median(seconds["nightly"]), statistics.median(seconds["alone"])


def report(found: Sequence[Night], restored: tuple[float, float]) -> list[str]:
    """The lines that are printed."""
    later = [night.stored_bytes for night in found[1:]]
    lines = ["night  stored bytes  patch bytes  ratio  seconds"]
    for number, night in enumerate(found, 1):
        ratio = f"{night.stored_bytes / night.patch_bytes:5.2f}" if night.patch_bytes else "    -"
        lines.append(f"{number:5}  {night.stored_bytes:12}  {night.patch_bytes:11}  {ratio}  {night.wall_s:7.2f}")
    first_ratio = f"{later[0] / found[1].patch_bytes:.2f}" if found[1].patch_bytes else "not measured: no zstd"
    lines += [
        f"second night against zstd --patch-from: {first_ratio} (bar: 1.70)",
        f"largest night against the median night: {max(later) / statistics.median(later):.2f} (bar: 10)",
        f"last night restored: {restored[0]:.2f} s; from a plain snapshot: {restored[1]:.2f} s; "
        f"ratio {restored[0] / restored[1]:.2f} (bar: 1.60)",
    ]
    return lines


def main(words: Sequence[str]) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.nights", description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args(words)
    tool = Farkeep(Path(sys.prefix) / "bin" / "farkeep")
    with tempfile.TemporaryDirectory(prefix="farkeep-nights-", dir=options.folder) as folder:
        nights = Nights(Path(folder), tool, options.seed)
        found = nights.run(options.mib << 20, options.nights)
        print("\n".join(report(found, nights.restores())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
