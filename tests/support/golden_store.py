"""The golden homes: `tests/golden/store`, two snapshots under two key epochs, and `tests/golden/nights`, with deltas of
files and of pages, and with what a prune swept and superseded.

`python -m tests.support.golden_store` makes those that are missing. A home that exists is never made again: it stands
for what users already have, and a new version of a format adds another one. (Before the first release a format may
still change: `python -m tests.support.golden_store --replace` makes them anew.)

What is in it follows from a label, but for what the file system gives: inode numbers, times of change, owners.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from shared.organisation import create
from shared.tree import FILE, LINK
from siteagent.home import Access, Home, World, open_home
from siteagent.jobs.backup import BackupRequest, back_up
from siteagent.jobs.forget import Manner, forget_named
from siteagent.jobs.initialise import NewHome, initialise
from siteagent.jobs.keys import rotate
from siteagent.jobs.prune import PruneRequest, prune
from siteagent.jobs.record import Who
from siteagent.ledger.state import SnapshotEntry
from siteagent.sources.posix import PosixView
from siteagent.sources.roots import merge_roots
from siteagent.sources.xattrs import decode_xattrs
from siteagent.store.catalog import Catalog
from siteagent.store.entry import Entry
from tests.support.determined import LabelledRandomness, StandingClock

GOLDEN = Path(__file__).parent.parent / "golden"
FOLDER = GOLDEN / "store"
NIGHTS = GOLDEN / "nights"
SOURCE = Path("/tmp/farkeep-golden-source")
EXPECTED = "expected.json"
_BEGIN_NS = 1_767_225_600_000_000_000
_LONG_AFTER_NS = 2_000_000_000_000_000_000
_NAME = "golden-files"
_NOT_KEPT = ("index", "restores", "owner")


def world(label: str) -> World:
    """Seeded chance and a clock far after every file of this machine."""
    return World(StandingClock(_LONG_AFTER_NS), LabelledRandomness(label), network_kind=lambda _: None,
                 may_start_processes=False, reserve_bytes=0)  # fmt: skip


def copy_golden(folder: Path, golden: Path = FOLDER) -> Access:
    """A copy of a golden home in `folder`, as it would stand on another machine."""
    shutil.copytree(golden / "home", folder / "home")
    shutil.copy(golden / "home.key", folder / "home.key")
    shutil.copy(golden / "home.head", folder / "home.head")
    return Access(str(folder / "home"))


def make_source(root: Path) -> None:
    """A dozen entries: a file of several chunks, one with a chunk list and holes, links, attributes, odd names."""
    (root / "empty folder").mkdir(parents=True)
    lines = [b"line %06d of a text that repeats itself\n" % number for number in range(9000)]
    (root / "several chunks").write_bytes(b"".join(lines))
    _write_sparse(root / "sparse")
    (root / "one").write_bytes(b"one chunk\n")
    os.link(root / "one", root / "two names")
    (root / "empty").write_bytes(b"")
    (root / "link").symlink_to("one")
    (root / "far link").symlink_to("a/" * 1500 + "nowhere")
    os.mkfifo(root / "fifo", 0o640)
    (Path(os.fsdecode(os.fsencode(root) + b"/odd \xff\n name"))).write_bytes(b"odd name\n")
    (root / "before 1970").write_bytes(b"old\n")
    (root / "attributes").write_bytes(b"with attributes\n")
    os.setxattr(root / "attributes", "user.short", b"value")
    os.setxattr(root / "attributes", "user.long", LabelledRandomness("golden attribute").bits(1500))
    os.chmod(root / "one", 0o4755)
    _set_times(root)


def _write_sparse(path: Path) -> None:
    with path.open("wb") as file:
        for number in range(12):
            file.seek(number * 65_536 + 8192)
            file.write(LabelledRandomness(f"golden extent {number}").bits(4096))
        file.truncate(13 * 65_536)


def _set_times(root: Path) -> None:
    paths = sorted(root.rglob("*"), key=os.fsencode, reverse=True)
    for number, path in enumerate([*paths, root]):
        time_ns = -1_234_567_891 if path.name == "before 1970" else _BEGIN_NS + number * 1_000_000_007
        os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)


def change_source(root: Path) -> None:
    """What the second snapshot finds changed."""
    (root / "new").write_bytes(b"new in the second snapshot\n")
    (root / "before 1970").unlink()
    with (root / "several chunks").open("r+b") as file:
        file.seek(200_000)
        file.write(b"CHANGED")
    _set_times(root)


def _backup(home: Home, root: Path) -> None:
    home.world.clock.sleep(3600)
    node, roots = merge_roots([os.fsencode(root)], b"/")
    view = PosixView(node, None, None)
    back_up(home, BackupRequest(_NAME, tuple(roots), view, "golden-user", "golden-host", ("golden",)))


def make_home(access: Access, root: Path, label: str) -> dict[str, Any]:
    """Make a home with two snapshots of `root`; returns what they hold."""
    made = world(label)
    organisation = create("Golden Organisation", made.randomness.bits(32))
    initialise(NewHome(access, "golden-site", organisation), made)
    make_source(root)
    with open_home(access, "backup", made) as home:
        _backup(home, root)
        rotate(home, Who("golden-user", "golden-host"), is_new_secret=False)
    change_source(root)
    with open_home(access, "backup", replace(made)) as home:
        _backup(home, root)
        return described(home)


def make_nights(access: Access, root: Path, label: str) -> dict[str, Any]:
    """Make a home with five nights of files that are edited in place, of which the first two are pruned."""
    made = world(label)
    initialise(NewHome(access, "golden-site", None), made)
    root.mkdir()
    large = bytearray(b"".join(b"row %06d with some words that repeat\n" % number for number in range(12_000)))
    small = bytearray(made.randomness.bits(6000))
    with open_home(access, "backup", made) as home:
        for night in range(5):
            for number in range(4):
                large[90_000 * number + 900 * night : 90_000 * number + 900 * night + 6] = b"EDITED"
            small[100 * night : 100 * night + 5] = b"night"
            (root / "large").write_bytes(large)
            (root / "small").write_bytes(small)
            (root / f"of night {night}").write_bytes(f"written in night {night}\n".encode() * 15_000)
            (root / f"of night {night - 2}").unlink(missing_ok=True)
            _set_times(root)
            _backup(home, root)
        ids = home.ledger.history().snapshot_ids
        entries = [entry for entry in home.ledger.history().snapshots if entry.id in ids[:2]]
        who = Who("golden-user", "golden-host")
        forget_named(home, who, entries, Manner(grace_ns=0))
        prune(home, PruneRequest(who, True))
        return described(home)


def described(home: Home) -> dict[str, Any]:
    """Every snapshot with all its entries, contents as digests, in plain JSON values."""
    return {entry.id.hex(): _snapshot(home, entry) for entry in home.ledger.history().snapshots}


def _snapshot(home: Home, entry: SnapshotEntry) -> dict[str, Any]:
    catalog, summary = home.catalog(entry), entry.summary
    assert summary is not None
    inside = [found for found in catalog.entries() if found.path.startswith(os.fsencode(SOURCE))]
    return {
        "name": summary.name, "time_ns": summary.time_ns, "quality": summary.quality, "tags": list(summary.tags),
        "previous": summary.previous_snapshot.hex(), "key_epoch": entry.taken.key_epoch, "files": summary.files,
        "entries": {_shown(found): _entry(home, catalog, found) for found in inside},
    }  # fmt: skip


def _shown(entry: Entry) -> str:
    return entry.path.removeprefix(os.fsencode(SOURCE)).decode("utf-8", "backslashreplace")


def _entry(home: Home, catalog: Catalog, entry: Entry) -> dict[str, Any]:
    values: dict[str, Any] = {"type": entry.type, "mode": entry.mode, "mtime_ns": entry.mtime_ns,
                              "is_linked": bool(entry.link_group)}  # fmt: skip
    if entry.type == FILE:
        values["size"] = entry.size
        values["content"] = blake3(b"".join(_stretches(home, catalog, entry))).hexdigest()
        values["pieces"] = [[piece.length, bool(piece.segment)] for piece in catalog.pieces(entry)]
    if entry.type == LINK:
        values["target"] = blake3(catalog.target(entry)).hexdigest()
    if attributes := catalog.xattrs(entry):
        values["xattrs"] = {os.fsdecode(name): blake3(value).hexdigest()
                            for name, value in decode_xattrs(attributes).items()}  # fmt: skip
    return values


def _stretches(home: Home, catalog: Catalog, entry: Entry) -> Iterator[bytes]:
    for piece in catalog.pieces(entry):
        yield bytes(home.reader.chunk(piece.segment, piece.chunk_id)) if piece.segment else bytes(piece.length)


def write_golden(*, is_replaced: bool) -> None:
    """Make the golden homes unless they are there."""
    for golden, make, label in ((FOLDER, make_home, "farkeep golden store 1"),
                                (NIGHTS, make_nights, "farkeep golden nights 1")):  # fmt: skip
        if is_replaced or not golden.exists():
            _write(golden, make, label)


def _write(golden: Path, make: Callable[[Access, Path, str], dict[str, Any]], label: str) -> None:
    shutil.rmtree(golden, ignore_errors=True)
    golden.mkdir(parents=True)
    try:
        expected = make(Access(str(golden / "home")), SOURCE, label)
    finally:
        shutil.rmtree(SOURCE, ignore_errors=True)
    for name in _NOT_KEPT:
        path = golden / "home" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (golden / EXPECTED).write_bytes(msgspec.json.format(msgspec.json.encode(expected), indent=1) + b"\n")
    for path in golden.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    write_golden(is_replaced="--replace" in sys.argv[1:])
