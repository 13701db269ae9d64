"""The chunk-and-frame table of a segment (sealed before the body; rebuilding an index reads tables only).

```
offset size
0      1    version, 1
1      1    reserved, 0
2      2    number of frames
4      4    number of chunks
8      ...  columns (siteagent.store.columns)
```
Columns: 1 frame codec, 2 plain length, 3 stored length, 4 depth of the delta, 5 base list of the frame (blob, empty
for plain frames); 10 chunk id (32 bytes fixed), 11 frame number of each chunk, 12 chunk length; 13 side record of each
page (blob; catalog segments only); 20 names of base segments (20 bytes fixed), 21 names in the closure of all bases.
Chunks lie in their frame in table order, without gaps. A frame's base list is described in siteagent.store.delta; the
closure of all bases holds the base segments and what those rest on in turn.
"""

from __future__ import annotations

from itertools import accumulate

from msgspec import Struct, field

from shared.errors import HostileError
from siteagent.store.columns import BLOBS, FIXED, INTEGERS, Columns, blobs, damaged, encode_columns, fixed, integers
from siteagent.store.frame import FRAME_BYTES_MAX
from siteagent.store.names import NAME_BYTES, SegmentName

ID_BYTES = 32
VERSION = 1
CHUNKS_MAX = 1 << 17
FRAMES_MAX = 1 << 12
DEPTH_MAX, CLOSURE_MAX, BASES_MAX = 4, 16, 8
_KNOWN = frozenset((1, 2, 3, 4, 5, 10, 11, 12, 13, 20, 21))


class Frame(Struct, frozen=True):
    """One frame's row: codec, plain and stored length in bytes, delta depth, encoded base list."""

    codec: int
    plain_bytes: int
    stored_bytes: int
    depth: int = 0
    bases: bytes = b""


class Table(Struct, frozen=True):
    """A segment's table: frames, and chunks as joined ids with frame number and length per chunk."""

    frames: list[Frame]
    ids: bytes
    chunk_frames: list[int]
    lengths: list[int]
    sides: list[bytes] = field(default_factory=list)
    bases: tuple[SegmentName, ...] = ()
    closure: tuple[SegmentName, ...] = ()

    def __len__(self) -> int:
        return len(self.lengths)

    def chunk_id(self, place: int) -> bytes:
        """Id of the chunk at `place`."""
        return self.ids[place * ID_BYTES : (place + 1) * ID_BYTES]

    def frame_starts(self) -> list[int]:
        """Offset of each frame within the body."""
        return [0, *accumulate(frame.stored_bytes for frame in self.frames)]

    def offsets(self) -> list[int]:
        """Offset of each chunk within its frame's plaintext."""
        if len(self.frames) == 1:
            return [0, *accumulate(self.lengths[:-1])]
        used = [0] * len(self.frames)
        result = []
        for frame, length in zip(self.chunk_frames, self.lengths, strict=True):
            result.append(used[frame])
            used[frame] += length
        return result


def encode_table(table: Table) -> bytes:
    """Encode a table."""
    frames = table.frames
    columns = [
        (1, INTEGERS, 1, integers([frame.codec for frame in frames])),
        (2, INTEGERS, 1, integers([frame.plain_bytes for frame in frames])),
        (3, INTEGERS, 1, integers([frame.stored_bytes for frame in frames])),
        (4, INTEGERS, 1, integers([frame.depth for frame in frames])),
        (5, BLOBS, 1, blobs([frame.bases for frame in frames])),
        (10, FIXED, 1, fixed(ID_BYTES, table.ids)),
        (11, INTEGERS, 1, integers(table.chunk_frames)),
        (12, INTEGERS, 1, integers(table.lengths)),
    ]
    if table.sides:
        columns.append((13, BLOBS, 0, blobs(table.sides)))
    if table.bases:
        columns.append((20, FIXED, 1, fixed(NAME_BYTES, b"".join(table.bases))))
        columns.append((21, FIXED, 1, fixed(NAME_BYTES, b"".join(table.closure))))
    head = bytes((VERSION, 0)) + len(frames).to_bytes(2, "little") + len(table).to_bytes(4, "little")
    return head + encode_columns(columns)


def decode_table(data: bytes) -> Table:
    """Decode and check a table; raises DamagedError or HostileError."""
    if len(data) < 8 or data[0] != VERSION:
        raise damaged("a segment's table has another version")
    frame_count, count = int.from_bytes(data[2:4], "little"), int.from_bytes(data[4:8], "little")
    if frame_count > FRAMES_MAX or count > CHUNKS_MAX:
        raise HostileError("a segment's table states absurd counts", next_step="do not trust this pack")
    columns = Columns(memoryview(data)[8:], _KNOWN)
    frames = [
        Frame(*row)
        for row in zip(*(columns.integers(number, frame_count) for number in (1, 2, 3, 4)),
                       columns.blobs(5, frame_count), strict=True)
    ]  # fmt: skip
    names = [
        tuple(_names(columns.fixed(number, NAME_BYTES))) if number in columns else () for number in (20, 21)
    ]  # fmt: skip
    table = Table(
        frames, columns.fixed(10, ID_BYTES), columns.integers(11, count), columns.integers(12, count),
        columns.blobs(13, count) if 13 in columns else [], names[0], names[1],
    )  # fmt: skip
    _check(table, count)
    return table


def _names(joined: bytes) -> list[SegmentName]:
    return [joined[at : at + NAME_BYTES] for at in range(0, len(joined), NAME_BYTES)]


def _check(table: Table, count: int) -> None:
    if len(table.ids) != count * ID_BYTES or len(table.bases) > BASES_MAX or len(table.closure) > CLOSURE_MAX:
        raise damaged("a segment's table contradicts itself")
    if count and not (0 <= min(table.chunk_frames) <= max(table.chunk_frames) < len(table.frames)
                      and min(table.lengths) >= 0):  # fmt: skip
        raise damaged("a chunk lies in no frame of its segment")
    used = [0] * len(table.frames)
    if len(used) == 1:
        used[0] = sum(table.lengths)
    else:
        for frame, length in zip(table.chunk_frames, table.lengths, strict=True):
            used[frame] += length
    if not set(table.bases) <= set(table.closure):
        raise damaged("a segment's bases are missing from their closure")
    for frame_row, plain_bytes in zip(table.frames, used, strict=True):
        if bool(frame_row.depth) != bool(frame_row.bases):
            raise damaged("a frame's depth and its bases contradict each other")
        if frame_row.plain_bytes > FRAME_BYTES_MAX:
            raise HostileError("a frame states more bytes than the format allows", next_step="do not trust this pack")
        if frame_row.plain_bytes != plain_bytes or frame_row.stored_bytes < 0 or not 0 <= frame_row.depth <= DEPTH_MAX:
            raise damaged("a frame's chunks do not fill it")
