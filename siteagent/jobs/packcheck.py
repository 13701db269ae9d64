"""The part of a verification that goes pack by pack: trailers, roots in the log, the index, and every segment."""

from __future__ import annotations

from typing import Protocol

from shared.errors import FarkeepError
from shared.facts import PackRef
from siteagent.home import Home
from siteagent.jobs.sampling import Sampling
from siteagent.store.index import Spot
from siteagent.store.names import SegmentName
from siteagent.store.opened import OpenSegment
from siteagent.store.pack import PackHeader, Row, pack_root, read_trailer
from siteagent.store.packs import FolderPacks
from siteagent.store.packwalk import pack_contents
from siteagent.store.reader import SegmentReader
from siteagent.store.scrub import WORKERS, Scrub, ScrubResult
from siteagent.store.segment import KIND_NAMES


class PackProgress(Protocol):
    """Who is told how far it went."""

    packs: int
    packs_done: int
    bytes_read: int


class PackCheck:
    """Checks the packs of one home."""

    def __init__(self, home: Home, packs: FolderPacks, reader: SegmentReader, sampling: Sampling,
                 suspects: set[SegmentName], progress: PackProgress) -> None:
        self._home, self._packs, self._sampling, self._progress = home, packs, sampling, progress
        self._reader = reader
        self._scrub = Scrub(home.keyring, sampling.has, suspects, home.world.workers or WORKERS, self._expand)
        self._checked: set[bytes] = set()
        self._facts_seen = 0
        self._nearest: tuple[int, bytes, PackHeader, Row] | None = None
        self.problems: list[tuple[str, str]] = []
        self.not_proven: list[str] = []
        self.notes: list[str] = []
        self.trailer_bytes = 0

    @property
    def result(self) -> ScrubResult:
        """What was found in the segments."""
        return self._scrub.result

    def run(self) -> None:
        """Check every pack that is there or that the log says is there."""
        # In this order: a pack is there before the log says so.
        self._facts_seen, recorded = self._facts(), self._recorded()
        there = set(self._packs.finished())
        self._progress.packs = len(there)
        for pack_id in sorted(set(recorded) - there):
            self.problems.append((_subject(pack_id), "a pack is missing"))
        # Deltas rest on segments of other packs: the index must be right about all of them first.
        for pack_id in sorted(there):
            self._heal_index(pack_id)
        for pack_id in sorted(there):
            self._check(pack_id, recorded.get(pack_id))
            self._checked.add(pack_id)
            self._progress.packs_done += 1
            self._progress.bytes_read = self.result.bytes_read
        if unknown := len(there - set(recorded)):
            self.not_proven.append(f"{unknown} packs belong to no recorded run: nothing rests on them")
        self._read_nearest()

    def is_present(self, name: SegmentName) -> bool:
        """True when a pack holds this segment, one that came since `run` among them: a compaction may have made it."""
        if name not in self.result.present and (facts := self._facts()) != self._facts_seen:
            self._facts_seen, recorded = facts, self._recorded()
            for pack_id in sorted(set(self._packs.finished()) - self._checked):
                self._check(pack_id, recorded.get(pack_id))
                self._checked.add(pack_id)
        return name in self.result.present

    def _recorded(self) -> dict[bytes, PackRef]:
        try:
            return dict(self._home.ledger.history().packs)
        except FarkeepError:
            return {}

    def _facts(self) -> int:
        """How many facts there are: as long as nothing is recorded nobody can rest on packs that came since."""
        try:
            return self._home.ledger.history().facts
        except FarkeepError:
            return 0

    def _is_given_up(self, pack_id: bytes) -> bool:
        """True for a pack that nothing rests on any more: it may be removed at this moment."""
        try:
            return pack_id in self._home.ledger.history().packs_gone
        except FarkeepError:
            return False

    def _check(self, pack_id: bytes, recorded: PackRef | None) -> None:
        subject = _subject(pack_id)
        try:
            pack = self._packs.open(pack_id)
            about, rows = read_trailer(pack, subject)
        except FarkeepError as error:
            if self._packs.size(pack_id) is None and self._is_given_up(pack_id):
                return
            self.problems.append((subject, error.message))
            self._walk(pack_id)
            return
        if (problem := _contradiction(pack_id, pack.size_bytes, about, rows, recorded, self._home.keyring.site_id)):
            self.problems.append((subject, problem))
        self.trailer_bytes += pack.size_bytes - sum(row.length for row in rows)
        rows = [row for row in rows if row.name not in self._home.retired]
        self._scrub.pack(pack, about, rows)
        self._note_nearest(pack_id, about, rows)

    def _walk(self, pack_id: bytes) -> None:
        """Check what can be found in a pack without its trailer; all of it is opened whole on the way."""
        try:
            pack = self._packs.open(pack_id)
        except FarkeepError:
            return
        contents = pack_contents(pack, pack_id, _subject(pack_id), self._home.keyring, self._home.retired)
        rows = [row for row, _ in contents.rows]
        self.result.segments += len(rows)
        self.result.whole += len(rows)
        self.result.bytes_read += pack.size_bytes
        for row in rows:
            self.result.present.add(row.name)
        self._home.index.add_pack(pack_id, rows, contents.chunk_rows())
        self.notes.append(f"{_subject(pack_id)}: {len(rows)} segments were found without its trailer")

    def _heal_index(self, pack_id: bytes) -> None:
        """The index is only a cache: where it says something else than a trailer, it is corrected."""
        index = self._home.index
        try:
            _, rows = read_trailer(self._packs.open(pack_id), _subject(pack_id))
        except FarkeepError:
            return
        rows = [row for row in rows if row.name not in self._home.retired]
        said = {row.name: index.spot(row.name) for row in rows}
        wrong = {row.name for row in rows
                 if said[row.name] != Spot(pack_id, row.offset, row.length, row.table_length)}
        if wrong and self._is_given_up(pack_id):
            # It holds copies that are about to go: the index rightly names the others, where there are such.
            wrong = {name for name in wrong if (spot := said[name]) is None or self._packs.size(spot.pack_id) is None}
        if not wrong:
            return
        home = self._home
        contents = pack_contents(self._packs.open(pack_id), pack_id, _subject(pack_id), home.keyring, home.retired)
        good = [row for row, _ in contents.rows]
        wrong &= {row.name for row in good}
        if wrong:
            index.add_pack(pack_id, good, contents.chunk_rows())
            self.notes.append(f"the index was wrong about {len(wrong)} segments of {_subject(pack_id)}: corrected")

    def _expand(self, opened: OpenSegment, number: int) -> bytes | memoryview | None:
        """The plaintext of a frame; None for one that nobody uses any more: what it rests on is gone.

        Frames that a snapshot uses are looked at from there, too (siteagent.store.treecheck).
        """
        try:
            return self._reader.expand(opened, number)
        except FarkeepError:
            if self._is_baseless(opened, number):
                return None
            raise

    def _is_baseless(self, opened: OpenSegment, number: int) -> bool:
        """True when something below a frame is in no segment any more, and some of these were retired."""
        table = opened.head.table
        if not any(name in self._home.retired for name in table.closure):
            return False
        try:
            self._reader.frame_closure(opened.head.header.name, table.chunk_id(table.chunk_frames.index(number)))
        except FarkeepError:
            return True
        return False

    def _note_nearest(self, pack_id: bytes, about: PackHeader, rows: list[Row]) -> None:
        """Keep the segment that a larger sample would have taken first, in case this one takes none."""
        if self._sampling.is_nothing or self._sampling.is_everything:
            return
        for row in rows:
            rank = self._sampling.rank(row.name)
            if self._nearest is None or rank < self._nearest[0]:
                self._nearest = rank, pack_id, about, row

    def _read_nearest(self) -> None:
        if self._nearest is None or self.result.whole:
            return
        _, pack_id, about, row = self._nearest
        scrub = Scrub(self._home.keyring, lambda _: True, expand=self._expand)
        try:
            scrub.pack(self._packs.open(pack_id), about, [row])
        finally:
            scrub.close()
        self.result.whole += 1
        self.result.bytes_read += row.length
        self.result.damaged.update(scrub.result.damaged)

    def close(self) -> None:
        """End the threads."""
        self._scrub.close()


def _contradiction(pack_id: bytes, size_bytes: int, about: PackHeader, rows: list[Row], recorded: PackRef | None,
                   site: bytes) -> str:
    """What a sound trailer says otherwise than file name, site and log; empty when nothing."""
    if about.pack_id != pack_id or about.site != site:
        return "a pack is another one than its name says, or another site's"
    if recorded is None:
        return ""
    found = (KIND_NAMES.get(about.kind, ""), size_bytes, len(rows), pack_root(rows))
    if found != (recorded.kind, recorded.size_bytes, recorded.segments, recorded.root):
        return "a pack is not the one that the log has the root of"
    return ""


def _subject(pack_id: bytes) -> str:
    return f"packs/{pack_id.hex()}.pack"
