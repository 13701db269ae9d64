"""What the demonstration backs up: /usr/share and /usr/lib, or as many of their parts as fit a limit."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ROOTS = ("/usr/share", "/usr/lib")
LIMIT_BYTES = 500_000_000
_SMALLEST_BYTES = 16384


@dataclass(frozen=True)
class Selection:
    """The paths to back up, and what lies below them. `unreadable`: files and folders that are closed to this user."""

    paths: tuple[str, ...]
    is_whole: bool
    files: int
    size_bytes: int
    unreadable: frozenset[str]

    def is_closed(self, path: str) -> bool:
        """True when this user cannot read the entry, or cannot even get there."""
        return any(path == closed or path.startswith(closed + "/") for closed in self.unreadable)


@dataclass
class _Measure:
    """What was found below one path; `load_bytes` counts small files as 16 KiB, for they take their time too."""

    files: int = 0
    size_bytes: int = 0
    load_bytes: int = 0


def select(roots: Sequence[str] = ROOTS, limit_bytes: int = LIMIT_BYTES) -> Selection:
    """Choose all of the roots if they fit, else of each the children, by name, that fit its equal part of the limit."""
    present = [root for root in roots if os.path.isdir(root) and not os.path.islink(root)]
    unreadable: set[str] = set()
    measures = {root: _measure(root, limit_bytes, unreadable) for root in present}
    is_whole = sum(measure.load_bytes for measure in measures.values()) <= limit_bytes
    if not is_whole:
        unreadable.clear()
        measures = {}
        for root in present:
            measures |= _fitting_children(root, limit_bytes // len(present), unreadable)
    return Selection(
        paths=tuple(measures),
        is_whole=is_whole,
        files=sum(measure.files for measure in measures.values()),
        size_bytes=sum(measure.size_bytes for measure in measures.values()),
        unreadable=frozenset(unreadable),
    )


def _fitting_children(root: str, limit_bytes: int, unreadable: set[str]) -> dict[str, _Measure]:
    chosen: dict[str, _Measure] = {}
    for name in sorted(os.listdir(root)):
        path, closed = os.path.join(root, name), set[str]()
        if os.path.islink(path):
            continue
        measure = _measure(path, limit_bytes, closed)
        if measure.load_bytes <= limit_bytes:
            limit_bytes -= measure.load_bytes
            chosen[path] = measure
            unreadable |= closed
    return chosen


def _measure(path: str, limit_bytes: int, unreadable: set[str]) -> _Measure:
    """Count what lies below `path`, but no further than the limit."""
    measure = _Measure()
    for size_bytes in _sizes(path, unreadable):
        measure.files += 1
        measure.size_bytes += size_bytes
        measure.load_bytes += max(size_bytes, _SMALLEST_BYTES)
        if measure.load_bytes > limit_bytes:
            break
    return measure


def _sizes(path: str, unreadable: set[str]) -> Iterator[int]:
    """The sizes of the regular files at or below `path`."""
    if not os.path.isdir(path):
        if not os.access(path, os.R_OK):
            unreadable.add(path)
        yield os.lstat(path).st_size
        return
    if not os.access(path, os.R_OK | os.X_OK):
        unreadable.add(path)
        return
    entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _sizes(entry.path, unreadable)
        elif entry.is_file(follow_symlinks=False):
            if not os.access(entry.path, os.R_OK):
                unreadable.add(entry.path)
            yield entry.stat(follow_symlinks=False).st_size
