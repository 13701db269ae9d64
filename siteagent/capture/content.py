"""Reading one file's content into the store: small files whole and straight into the segment's buffer, large ones cut.

A file that changes while it is read is read again, up to three times; the last reading is kept and marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from shared.tree import HOLE
from siteagent.capture.deltas import Deltas
from siteagent.capture.slabs import Slabs
from siteagent.sources.base import Batch, Identity, Reader, View
from siteagent.store.chunker import WHOLE_FILE_MAX_BYTES, Chunker
from siteagent.store.chunklist import ListBuilder, Piece
from siteagent.store.delta import BaseChunk
from siteagent.store.names import SegmentName
from siteagent.store.oldversion import OldVersion
from siteagent.store.page import INLINE_CHUNKS_MAX
from siteagent.store.writer import StoreWriter

ATTEMPTS = 3
_NO_LENGTHS: tuple[int, ...] = ()


class Earlier(NamedTuple):
    """Earlier versions of a file: the newest one, and (opened when asked for) older ones that rest less deep; `size`
    is that of the file now."""

    newest: Callable[[], OldVersion]
    older: Callable[[], list[OldVersion]]
    size: int


class Content(NamedTuple):
    """Where a file's content lies: an entry's `ids`, `lengths`, `tree`, `segments`; and what reading it found."""

    ids: bytes
    lengths: tuple[int, ...]
    tree: bytes
    segments: tuple[SegmentName, ...]
    size: int
    is_changed: bool = False


EMPTY = Content(b"", _NO_LENGTHS, b"", (), 0)


class ContentReader:
    """Reads the files of one run."""

    def __init__(self, store: StoreWriter, boundary_key: bytes) -> None:
        self._store, self._key = store, boundary_key
        self._chunker: Chunker | None = None
        self._slabs = Slabs()
        self.bytes_read = 0
        self._earlier: Earlier | None = None
        self.needs: dict[bytes, set[SegmentName]] = {}
        """Segments of every chunk list built in this run, by `tree`."""

    def read(self, view: View, batch: Batch, place: int, reader: Reader, may_have_holes: bool,
             earlier: Earlier | None = None) -> Content:
        """Read a file until a reading begins and ends with the same identity; raises OSError.

        `earlier`: what is known of it from previous snapshots.
        """
        self._earlier = earlier
        if reader.is_stream:
            stream = self._read_pieces(reader, 0, 1 << 62)
            view.refresh(batch, place, reader)
            return stream
        for attempt in range(ATTEMPTS):
            before = batch.identities[place]
            content = self._read_once(reader, before, may_have_holes)
            if content is not None and reader.identity() == before:
                return content
            view.refresh(batch, place, reader)
            may_have_holes = True
            if content is not None and attempt == ATTEMPTS - 1:
                return content._replace(is_changed=True)
        # What is there of its first bytes: a file that grows faster than it is read must not hold us.
        size = batch.identities[place][1]
        return self._read_extents(reader, reader.extents(size) or [(0, size)], size)._replace(is_changed=True)

    def _read_once(self, reader: Reader, identity: Identity, may_have_holes: bool) -> Content | None:
        """One reading; None when the file's length was not what its identity says."""
        size = identity[1]
        extents = reader.extents(size) if may_have_holes else None
        if extents is None:
            content = self._read_pieces(reader, 0, size + 1)
        else:
            content = self._read_extents(reader, extents, size)
        return content if content.size == size else None

    def _read_extents(self, reader: Reader, extents: list[tuple[int, int]], size: int) -> Content:
        """Read a file with holes; shorter than `size` when it ends before."""
        gather, at = self._gather(), 0
        for start, length in extents:
            if start > at:
                gather.add_hole(start - at)
            if self._cut(reader, start, length, gather) < length:
                return gather.content()
            at = start + length
        if size > at:
            gather.add_hole(size - at)
        return gather.content()

    def _read_pieces(self, reader: Reader, start: int, length: int) -> Content:
        gather = self._gather()
        self._cut(reader, start, length, gather)
        return gather.content()

    def _gather(self) -> _Gather:
        gather = _Gather(self)
        if self._earlier is not None:
            gather.deltas = Deltas(self._store, self._cutter(), self._earlier.newest(), self._earlier.older, gather.add,
                                   self._earlier.size)
        return gather

    def _cutter(self) -> Chunker:
        self._chunker = self._chunker or Chunker()
        return self._chunker

    def _cut(self, reader: Reader, start: int, length: int, gather: _Gather) -> int:
        """Cut up to `length` bytes from `start`; returns how many there were."""
        done = kept = 0
        # A first backup waits for the sealing of what is new, not for its reading.
        with self._slabs.stretch(reader, start, length, may_read_ahead=gather.deltas is not None) as stretch:
            while True:
                data, is_end = stretch.next(kept)
                self.bytes_read += len(data) - kept
                offset, done = start + done - kept, done + len(data) - kept
                at = self._take(data, offset, gather, is_end=is_end, is_whole=offset == start)
                if is_end:
                    return done
                kept = len(data) - at

    def _take(self, data: memoryview, offset: int, gather: _Gather, *, is_end: bool, is_whole: bool) -> int:
        """Cut and store what lies at `offset`; returns how many bytes were used up."""
        if gather.deltas is not None:
            return gather.deltas.take(data, offset, is_end=is_end, is_whole=is_whole)
        at = 0
        for size in self._lengths(data, is_end=is_end, is_whole=is_whole):
            gather.add(Piece(*self._put(data[at : at + size])))
            at += size
        return at

    def _lengths(self, data: memoryview, *, is_end: bool, is_whole: bool) -> Iterable[int]:
        """Where to cut: a stretch of up to 128 KiB that is there whole is one chunk."""
        if is_end and is_whole and len(data) <= WHOLE_FILE_MAX_BYTES:
            return (len(data),) if data else ()
        return self._cutter().cut(data, is_end=is_end)

    def _put(self, data: memoryview) -> tuple[bytes, int, SegmentName]:
        chunk_id, segment = self._store.put(data)
        return chunk_id, len(data), segment

    def list_builder(self) -> ListBuilder:
        """A builder for the chunk list of a file with many chunks."""
        return ListBuilder(self._store, self._key)


class _Gather:
    """The pieces of one file: kept inline while they are few, else put into a chunk list as they come."""

    def __init__(self, reader: ContentReader) -> None:
        self._reader = reader
        self._pieces: list[Piece] = []
        self._list: ListBuilder | None = None
        self._page: BaseChunk | None = None
        self._size = 0
        self.deltas: Deltas | None = None

    def add(self, piece: Piece, page: BaseChunk | None = None) -> None:
        """Take the next piece; `page`: the list page that named what was in its place before."""
        self._size += piece.length
        self._page = self._page or page
        if self._list is not None:
            self._list.add(piece, page)
            return
        self._pieces.append(piece)
        if len(self._pieces) > INLINE_CHUNKS_MAX:
            self._list = self._reader.list_builder()
            for known in self._pieces:
                self._list.add(known, self._page)

    def add_hole(self, length: int) -> None:
        """A stretch without data."""
        hole = Piece(HOLE, length, b"")
        if self.deltas is None:
            self.add(hole)
        else:
            self.deltas.gap(hole)

    def content(self) -> Content:
        if self.deltas is not None:
            self.deltas.finish()
        if self._list is not None:
            tree, segment = self._list.finish()
            self._reader.needs[tree] = self._list.segments
            return Content(b"", _NO_LENGTHS, tree, (segment,), self._size)
        pieces = self._pieces
        return Content(
            b"".join(piece.chunk_id for piece in pieces),
            tuple(piece.length for piece in pieces) if len(pieces) > 1 else _NO_LENGTHS, b"",
            tuple(piece.segment for piece in pieces if piece.segment), self._size,
        )  # fmt: skip
