"""Reading a file again that was captured before: unchanged chunks as they were, changed ones as deltas.

Where the earlier version had a chunk, the same number of bytes is hashed first: an equal id saves looking for the cut,
and the cuts stay those of the chunker, for it begins anew at every cut. What differs is cut, and looked for nearby (the
content may have shifted) and in the whole store. New chunks are gathered in runs of up to 512 KiB; a run is compressed
against what stood in its place, as the *drift* of the last unchanged chunk tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from shared.sealing import keyed_id
from shared.tree import HOLE
from siteagent.store.chunker import MAX_BYTES, WHOLE_FILE_MAX_BYTES, Chunker
from siteagent.store.chunklist import Piece
from siteagent.store.delta import RUN_BYTES_MAX, BaseChunk
from siteagent.store.deltawork import DeltaLoad, Encoding
from siteagent.store.oldversion import MARGINS, NO_MARGINS, OldVersion, Place
from siteagent.store.writer import FoundBase, StoreWriter

_AWAITED_MAX, _WAITING_MAX = 32, 1 << 10

Emit = Callable[[Piece, BaseChunk | None], None]


class Awaited:
    """New chunks whose delta is being made."""

    def __init__(self, store: StoreWriter, ids: list[bytes], lengths: list[int], plain: bytes,
                 found: FoundBase) -> None:
        self._store, self._found = store, found
        self._load = DeltaLoad(plain, tuple(ids), tuple(lengths), found.base)
        self._encoding: Encoding = store.encode(self._load)

    def settle(self) -> list[Piece]:
        """Wait for the delta and store it, or the chunks as they are when it does not win."""
        packed, load = self._encoding.wait(), self._load
        if packed is None:
            return list(put_plain(self._store, load.ids, load.lengths, load.plain))
        name = self._store.put_delta(load.ids, load.lengths, packed, self._found)
        return [Piece(chunk_id, length, name) for chunk_id, length in zip(load.ids, load.lengths, strict=True)]

    @property
    def is_ready(self) -> bool:
        """True when `settle` would not wait."""
        return self._encoding.done.is_set()


def put_plain(store: StoreWriter, ids: Sequence[bytes], lengths: Sequence[int],
              plain: bytes | bytearray) -> Iterator[Piece]:
    """Store chunks as they are, unless they came there meanwhile."""
    view, at = memoryview(plain), 0
    for chunk_id, length in zip(ids, lengths, strict=True):
        segment = store.find(chunk_id) or store.put_new(chunk_id, view[at : at + length])
        yield Piece(chunk_id, length, segment)
        at += length


class _Run:
    """New chunks in a row. `is_anchored`: an unchanged chunk stands right before it."""

    def __init__(self, start: int, *, is_anchored: bool) -> None:
        self.start, self.is_anchored = start, is_anchored
        self.ids: list[bytes] = []
        self.lengths: list[int] = []
        self.data = bytearray()


class _Waiting(NamedTuple):
    pieces: list[Piece] | Awaited
    page: BaseChunk | None


class Deltas:
    """One file, read from its start to its end."""

    def __init__(self, store: StoreWriter, chunker: Chunker, previous: OldVersion,
                 ancestors: Callable[[], list[OldVersion]], emit: Emit, size: int) -> None:
        """`ancestors` opens older versions, best first; it is asked when the previous one rests too deep.

        `size`: bytes of the file, as far as they are known before it is read.
        """
        self._before, self._after = NO_MARGINS if size == previous.size else MARGINS
        self._store, self._chunker, self._key = store, chunker, store.chunk_key
        self._previous, self._emit = previous, emit
        self._open_ancestors = ancestors
        self._ancestors: list[OldVersion] | None = None
        self._drifts: dict[int, int] = {}
        self._drift, self._is_anchored = 0, True
        self._anchor: tuple[bytes, int] = (b"", 0)
        self._run: _Run | None = None
        self._waiting: deque[_Waiting] = deque()
        self._awaited = 0
        self._hashed: tuple[int, bytes] = (0, b"")

    def take(self, data: memoryview, offset: int, *, is_end: bool, is_whole: bool) -> int:
        """Take what lies at `offset` of the file; returns how many bytes were used up (all of them at the end)."""
        at = 0
        while at < len(data):
            rest, self._hashed = data[at:], (0, b"")
            place = self._previous.at(offset + at - self._drift)
            if place is not None and not 0 < place.piece.length <= MAX_BYTES:
                # A hole: what stands there now has to be cut anew.
                place = None
            if place is not None and place.piece.length > len(rest) and not is_end:
                break
            if place is None or not self._is_same(place, rest, is_end=is_end):
                size = self._cut(rest, is_end=is_end, is_whole=is_whole and at == 0)
                if size == 0:
                    break
                self._differs(rest[:size], offset + at)
            else:
                size = place.piece.length
                self._unchanged(place, offset + at)
            at += size
        return at

    def _is_same(self, place: Place, rest: memoryview, *, is_end: bool) -> bool:
        """True when the earlier chunk is there again. The last one before a gap or the end was not cut by content."""
        piece = place.piece
        if piece.chunk_id == HOLE or piece.length > len(rest):
            return False
        if not place.is_followed and not (is_end and piece.length == len(rest)):
            return False
        self._hashed = piece.length, keyed_id(self._key, rest[: piece.length])
        return self._hashed[1] == piece.chunk_id and self._store.may_keep(piece.segment)

    def _cut(self, rest: memoryview, *, is_end: bool, is_whole: bool) -> int:
        if is_end and is_whole and len(rest) <= WHOLE_FILE_MAX_BYTES:
            return len(rest)
        return next(self._chunker.cut(rest, is_end=is_end), 0)

    def _unchanged(self, place: Place, offset: int) -> None:
        if self._run is not None:
            self._close(place.offset)
        self._drift, self._is_anchored = offset - place.offset, True
        self._anchor = place.piece.chunk_id, offset
        if self._waiting:
            self._put(_Waiting([place.piece], place.page))
        else:
            self._emit(place.piece, place.page)

    def _differs(self, data: memoryview, offset: int) -> None:
        chunk_id = self._hashed[1] if self._hashed[0] == len(data) else keyed_id(self._key, data)
        place = self._previous.find(chunk_id, offset - self._drift)
        if place is not None and self._store.may_keep(place.piece.segment):
            self._unchanged(place, offset)
            return
        segment = self._store.find(chunk_id)
        if segment is not None:
            self._close(None)
            self._is_anchored = False
            self._put(_Waiting([Piece(chunk_id, len(data), segment)], None))
            return
        if self._run is not None and len(self._run.data) + len(data) > RUN_BYTES_MAX:
            self._close(None)
            self._is_anchored = False
        run = self._run = self._run or _Run(offset, is_anchored=self._is_anchored)
        run.ids.append(chunk_id)
        run.lengths.append(len(data))
        run.data += data

    def _close(self, old_end: int | None) -> None:
        """End the run; `old_end`: where in the previous version the unchanged chunk after it begins."""
        run, self._run = self._run, None
        if run is None:
            return
        found = self._base(run, old_end)
        page = self._page(run.start - self._drift)
        if found is None:
            self._put(_Waiting(list(put_plain(self._store, run.ids, run.lengths, run.data)), page))
        else:
            self._put(_Waiting(Awaited(self._store, run.ids, run.lengths, bytes(run.data), found), page))

    def _page(self, old_offset: int) -> BaseChunk | None:
        span = self._previous.at(old_offset)
        return span.page if span is not None else None

    def _base(self, run: _Run, old_end: int | None) -> FoundBase | None:
        low = run.start - self._drift
        high = run.start + len(run.data) - self._drift
        if not run.is_anchored:
            low -= self._before
        if old_end is not None and low < old_end:
            high = old_end
        else:
            high += self._after
        found = self._allowed(self._previous, low, high)
        if found is not None:
            return found
        for number, version in enumerate(self._older()):
            drift = self._older_drift(number, version)
            start = run.start - drift
            older = self._allowed(version, start - self._before, start + len(run.data) + self._after)
            if older is not None:
                return older
        return None

    def _allowed(self, version: OldVersion, low: int, high: int) -> FoundBase | None:
        span = version.span(low, high)
        return self._store.base_of(span.chunks, span.head_trim, span.tail_trim) if span.chunks else None

    def _older(self) -> list[OldVersion]:
        if self._ancestors is None:
            self._ancestors = self._open_ancestors()
        return self._ancestors

    def _older_drift(self, number: int, version: OldVersion) -> int:
        """How far content has moved since an older version, as the last unchanged chunk tells."""
        chunk_id, offset = self._anchor
        known = self._drifts.get(number, self._drift)
        place = version.find(chunk_id, offset - known) if chunk_id else None
        self._drifts[number] = offset - place.offset if place is not None else known
        return self._drifts[number]

    def _put(self, item: _Waiting) -> None:
        self._waiting.append(item)
        self._awaited += isinstance(item.pieces, Awaited)
        while self._waiting and (self._are_many() or _is_ready(self._waiting[0])):
            self._settle()

    def _are_many(self) -> bool:
        return self._awaited > _AWAITED_MAX or len(self._waiting) > _WAITING_MAX

    def _settle(self) -> None:
        pieces, page = self._waiting.popleft()
        self._awaited -= isinstance(pieces, Awaited)
        for piece in pieces.settle() if isinstance(pieces, Awaited) else pieces:
            self._emit(piece, page)

    def gap(self, hole: Piece) -> None:
        """A hole follows."""
        self._close(None)
        self._is_anchored = False
        self._put(_Waiting([hole], None))

    def finish(self) -> None:
        """Emit what is left."""
        self._close(None)
        while self._waiting:
            self._settle()


def _is_ready(item: _Waiting) -> bool:
    return not isinstance(item.pieces, Awaited) or item.pieces.is_ready


