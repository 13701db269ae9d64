"""Reach: the set of segments a snapshot needs, data and catalog, delta bases closed over. Truth, not cache.

A reach is a file `reaches/<snapshot id>`, written and synced before the commit and named by its digest in the snapshot
fact. It is clear: a custodian without keys collects what it must hold from it.
```
offset size
0      4     magic "FKrc"
4      1     format version, 1
5      3     reserved, 0
8      16    site
24     16    snapshot
40     16    snapshot whose reach this one differs from; zeros: this one is whole
56     4     number of steps down to a whole one (0: whole; at most 32)
60     4     number of segments in the whole set, after applying
64     ...   columns (siteagent.store.columns): 1 to 3 added names, 4 to 6 removed names (siteagent.store.nameruns)
last 32      BLAKE3 of everything before
```
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from blake3 import blake3
from msgspec import Struct

from shared.errors import DamagedError, HostileError, NewerFormatError
from siteagent.store.columns import Columns, encode_columns
from siteagent.store.nameruns import decode_names, encode_names
from siteagent.store.names import SegmentName

MAGIC, VERSION = b"FKrc", 1
STEPS_MAX = 32
BLOCK_BYTES = 4096
"""What a small file takes on most disks, however small it is."""
BYTES_MAX = 256 << 20
_HEAD = struct.Struct("<4sB3s16s16s16sII")
_KNOWN = frozenset(range(1, 7))
_NONE = bytes(16)


class Reach(Struct, frozen=True):
    """A decoded reach file: whole, or a difference to the reach of `base`."""

    site: bytes
    snapshot: bytes
    base: bytes
    steps: int
    total: int
    added: frozenset[SegmentName]
    removed: frozenset[SegmentName]


def new_reach(site: bytes, snapshot: bytes, segments: set[SegmentName], base: Reach | None,
              base_segments: set[SegmentName]) -> Reach:
    """The reach file for `segments`: whole where that fits into one block of the disk, else as `difference`.

    A difference keeps the reach of a snapshot that was swept meanwhile on the disk.
    """
    if len(segments) <= 8 * BLOCK_BYTES:
        whole = difference(site, snapshot, segments, None, set())
        if len(encode_reach(whole)) <= BLOCK_BYTES:
            return whole
    return difference(site, snapshot, segments, base, base_segments)


def difference(site: bytes, snapshot: bytes, segments: set[SegmentName], base: Reach | None,
               base_segments: set[SegmentName]) -> Reach:
    """The reach file for `segments`: a difference to `base` where that is smaller and not too many steps away."""
    if base is not None and base.steps < STEPS_MAX:
        added, removed = frozenset(segments - base_segments), frozenset(base_segments - segments)
        if 2 * (len(added) + len(removed)) <= len(segments):
            return Reach(site, snapshot, base.snapshot, base.steps + 1, len(segments), added, removed)
    return Reach(site, snapshot, b"", 0, len(segments), frozenset(segments), frozenset())


def apply(reach: Reach, load: Callable[[bytes], Reach]) -> set[SegmentName]:
    """The whole set, loading the reaches it differs from; raises DamagedError when they do not add up."""
    chain = [reach]
    while chain[-1].base:
        below = load(chain[-1].base)
        if below.steps != chain[-1].steps - 1:
            raise _damaged("a reach rests on another one than it should", chain[-1].snapshot)
        chain.append(below)
    segments: set[SegmentName] = set()
    for link in reversed(chain):
        segments -= link.removed
        segments |= link.added
    if len(segments) != reach.total:
        raise _damaged("a reach does not add up to its stated size", reach.snapshot)
    return segments


def encode_reach(reach: Reach) -> bytes:
    """The bytes of a reach file."""
    head = _HEAD.pack(MAGIC, VERSION, bytes(3), reach.site, reach.snapshot, reach.base or _NONE, reach.steps,
                      reach.total)  # fmt: skip
    body = head + encode_columns(encode_names(1, reach.added) + encode_names(4, reach.removed))
    return body + blake3(body).digest()


def decode_reach(data: bytes, subject: str) -> Reach:
    """Parse a reach file; raises DamagedError or HostileError."""
    if len(data) < _HEAD.size + 32 or data[:4] != MAGIC or blake3(data[:-32]).digest() != data[-32:]:
        raise DamagedError("a reach is not what was written", subject=subject,
                           next_step="run `farkeep verify`; restore this file from a copy or a partner")
    _, version, _, site, snapshot, base, steps, total = _HEAD.unpack(data[: _HEAD.size])
    if version > VERSION:
        raise NewerFormatError(f"a reach has format {version}, newer than this version knows", subject=subject,
                               next_step="update Farkeep on this machine")
    if steps > STEPS_MAX:
        raise HostileError(f"a reach is {steps} steps from one that is whole", subject=subject,
                           next_step="do not trust where this came from; run `farkeep verify`")
    columns = Columns(memoryview(data)[_HEAD.size : -32], _KNOWN)
    return Reach(site, snapshot, b"" if base == _NONE else base, steps, total,
                 frozenset(decode_names(columns, 1)), frozenset(decode_names(columns, 4)))  # fmt: skip


def _damaged(what: str, snapshot: bytes) -> DamagedError:
    return DamagedError(what, subject=f"reaches/{snapshot.hex()}",
                        next_step="run `farkeep verify`; restore this file from a copy or a partner")
