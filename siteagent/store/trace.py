"""From damaged segments to what they take with them: paths, and stretches of a catalog that cannot be listed.

Catalogs are walked around the damage. Pages shared by several snapshots are looked at once; pages that rest on nothing
damaged are not even decoded (their own sets tell).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from msgspec import Struct, field

from shared.errors import FarkeepError
from shared.tree import components_of, path_of
from siteagent.store.catalog import Root
from siteagent.store.chunklist import PageSource
from siteagent.store.delta import Base
from siteagent.store.entry import Entry
from siteagent.store.names import SegmentName
from siteagent.store.page import Child, EntryPage, decode_chunks, decode_index, side_segments

PATHS_MAX = 1000


class Stretch(Struct, frozen=True, order=True):
    """Entries that cannot be listed: those after `after` (empty: from the beginning) up to and including `until`
    (empty: to the end), in the order of a catalog. `folder` holds them all."""

    folder: bytes
    after: bytes
    until: bytes


class Traced(Struct):
    """What rests on one segment. `is_cut`: there is more than fits into the limit."""

    paths: set[bytes] = field(default_factory=set)
    stretches: set[Stretch] = field(default_factory=set)
    is_cut: bool = False


class Trace:
    """Follows damage through the catalogs of one home."""

    def __init__(self, source: PageSource, damaged: Iterable[SegmentName], paths_max: int = PATHS_MAX,
                 before: Iterable[SegmentName] = (),
                 holder: Callable[[SegmentName, bytes], SegmentName] = lambda segment, _: segment,
                 base_of: Callable[[SegmentName, bytes], Base | None] = lambda *_: None) -> None:
        """`before`: segments that the damaged ones superseded; `holder` tells which one holds a chunk of such a one,
        `base_of` what the frame of a chunk rests on."""
        self._before, self._holder, self._base_of = frozenset(before), holder, base_of
        self._source, self._paths_max = source, paths_max
        self.found = {name: Traced() for name in damaged}
        self._seen: set[tuple[bytes, SegmentName]] = set()
        self._lists: dict[tuple[bytes, SegmentName], frozenset[SegmentName]] = {}

    def follow(self, root: Root) -> None:
        """Note what the damage means for one catalog."""
        if root.page_id:
            self._page(Child(b"", root.page_id, 0, 0, root.segment), root.level, b"")

    def _page(self, row: Child, level: int, after: bytes) -> None:
        """`after`: the key before this page's first."""
        if (row.page_id, row.segment) in self._seen:
            return
        self._seen.add((row.page_id, row.segment))
        try:
            side = self._source.side(row.segment, row.page_id)
            if level == 0:
                self._leaf(row, side)
                return
            _, _, children = decode_index(self._source.chunk(row.segment, row.page_id), side)
        except FarkeepError:
            self._unlisted(row, after)
            return
        for child in children:
            self._page(child, level - 1, after)
            after = child.last_key

    def _leaf(self, row: Child, side: bytes) -> None:
        """Entries of this page that rest on damage; raises when the page does not read."""
        segment, named = self._held(row.segment, row.page_id), side_segments(side)
        if segment not in self.found and self.found.keys().isdisjoint(named) and self._before.isdisjoint(named):
            return
        for entry in EntryPage(self._source.chunk(row.segment, row.page_id), side).rows():
            needed = self._needs(entry)
            if entry.tree:
                needed |= self._list(entry.tree[1:], entry.segments[0], entry.tree[0])
            if segment in self.found:
                needed.add(segment)
            for name in needed & self.found.keys():
                self._note(name, entry.path)

    def _needs(self, entry: Entry) -> set[SegmentName]:
        """Where what an entry refers to is held, and what that rests on, as far as it can be read."""
        needed: set[SegmentName] = set()
        for name, chunk_id in entry.references():
            needed |= self._reached(name, chunk_id)
        return needed

    def _reached(self, name: SegmentName, chunk_id: bytes) -> set[SegmentName]:
        """Where a chunk is held, and all that it rests on. Where something below does not read, that is named, too."""
        with suppress(FarkeepError):
            below = self._source.frame_closure(name, chunk_id)
            if below.isdisjoint(self._before):
                return {self._held(name, chunk_id), *below}
        found, seen, waiting = set[SegmentName](), set[tuple[SegmentName, bytes]](), [(name, chunk_id)]
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            found.add(self._held(*place))
            with suppress(FarkeepError):
                base = self._base_of(*place)
                waiting += [(chunk.segment, chunk.chunk_id) for chunk in base.chunks] if base is not None else ()
        return found

    def _held(self, segment: SegmentName, chunk_id: bytes) -> SegmentName:
        return self._holder(segment, chunk_id) if segment in self._before else segment

    def _list(self, page_id: bytes, segment: SegmentName, level: int) -> frozenset[SegmentName]:
        """The damaged segments that a chunk list rests on, as far as it can be read."""
        key = page_id, segment
        if key not in self._lists:
            self._lists[key] = frozenset(self._list_damage(page_id, segment, level))
        return self._lists[key]

    def _list_damage(self, page_id: bytes, segment: SegmentName, level: int) -> Iterator[SegmentName]:
        if (held := self._held(segment, page_id)) in self.found:
            yield held
        try:
            side = self._source.side(segment, page_id)
            yield from self.found.keys() & set(side_segments(side))
            if level == 0 and not self._before.isdisjoint(side_segments(side)):
                rows = decode_chunks(self._source.chunk(segment, page_id), side)
                for chunk_id, _, name in rows:
                    yield from self.found.keys() & self._reached(name, chunk_id) if name else ()
            if level > 0:
                for child in decode_index(self._source.chunk(segment, page_id), side)[2]:
                    yield from self._list(child.page_id, child.segment, level - 1)
        except FarkeepError:
            yield self._blamed(segment, page_id)

    def _blamed(self, segment: SegmentName, page_id: bytes) -> SegmentName:
        """The segment to which a page that does not read is put down."""
        held = self._held(segment, page_id)
        self.found.setdefault(held, Traced())
        return held

    def _unlisted(self, row: Child, after: bytes) -> None:
        segment = self._blamed(row.segment, row.page_id)
        first, last = _path(after), _path(row.last_key)
        self.found[segment].stretches.add(Stretch(_common_folder(after, row.last_key), first, last))
        if last:
            self._note(segment, last)

    def _note(self, name: SegmentName, path: bytes) -> None:
        traced = self.found[name]
        if path in traced.paths:
            return
        if len(traced.paths) < self._paths_max:
            traced.paths.add(path)
        else:
            traced.is_cut = True


def _split(key: bytes) -> tuple[bytes, bytes]:
    folder, _, name = key.partition(b"\0\0")
    return folder, name


def _path(key: bytes) -> bytes:
    """The path that a key stands for; empty for no key."""
    if not key:
        return b""
    folder, name = _split(key)
    return path_of(folder, b"".join(components_of(name)))


def _common_folder(after: bytes, until: bytes) -> bytes:
    """The path of the deepest folder that surely holds every entry between two keys."""
    if not until:
        return b"/"
    shared = []
    for one, other in zip(_split(after)[0].split(b"\0"), _split(until)[0].split(b"\0"), strict=False):
        if one != other:
            break
        shared.append(one)
    return path_of(b"\0".join(shared), b"")
