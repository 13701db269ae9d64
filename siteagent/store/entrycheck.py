"""What every page of entries must say, whoever wrote it: keys that rise, numbers that a system knows, whole references.

A page that says otherwise is refused as one, before anything of it is used. Names are not judged here: one bad name
costs its entry where it is used, and `farkeep verify` names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import ge

from shared.errors import HostileError
from shared.tree import BLOCK_DEVICE, FILE, FOLDER_KEY_MAX_BYTES, key_of

_U32, _U63, _U64, _TIME = (1 << 32) - 1, (1 << 63) - 1, (1 << 64) - 1, (1 << 63) * 10**9
LIMITS = {
    4: (FILE, BLOCK_DEVICE), 5: (0, _U32), 6: (0, _U32), 7: (0, _U32), 8: (0, _U63), 9: (-_TIME, _TIME),
    10: (-_TIME, _TIME), 11: (0, _U64), 12: (0, (1 << 127) - 1), 13: (0, _U64), 14: (0, _U32),
}  # fmt: skip
"""Smallest and largest value of each integer column of an entry page (siteagent.store.page)."""
_TREE_BYTES, _OUTSIDE_BYTES = 33, 37
Folders = Sequence[tuple[bytes, int, int]]


def require_order(folders: Folders, names: list[bytes]) -> None:
    """Raise HostileError unless folders (key, first row, row beyond the last) and the names in each of them rise."""
    keys = [folder for folder, _, _ in folders]
    if any(map(ge, keys, keys[1:])) or max(map(len, keys), default=0) > FOLDER_KEY_MAX_BYTES:
        raise _hostile("the folders of a page are out of order or nested too deep")
    for _, start, stop in folders:
        if any(map(ge, names[start : stop - 1], names[start + 1 : stop])):
            raise _hostile("the names of a page are out of order, or one is there twice")


def require_references(ids: list[bytes], lengths: Sequence[Sequence[int]], trees: list[bytes],
                       *values: list[bytes]) -> None:
    """Raise HostileError unless chunk lengths are positive and references are whole."""
    if any(trees) and any(tree and (len(tree) != _TREE_BYTES or own) for tree, own in zip(trees, ids, strict=True)):
        raise _hostile("an entry names a chunk list that cannot be one")
    if any(min(row) < 1 for row in lengths if row):
        raise _hostile("an entry names chunks of no length")
    for column in values:
        if any(column) and any(value[:1] not in b"\0\1" or (value[:1] == b"\1" and len(value) != _OUTSIDE_BYTES)
                               for value in column):  # fmt: skip
            raise _hostile("an entry has a value that is neither here nor elsewhere")


def first_key(folders: Folders, names: list[bytes]) -> bytes:
    """The key of a page's first entry; empty for an empty page."""
    return key_of(folders[0][0], names[0]) if names else b""


def last_key(folders: Folders, names: list[bytes]) -> bytes:
    """The key of a page's last entry; empty for an empty page."""
    return key_of(folders[-1][0], names[-1]) if names else b""


def _hostile(what: str) -> HostileError:
    return HostileError(what, next_step="do not trust where this came from; run `farkeep verify`")
