"""`make demo`: backs up a part of this machine twice, restores it and compares every byte.

Reads /usr/share and /usr/lib, never a home folder; writes only into one temporary folder (below TMPDIR), which is
removed at the end unless --keep is given. Needs neither root nor a network. Leaves with 1 when anything differs.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from scripts.demo_compare import Comparison
from scripts.demo_copies import COPIES_BYTES, NEW_BYTES, change, copy_some
from scripts.demo_selection import ROOTS, Selection, select

FARKEEP = Path(sys.executable).parent / "farkeep"
EXIT_PARTIAL = 3
RESERVE_BYTES = 100_000_000
NAME = "demo"
_SHOWN_MAX = 20
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """The demonstration cannot go on; the text says why."""


@dataclass(frozen=True)
class Demo:
    """One demonstration: its folder, what it backs up, and where things lie."""

    folder: Path
    selection: Selection

    @property
    def copies(self) -> Path:
        """What is changed between the backups."""
        return self.folder / "copies"

    def farkeep(self, *words: str | Path) -> Any:
        """Run one command of the installed program and return its JSON document.

        Work done in part is accepted where nothing is missing but what is closed to this user.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FARKEEP_", "CREDENTIALS_"))}
        command = [str(FARKEEP), "--home", str(self.folder / "home"), *map(str, words), "--json"]
        code, document, said = _run_to_end(command, kept | {"HOME": str(self.folder)})
        if code == 0:
            return json.loads(document)
        result = json.loads(document) if code == EXIT_PARTIAL else {}
        if not result or not all(map(self.selection.is_closed, map(_path, result["errors"]))):
            raise DemoError(f"`farkeep {' '.join(map(str, words))}` ended with {code}:\n{said}")
        return result

    def back_up(self) -> Any:
        """Take a snapshot of everything."""
        return self.farkeep("backup", *self.selection.paths, self.copies, "--name", NAME)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description="Backs up, restores and compares a part of /usr")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    options = parser.parse_args(arguments)
    for number in _STOPPING:
        signal.signal(number, _stop)
    started_s = time.monotonic()
    try:
        differences = _run(options.keep)
    except (DemoError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    for line in differences[:_SHOWN_MAX]:
        print(f"  {line}", file=sys.stderr)
    if differences:
        print(f"demo: {len(differences)} differences (if packages were installed meanwhile, run it again)",
              file=sys.stderr)  # fmt: skip
        return 1
    print(f"everything came back as it was; {time.monotonic() - started_s:.0f} s in all")
    return 0


def _run(is_kept: bool) -> list[str]:
    selection = select()
    if not selection.files:
        raise DemoError(f"nothing to back up in {' and '.join(ROOTS)}")
    _check_room(selection)
    folder = Path(tempfile.mkdtemp(prefix="farkeep-demo-")).resolve()
    try:
        return _demonstrate(Demo(folder, selection))
    finally:
        if is_kept:
            print(f"kept: {folder} (home, key, copies, restored trees)")
        else:
            _remove(folder)


def _demonstrate(demo: Demo) -> list[str]:
    selection = demo.selection
    what = "/usr/share and /usr/lib" if selection.is_whole else f"{len(selection.paths)} folders of /usr"
    _say("source", f"{selection.files:,} files, {_size(selection.size_bytes)}, of {what}")
    if selection.unreadable:
        _say("", f"{len(selection.unreadable)} entries are closed to this user and will be left out")
    copied = copy_some(selection.paths, demo.copies)
    shutil.copytree(demo.copies, demo.folder / "before", symlinks=True)
    _say("copies", f"{copied:,} files, to be changed between the backups")

    demo.farkeep("init", "--site", NAME, "--recovery-out", demo.folder / "recovery")
    first = demo.back_up()
    _say("first backup", _rate(first, first["bytes_read"]))
    _say("", _figures(first))
    changes = change(demo.copies)
    _say("changes", ", ".join(f"{count:,} {name}" for name, count in changes.items()))
    second = demo.back_up()
    _say("second backup", _rate(second, second["bytes_seen"]))
    _say("", _figures(second))

    _list(demo, first, second)
    verified = demo.farkeep("verify", "--read-data")
    _say("verify", f"{verified['segments_checked']:,} segments, {_size(verified['bytes_read'])} read back, "
                   f"{len(verified['damaged'])} damaged, {verified['seconds']:.1f} s")  # fmt: skip
    return _restore_and_compare(demo, first, second)


def _list(demo: Demo, first: Any, second: Any) -> None:
    snapshots = demo.farkeep("snapshots", "--name", NAME)
    if [row["snapshot"] for row in snapshots] != [first["snapshot"], second["snapshot"]]:
        raise DemoError(f"`farkeep snapshots` does not show the two snapshots that were taken: {snapshots}")
    for row in snapshots:
        _say("snapshot", f"{row['snapshot'][:12]} {row['time'][:19]} {row['files']:,} files, "
                         f"{_size(row['bytes_seen'])}, {row['quality']}")  # fmt: skip
    started_s = time.monotonic()
    entries = len(demo.farkeep("ls", second["snapshot"]))
    _say("listing", f"{entries:,} entries in {time.monotonic() - started_s:.1f} s")


def _restore_and_compare(demo: Demo, first: Any, second: Any) -> list[str]:
    """Restore the newest snapshot whole and the copies as they were before the changes; compare both."""
    restored, earlier = demo.folder / "restored", demo.folder / "earlier"
    result = demo.farkeep("restore", second["snapshot"], "--to", restored)
    _say("restore", _rate(result, result["bytes_written"]) + f", {result['files']:,} files")
    if result["not_applied"]:
        _say("", f"{result['not_applied']:,} owners and attributes need root and were left out")
    demo.farkeep("restore", f"{first['snapshot']}:{demo.copies}", "--to", earlier)

    comparison = Comparison(demo.selection.unreadable)
    for path in (*demo.selection.paths, str(demo.copies)):
        comparison.compare(path, f"{restored}{path}")
    comparison.compare(str(demo.folder / "before"), str(earlier))
    _say("comparison", f"{comparison.files:,} files, {comparison.folders:,} folders, {comparison.others:,} links, "
                       f"{_size(comparison.bytes)}, {len(comparison.differences)} differences")  # fmt: skip
    return comparison.differences


def _check_room(selection: Selection) -> None:
    place = tempfile.gettempdir()
    needed_bytes = 2 * selection.size_bytes + 5 * (COPIES_BYTES + NEW_BYTES) + RESERVE_BYTES
    free_bytes = shutil.disk_usage(place).free
    if free_bytes < needed_bytes:
        raise DemoError(f"{_size(needed_bytes)} of room are needed in {place}, {_size(free_bytes)} are free: "
                        "name a larger folder in TMPDIR")  # fmt: skip


def _path(entry: Any) -> str:
    return os.fsdecode(b64decode(entry["path_bytes"])) if "path_bytes" in entry else str(entry["path"])


def _rate(result: Any, size_bytes: int) -> str:
    return f"{result['seconds']:.1f} s, {_size(size_bytes / max(result['seconds'], 0.001))}/s"


def _figures(result: Any) -> str:
    entries = ", ".join(f"{count:,} {name}" for name, count in result["counts"].items() if count)
    sizes = ", ".join(f"{_size(result[f'bytes_{name}'])} {name}" for name in ("seen", "read", "new", "stored"))
    return f"{sizes}; entries: {entries}"


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 100e6 else f"{size_bytes / 1e6:,.0f} MB"


def _say(what: str, text: str) -> None:
    print(f"{what:<14} {text}", flush=True)


def _remove(folder: Path) -> None:
    """Remove the folder, also where a restored folder's own mode forbids it."""
    for place, folders, _ in os.walk(folder):
        for name in folders:
            path = os.path.join(place, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(folder)


def _run_to_end(command: Sequence[str], environment: dict[str, str]) -> tuple[int, bytes, str]:
    """Exit code, standard output and standard error; the command is ended in order when this process is to end."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        try:
            stdout, stderr = process.communicate()
        except BaseException:
            process.terminate()
            raise
    return process.returncode, stdout, stderr.decode("utf-8", "backslashreplace").strip()


def _stop(number: int, _frame: FrameType | None) -> None:
    """End, once: what follows is the removal of the folder, which nothing may cut off."""
    for stopping in _STOPPING:
        signal.signal(stopping, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
