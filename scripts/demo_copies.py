"""Copies of files that the demonstration may change as it likes, and the changes themselves."""

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

COPIES_BYTES = 40_000_000
FILES_MAX = 3000
NEW_BYTES = 8 << 20
_SEED = 20260101


def copy_some(paths: Sequence[str], target: Path, limit_bytes: int = COPIES_BYTES) -> int:
    """Copy files from below `paths`, in order of their names, until the limit; returns how many."""
    count, left_bytes = 0, limit_bytes
    target.mkdir()
    for path in _files(paths):
        size_bytes = os.lstat(path).st_size
        if size_bytes > left_bytes:
            continue
        place = target / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
        place.chmod(place.stat().st_mode | 0o600)
        count += 1
        left_bytes -= size_bytes
        if left_bytes < limit_bytes // 100 or count == FILES_MAX:
            break
    return count


def change(copies: Path) -> dict[str, int]:
    """Append to, overwrite, rename, remove and add files; returns how many of each. The same copies change the same."""
    chance = random.Random(_SEED)
    files = sorted(path for path in copies.rglob("*") if path.is_file() and not path.is_symlink())
    changes = dict.fromkeys(("appended", "overwritten", "renamed", "removed", "added"), 0)
    for number, path in enumerate(files):
        what = {0: "appended", 7: "overwritten", 13: "renamed", 23: "removed"}.get(number % 29)
        if what is None:
            continue
        changes[what] += 1
        _change(path, what, chance)
    changes["added"] = _add(copies, files[1], chance)
    return changes


def _change(path: Path, what: str, chance: random.Random) -> None:
    if what == "appended":
        with path.open("ab") as file:
            file.write(chance.randbytes(1000))
    elif what == "overwritten":
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(chance.randbytes(100))
    elif what == "renamed":
        path.rename(path.with_name(f"renamed-{path.name}"))
    else:
        path.unlink()


def _add(copies: Path, known: Path, chance: random.Random) -> int:
    """New bytes, bytes that were seen before, a file of holes, a link, a second name, an odd name, an empty folder."""
    new = copies / "new"
    new.mkdir()
    (new / "random").write_bytes(chance.randbytes(NEW_BYTES))
    shutil.copy2(known, new / "seen-before")
    with (new / "holes").open("wb") as file:
        file.write(b"begin")
        file.truncate(32 << 20)
    (new / "link").symlink_to("nowhere/at-all")
    (new / "second-name").hardlink_to(new / "random")
    Path(os.fsdecode(os.fsencode(new) + b"/odd \xff\nname")).write_bytes(b"any byte but NUL and / may stand in a name")
    (new / "empty").mkdir(mode=0o750)
    return 7


def _files(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                file = os.path.join(folder, name)
                if not os.path.islink(file) and os.path.isfile(file) and os.access(file, os.R_OK):
                    yield file
