"""Feeding the decoders of siteagent.store: each function takes any bytes, each list has sound ones to begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from blake3 import blake3

from shared import codec
from shared.errors import FarkeepError
from shared.tree import HOLE
from siteagent.store import changes, columns, delta, frame, layout, nameruns, pack, page, reach, segment, table
from siteagent.store.names import segment_name
from siteagent.store.page import CHUNK_INDEX, ENTRY_INDEX, Child
from tests.support.homes import incompressible
from tests.support.material import goldens
from tests.support.memory_disk import memory_disk
from tests.support.stores import MemoryPack

SEEDS_MAX = 16
Seeds = Callable[[], Sequence[bytes]]


def pair(left: bytes, right: bytes) -> bytes:
    """Two byte strings in one."""
    return len(left).to_bytes(4, "little") + left + right


def halves(data: bytes) -> tuple[bytes, bytes]:
    """What `pair` joined."""
    split = 4 + int.from_bytes(data[:4], "little")
    return data[4:split], data[split:]


def exhaust(made: Iterable[object]) -> None:
    """Take all there is."""
    for _ in made:
        pass


def try_each(*attempts: Callable[[], object]) -> None:
    """Run each; raises what the last one raised when none of them succeeds."""
    failure: FarkeepError | None = None
    successes = 0
    for attempt in attempts:
        try:
            attempt()
            successes += 1
        except FarkeepError as error:
            failure = error
    if failure is not None and not successes:
        raise failure


def feed_segment(data: bytes) -> None:
    header = segment.parse_header(data, "fuzz")
    keys = goldens()[0].keyring.epoch(header.key_epoch)
    sealed = memoryview(data)[segment.HEADER_BYTES :]
    try_each(lambda: segment.open_table(header, sealed[: header.table_length], keys),
             lambda: segment.open_body(header, sealed[header.table_length :], keys),
             lambda: segment.open_segment(header, sealed, keys))


def feed_resealed(data: bytes) -> None:
    """Any plaintext under a right seal: what a forger with the keys could make."""
    keys = goldens()[0].keyring
    left, right = halves(data)
    sealer = segment.Sealer(keys.site_id, keys.default_domain.id, keys.current, b"r" * 16)
    sealed = b"".join(sealer.seal(1, 1, left[:4096], [right[: 1 << 16]]).parts)
    header = segment.parse_header(sealed, "fuzz")
    plain, body = segment.open_segment(header, memoryview(sealed)[segment.HEADER_BYTES :], keys.current)
    opened = table.decode_table(plain)
    starts = opened.frame_starts()
    for row, start in zip(opened.frames, starts, strict=False):
        stored = body[start : start + row.stored_bytes] if row.stored_bytes < len(body) else body
        try_each(*(partial(frame.expand_frame, number, stored, row.plain_bytes, "fuzz")
                   for number in (row.codec, frame.RAW, frame.ZSTD)))  # fmt: skip


def table_examples() -> list[bytes]:
    return [table.encode_table(opened.head.table) for golden in goldens() for opened in golden.segments][:SEEDS_MAX]


def table_and_body_examples() -> list[bytes]:
    return [pair(table.encode_table(opened.head.table), bytes(opened.body))
            for golden in goldens() for opened in golden.segments][:8]  # fmt: skip


def feed_table(data: bytes) -> None:
    found = table.decode_table(data)
    found.frame_starts()
    found.offsets()
    try_each(*(partial(delta.decode_base, row.bases, found.bases, row.depth) for row in found.frames[:64] if row.bases))


def feed_base(data: bytes) -> None:
    found = delta.decode_base(data, [b"s" * 20, b"t" * 20], 1)
    delta.dictionary_of(found, [b"some plain text" * 50] * len(found.chunks))


def base_examples() -> list[bytes]:
    return [row.bases for opened in goldens()[1].segments for row in opened.head.table.frames if row.bases][:4]


DICTIONARY = incompressible("a dictionary", 3000)


def feed_delta_frame(data: bytes) -> None:
    size, packed = int.from_bytes(data[:8], "little"), data[8:]
    delta.expand_delta(packed, size, DICTIONARY, "fuzz")


def delta_frame_examples() -> list[bytes]:
    plain = DICTIONARY[:2000] + b"edited" + DICTIONARY[2000:]
    packed = delta.compress_delta(plain, DICTIONARY)
    assert packed is not None
    return [len(plain).to_bytes(8, "little") + packed, (1 << 40).to_bytes(8, "little") + packed]


def feed_frame(data: bytes) -> None:
    size, packed = int.from_bytes(data[:8], "little"), memoryview(data)[8:]
    try_each(lambda: frame.expand_frame(frame.ZSTD, packed, size, "fuzz"),
             lambda: codec.decompress(packed, size, subject="fuzz"),
             lambda: codec.decompress_head(packed, size, size // 2, subject="fuzz"))


def frame_examples() -> list[bytes]:
    plain = memoryview(b"a frame of text that shrinks well " * 80)
    packed = bytes(frame.compress_frame(plain, 1)[1])
    return [len(plain).to_bytes(8, "little") + packed, (1 << 62).to_bytes(8, "little") + packed]


def feed_trailer(data: bytes) -> None:
    """A pack whose trailer's own digest is put right, whatever else is wrong."""
    try_each(*(partial(pack.read_trailer, MemoryPack(bytearray(made)), "fuzz") for made in (data, _mended_pack(data))))


def _mended_pack(data: bytes) -> bytes:
    if len(data) < pack.HEADER_BYTES + pack.FOOTER_BYTES:
        return data
    length = min(int.from_bytes(data[-44:-40], "little"), len(data) - pack.FOOTER_BYTES - pack.HEADER_BYTES)
    start = len(data) - pack.FOOTER_BYTES - length
    check = blake3(data[: pack.HEADER_BYTES] + data[start : len(data) - pack.FOOTER_BYTES]).digest()
    return data[:-44] + length.to_bytes(4, "little") + data[-40:-36] + check + pack.END_MAGIC


def pack_examples() -> list[bytes]:
    return sorted((data for golden in goldens() for data in golden.packs), key=len)[:6]


def feed_entry_page(data: bytes) -> None:
    found = page.EntryPage(*halves(data))
    found.identities()
    found.some_rows(lambda kind, group, segments: bool(kind))
    for entry in found.rows():
        exhaust(entry.references())
        assert entry.key


def page_examples(kind: int) -> Seeds:
    return lambda: [pair(*both) for golden in goldens() for both in golden.pages() if both[0][1] == kind]


def index_page_examples() -> list[bytes]:
    rows = [Child(b"key %d" % n, bytes([n]) * 32, n, 1000 * n, segment_name(b"r" * 16, n)) for n in range(1, 9)]
    side = page.encode_side([row.segment for row in rows])
    return [pair(page.encode_index(kind, 1, rows), side) for kind in (ENTRY_INDEX, CHUNK_INDEX)]


def chunk_page_examples() -> list[bytes]:
    side = page.encode_side([segment_name(b"r" * 16, 3)] * 2, [segment_name(b"f" * 16, 9)])
    made = pair(page.encode_chunks([b"c" * 32, HOLE, b"d" * 32], [5, 70_000, 9]), side)
    return [made, *page_examples(page.CHUNKS)()]


def feed_side(data: bytes) -> None:
    page.decode_side(data, min(int.from_bytes(data[:4], "little"), 19 * page.ROWS_MAX))
    exhaust(page.side_segments(data))


def side_examples() -> list[bytes]:
    return [side for golden in goldens() for _, side in golden.pages()]


def feed_columns(data: bytes) -> None:
    found = columns.Columns(memoryview(data), frozenset(range(1, 30)))
    try_each(*(partial(reading, column, count) for count in (0, 1, 3, 200) for column in (1, 2, 3)
               for reading in (found.integers, found.blobs, lambda column, count: found.fixed(column, count or 1))))
    found.replaced([])


def column_examples() -> list[bytes]:
    values = [5, -3, 1 << 40]
    return [columns.encode_columns([(1, 1, 1, columns.integers(values)), (2, 2, 0, columns.blobs([b"a", b"", b"ccc"])),
                                    (3, 3, 1, columns.fixed(3, b"abcdef"))])]  # fmt: skip


def name_examples() -> list[bytes]:
    return [nameruns.pack_names([segment_name(b"r" * 16, n) for n in numbers])
            for numbers in ((1, 2, 3), (5, 5000, 1 << 31), range(0, 3000, 3))]  # fmt: skip


def feed_reach(data: bytes) -> None:
    try_each(*(partial(reach.decode_reach, made, "fuzz") for made in (data, data[:-32] + blake3(data[:-32]).digest())))


def feed_changes(data: bytes) -> None:
    """As it is, and with its tag put right."""
    keys = goldens()[1].keyring
    tag = changes.ChangeFiles(memory_disk({}), keys, keys.site_id)._tag(data[:-32], keys.current.number)
    try_each(partial(_read_changes, data), partial(_read_changes, data[:-32] + tag))


def _read_changes(data: bytes) -> None:
    keys, path = goldens()[1].keyring, "changes/00000001-00000001-00000002-00000002"
    for packed in changes.ChangeFiles(memory_disk({path: data}), keys, keys.site_id).read().segments:
        nameruns.unpack_stretches(packed)


def feed_format(data: bytes) -> None:
    layout.read_format(memory_disk({"format": data}), "H", 1)


def format_examples() -> list[bytes]:
    return [*goldens()[0].files("format"), b'{"farkeep":"\xff"}', b'{"x":' + b"[" * 3000]
