"""What one benchmark run is asked to do, and whether the machine has room for it."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.tools import TOOL_NAMES

SETS = ("small", "big")
ALLOCATED_BYTES = {"small": 720_000_000, "big": 1_620_000_000}
QUICK_SCALES = {"small": 0.1, "big": 0.0625}
MEMORY_RESERVE_BYTES = 4 << 30


class CannotStartError(Exception):
    """The run cannot start; the text says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """The settings of one run; `disk` is the folder of the real-disk column, None to leave that out."""

    sets: tuple[str, ...]
    tools: tuple[str, ...]
    pairs: int
    is_quick: bool
    is_kept: bool
    work: Path
    disk: Path | None
    json_file: Path | None
    farkeep: Path

    def scale(self, data_set: str) -> float:
        """Return the share of the full size `data_set` is made with."""
        return QUICK_SCALES[data_set] if self.is_quick else 1.0

    def needed_bytes(self) -> int:
        """Return the room the largest set needs: itself, one restored tree and a repository of every tool."""
        largest = max(ALLOCATED_BYTES[name] * self.scale(name) for name in self.sets)
        return round(largest * (2.2 + 1.1 * len(self.tools)))

    def check_room(self) -> None:
        """Raise CannotStartError unless the work folder, and the memory behind it if it is a tmpfs, has room."""
        free_bytes = _free_bytes(self.work)
        if file_system_type(self.work) == "tmpfs":
            free_bytes = min(free_bytes, _available_memory_bytes() - MEMORY_RESERVE_BYTES)
        if free_bytes < self.needed_bytes():
            raise CannotStartError(
                f"{self.work} has {free_bytes / 1e9:.1f} GB to spare, {self.needed_bytes() / 1e9:.1f} GB are needed: "
                "name another folder with --work, fewer tools with --tools, or use --quick"
            )


def read_plan(arguments: Sequence[str]) -> Plan:
    """Read the command line; argparse ends the process with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="bench.driver", description="Measures farkeep beside other backup tools")
    parser.add_argument("--quick", action="store_true", help="8 000 files and 96 MiB, 3 pairs, farkeep and restic only")
    parser.add_argument("--only", choices=SETS, help="one of the two data sets")
    parser.add_argument("--tools", help=f"comma-separated, of {','.join(TOOL_NAMES)}")
    parser.add_argument("--pairs", type=int, help="rounds over all tools (5; quick: 3)")
    parser.add_argument("--keep", action="store_true", help="keep data, repositories and restored trees")
    parser.add_argument("--work", type=Path, default=Path("/dev/shm"), help="where to work: a tmpfs (/dev/shm)")
    parser.add_argument("--disk", type=Path, help="folder of the real-disk column ($TMPDIR or /var/tmp)")
    parser.add_argument("--no-disk", action="store_true", help="leave the real-disk column out")
    parser.add_argument("--json", type=Path, dest="json_file", help="also write every figure to this file")
    beside_python = Path(sys.executable).parent / "farkeep"
    parser.add_argument("--farkeep", type=Path, default=beside_python, help="the installed script to measure")
    options = parser.parse_args(arguments)
    default_tools = ("farkeep", "restic") if options.quick else TOOL_NAMES
    tools = tuple(options.tools.split(",")) if options.tools else default_tools
    if unknown := sorted(set(tools) - set(TOOL_NAMES)):
        parser.error(f"unknown tool: {', '.join(unknown)}")
    pairs = (3 if options.quick else 5) if options.pairs is None else options.pairs
    if pairs < 1:
        parser.error("--pairs has to be 1 or more")
    return Plan(
        sets=(options.only,) if options.only else SETS,
        tools=tools,
        pairs=pairs,
        is_quick=options.quick,
        is_kept=options.keep,
        work=options.work.absolute(),
        disk=None if options.no_disk or options.quick else (options.disk or _disk_folder()).absolute(),
        json_file=options.json_file,
        farkeep=options.farkeep.absolute(),
    )


def file_system_type(folder: Path) -> str:
    """Return the type of the file system `folder` lies on, from /proc/mounts; "" if that cannot be told."""
    wanted = str(folder.resolve())
    best, found = "", ""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        is_below = mount == "/" or wanted == mount or wanted.startswith(mount + "/")
        if is_below and len(mount) >= len(best):
            best, found = mount, kind
    return found


def _disk_folder() -> Path:
    folder = Path(os.environ.get("TMPDIR", "/var/tmp"))
    return Path("/var/tmp") if file_system_type(folder) == "tmpfs" else folder


def _free_bytes(folder: Path) -> int:
    if not folder.is_dir():
        raise CannotStartError(f"{folder}: no such folder; name an existing one with --work")
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _available_memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
