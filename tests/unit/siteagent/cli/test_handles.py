"""Whatever a command opens it closes."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from siteagent.store.chunker import WHOLE_FILE_MAX_BYTES
from tests.support.command_line import CommandLine
from tests.support.homes import incompressible


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Every kind of file that needs a handle of its own: small, of many chunks, linked, special, with holes."""
    root = tmp_path / "source"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "small").write_bytes(b"some text " * 50)
    (root / "large").write_bytes(incompressible("handles", 3 * WHOLE_FILE_MAX_BYTES))
    os.link(root / "large", root / "linked")
    os.symlink("large", root / "link")
    os.mkfifo(root / "fifo")
    with (root / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"after a hole")
    return root


def _handles() -> list[str]:
    """What this process has open, but for the folder that is being read here."""
    gc.collect()
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return sorted(found)


def _spoil(source: Path, target: Path, turn: int) -> None:
    """Change something of the source, and what was restored before in every way that a restore mends."""
    (source / "folder" / "small").write_bytes(b"other text %d" % turn)
    restored = target / str(source)[1:]
    if restored.exists():
        (restored / "large").write_bytes(b"something else")
        (restored / "fifo").unlink()
        (restored / "fifo").write_bytes(b"no fifo")
        (restored / "link").unlink()
        (restored / "sparse").chmod(0o600)
        (restored / "extra").write_bytes(b"not in the snapshot")


def test_no_command_leaves_a_file_open(source: Path, tmp_path: Path) -> None:
    """Run three times; the first time loads libraries that keep files of their own open."""
    command, target = CommandLine(tmp_path / "home"), tmp_path / "target"
    command.good("init", "--site", "london", "--no-recovery")
    words: list[Callable[[], tuple[str | Path, ...]]] = [
        lambda: ("backup", source, "--name", "docs"),
        lambda: ("backup", source, "--name", "docs", "--rehash"),
        lambda: ("restore", "docs@latest", "--to", target, "--delete"),
        lambda: ("restore", "docs@latest", "--to", target, "--dry-run"),
        lambda: ("verify", "--read-data"), lambda: ("ls", "docs@latest", "--limit", "1000"),
        lambda: ("find", "small"), lambda: ("history", source / "folder" / "small"),
        lambda: ("forget", "--keep", "last 2"), lambda: ("prune", "--now"),
        lambda: ("repair", "index"), lambda: ("repair", "packs"), lambda: ("audit", "verify"),
        lambda: ("key", "rotate"), lambda: ("events",), lambda: ("stats",),
    ]  # fmt: skip
    for turn in range(3):
        _spoil(source, target, turn)
        for each in words:
            before = _handles()
            answer = command(*each())
            assert answer.code == 0, (each(), answer)
            assert turn == 0 or _handles() == before, each()
