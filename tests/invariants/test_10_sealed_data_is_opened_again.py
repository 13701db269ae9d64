"""Sealed data is opened again before it is acknowledged: memory that changes between reading a source and the commit
either ends the backup with a typed error or leaves something that says it is damaged; nothing wrong is ever recorded
and then read as if it were right.

What escapes by nature: a bit that flips in the buffer a source was read into before the id of its chunk is computed,
and one in the rows of a catalog page before the page's id is. Nothing tells such bytes from those of the source. A bit
that flips in the output of the compressor before it is sealed is found before the commit in one of 16 segments; in the
others zstd's checksum finds it whenever they are expanded: the damage is named, and never read as content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from shared.errors import FarkeepError
from siteagent.capture import deltas
from siteagent.disk.disk import Buffer
from siteagent.home import Home
from siteagent.jobs import backup as backup_job
from siteagent.jobs.verify import verify
from siteagent.store import deltawork, packwriter, pipeline, sealhelper, sealwork, segment, writer
from siteagent.store.deltawork import DeltaLoad
from siteagent.store.packs import FolderSink
from tests.support.homes import Place, contents, incompressible, newest
from tests.support.tally import Tally

BITS = (0, 3, 700)
"""Which bits are flipped, counted from the middle of what is flipped."""
Seam = Callable[[pytest.MonkeyPatch, "Flip"], None]


class Flip:
    """Changes one bit of the `turn`-th thing that comes by."""

    def __init__(self, bit: int, turn: int = 1) -> None:
        self._bit, self._turn = bit, turn
        self.times = 0

    def __call__(self, data: Buffer) -> bytes:
        """The bytes, changed when their turn has come."""
        changed = bytearray(data)
        self.times += 1
        if self.times == self._turn and changed:
            place = (4 * len(changed) + self._bit) % (8 * len(changed))
            changed[place >> 3] ^= 1 << (place & 7)
        return bytes(changed)

    def within(self, view: memoryview) -> None:
        """Change memory that others see too."""
        view[:] = self(view)


def _result(module: Any, name: str, change: Callable[[Any], Any]) -> Seam:
    """A function whose result is changed."""

    def patch(monkeypatch: pytest.MonkeyPatch, flip: Flip) -> None:
        plain = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **options: change(flip)(plain(*args, **options)))

    return patch


def _argument(module: Any, name: str, change: Callable[[Flip, Any], None]) -> Seam:
    """A function before which something that it is given is changed."""

    def patch(monkeypatch: pytest.MonkeyPatch, flip: Flip) -> None:
        plain = getattr(module, name)

        def changed(*args: Any, **options: Any) -> Any:
            change(flip, args)
            return plain(*args, **options)

        monkeypatch.setattr(module, name, changed)

    return patch


def _appended(part: int) -> Seam:
    """Buffers on their way to the disk: 0 header, 1 table, 2 body of a segment."""

    def patch(monkeypatch: pytest.MonkeyPatch, flip: Flip) -> None:
        plain = FolderSink.append

        def append(self: FolderSink, buffers: Sequence[Buffer]) -> int:
            if len(buffers) == 3:
                buffers = [flip(one) if number == part else one for number, one in enumerate(buffers)]
            return plain(self, buffers)

        monkeypatch.setattr(FolderSink, "append", append)

    return patch


def _read_back(monkeypatch: pytest.MonkeyPatch, flip: Flip) -> None:
    plain = FolderSink.read_at
    monkeypatch.setattr(FolderSink, "read_at", lambda self, *where: flip(plain(self, *where)))


def _pack_header(monkeypatch: pytest.MonkeyPatch, flip: Flip) -> None:
    plain = FolderSink.append

    def append(self: FolderSink, buffers: Sequence[Buffer]) -> int:
        return plain(self, [flip(buffers[0])] if len(buffers[0]) == 128 and len(buffers) == 1 else buffers)

    monkeypatch.setattr(FolderSink, "append", append)


def _sealed(monkeypatch: pytest.MonkeyPatch, flip: Flip) -> None:
    plain = segment.Sealer.seal

    def seal(self: segment.Sealer, *args: Any, **options: Any) -> segment.SealedSegment:
        made = plain(self, *args, **options)
        return segment.SealedSegment(made.name, (*made.parts[:2], flip(made.parts[2])))

    monkeypatch.setattr(segment.Sealer, "seal", seal)


def _delta_load(monkeypatch: pytest.MonkeyPatch, flip: Flip) -> None:
    monkeypatch.setattr(deltas, "DeltaLoad", lambda plain, *about: DeltaLoad(flip(plain), *about))


def _delta_slot(monkeypatch: pytest.MonkeyPatch, flip: Flip) -> None:
    plain = pipeline.Pipeline._store_made

    def store(self: pipeline.Pipeline, filled: Any, made: Any) -> None:
        flip.within(filled.slot.plain[: filled.size_bytes])
        plain(self, filled, made)

    monkeypatch.setattr(pipeline.Pipeline, "_store_made", store)


REFUSED: dict[str, Seam] = {
    "chunks in their slot, before they are compressed":
        _argument(pipeline, "seal_load", lambda flip, args: flip.within(args[2])),
    "the table of a segment, before it is sealed": _result(sealwork, "encode_table", lambda flip: flip),
    "the table of delta frames, before it is sealed": _result(pipeline, "encode_table", lambda flip: flip),
    "the body of a segment, sealed": _sealed,
    "the header of a segment on its way to the disk": _appended(0),
    "the table of a segment on its way to the disk": _appended(1),
    "the body of a segment on its way to the disk": _appended(2),
    "what is read back from the disk": _read_back,
    "the header of a pack": _pack_header,
    "the trailer of a pack": _result(packwriter, "encode_trailer", lambda flip: flip),
    "chunks of a delta, before it is made": _delta_load,
    "delta frames in their slot": _delta_slot,
    "a manifest": _result(backup_job, "encode_manifest", lambda flip: flip),
    "a reach": _result(backup_job, "encode_reach", lambda flip: flip),
}  # fmt: skip
"""Where memory changes, and the backup ends without a snapshot."""
NEVER_WRONG: dict[str, Seam] = {
    "the output of the compressor":
        _result(sealwork, "compress_frame", lambda flip: lambda made: (made[0], flip(made[1]))),
    "a delta of pages": _result(writer, "compress_delta", lambda flip: lambda made: made and flip(made)),
    "a delta of a file": _result(deltawork, "compress_delta", lambda flip: lambda made: made and flip(made)),
}  # fmt: skip
"""Where memory changes, and at the latest whoever reads is told."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home with one snapshot; the source has changed since: new files, edits that become deltas."""
    made = Place(tmp_path).create()
    rows = b"".join(b"row %06d with some words that repeat\n" % number for number in range(9_000))
    made.write("large", rows)
    made.write("small", incompressible("small", 6000))
    with made.open() as home:
        made.backup(home)
    made.write("large", rows[:100_000] + b"EDITED" + rows[100_006:])
    made.write("small", b"night" + incompressible("small", 6000)[5:])
    made.write("new", b"a new file of words\n" * 4000)
    return made


def _truth(place: Place) -> dict[bytes, bytes]:
    return {place.path(path.name): path.read_bytes() for path in place.source.iterdir()}


def _require_first_whole(home: Home) -> None:
    first = home.ledger.history().snapshots[0]
    assert len(contents(home, first)) == 2


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("bit", BITS)
def test_a_backup_with_changed_memory_is_not_acknowledged(
    name: str, bit: int, place: Place, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    flip = Flip(bit)
    with place.open() as home:
        with monkeypatch.context() as patched:
            REFUSED[name](patched, flip)
            with pytest.raises(FarkeepError) as caught:
                place.backup(home)
        assert flip.times, "nothing came by"
        assert caught.value.kind in ("damaged", "hostile")
        assert caught.value.next_step
    with place.open() as home:
        assert len(home.ledger.history().snapshots) == 1
        snapshot = place.backup(home).snapshot
        assert verify(home, "read-data").is_good
        entry = home.ledger.history().snapshot(snapshot)
        assert entry is not None
        assert contents(home, entry) == _truth(place)
        _require_first_whole(home)
    tally("flips of memory", 1)


@pytest.mark.parametrize("bit", BITS)
@pytest.mark.parametrize(("name", "files", "size_bytes"), [
    *((name, 1, 160_000) for name in NEVER_WRONG), ("the output of the compressor", 20, 3000),
])  # fmt: skip
def test_what_a_changed_memory_leaves_is_never_read_as_content(
    name: str, files: int, size_bytes: int, bit: int, place: Place, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    """Digits of chance shrink by half and hold no repetitions: a bit of them that flips expands to other digits."""
    flip, snapshot = Flip(bit), None
    for number in range(files):
        place.write(f"digits {number}", incompressible(f"digits {number}", size_bytes // 2).hex().encode())
    with place.open() as home:
        with monkeypatch.context() as patched:
            NEVER_WRONG[name](patched, flip)
            try:
                snapshot = place.backup(home).snapshot
            except FarkeepError as error:
                assert error.kind in ("damaged", "hostile")
    assert flip.times, "nothing came by"
    if snapshot is not None:
        _require_told(place, snapshot)
    tally("flips of memory", 1)


def _require_told(place: Place, snapshot: bytes) -> None:
    """What is read is right, or is not read; verify names it, and the next backup stores it anew."""
    with place.open() as home:
        entry, truth = home.ledger.history().snapshot(snapshot), _truth(place)
        assert entry is not None
        report = verify(home, "read-data")
        try:
            found = contents(home, entry)
        except FarkeepError:
            assert not report.is_good
        else:
            assert found == truth
        place.backup(home)
        again = newest(home)
        assert contents(home, again) == truth
        _require_first_whole(home)


@pytest.mark.parametrize("where", ["before a process seals", "after a process sealed", "when a process checks"])
def test_memory_shared_with_sealing_processes(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    """A run so long that processes seal: the bytes lie in memory that both sides see."""
    place = Place(tmp_path).create()
    place.world = replace(place.world, may_start_processes=True)
    place.write("large", incompressible("long", 28 << 20) + b"words that repeat\n" * 200_000)
    plain, flip = sealhelper.SealHelper.ask, Flip(5, 1)

    def ask(self: Any, load: Any, slot: Any, size: int, frame: Any = None, out_size: int = sealhelper.OUT_BYTES) -> Any:
        if where == "before a process seals" and frame is None:
            flip.within(slot.plain[:size])
        if where == "when a process checks" and frame is not None:
            flip.within(slot.out[:out_size])
        reply = plain(self, load, slot, size, frame, out_size)
        if where == "after a process sealed" and frame is None:
            flip.within(slot.out[: sum(reply.parts)])
        return reply

    with place.open() as home:
        with monkeypatch.context() as patched:
            patched.setattr(sealhelper.SealHelper, "ask", ask)
            with pytest.raises(FarkeepError):
                place.backup(home)
        assert flip.times, "no process sealed anything"
        assert not home.ledger.history().snapshots
    tally("flips of memory", 1)
