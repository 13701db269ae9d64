"""Making the index again: thrown away and rebuilt from the packs' trailers and sealed tables.

A segment counts as present only if its header reads back and its table opens. A pack whose trailer is damaged or cut
off is walked from segment to segment instead, and what opens whole is taken. Nothing but the index is changed.

| step | done after it                      | a crash then leaves                                                      |
| ---- | ---------------------------------- | ------------------------------------------------------------------------ |
| 1    | the old index is gone              | no index: whoever opens the home makes one and fills it from the packs   |
| 2    | the rows of each pack, the one     | an index that lacks packs: those without their last row are read again   |
|      | that says so last                  | by whoever comes next                                                    |
| 3    | facts job.started, job.ended       | a sound index, nothing or a job without an end recorded                  |
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from shared.errors import FarkeepError, UnavailableError
from siteagent.home import Home
from siteagent.jobs.record import Who, recorded
from siteagent.salvage import require_newest
from siteagent.store.names import shown_segment
from siteagent.store.packs import FolderPacks
from siteagent.store.packwalk import pack_contents


class IndexRepair(Struct):
    """What the index was made of. `walked`: packs without a sound trailer, and what was wrong with it; `left_out`:
    segments (or packs) that do not read, and why."""

    packs: int = 0
    packs_done: int = 0
    segments: int = 0
    walked: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """True when every pack was read by its trailer and nothing was left out."""
        return not self.walked and not self.left_out


def repair_index(home: Home, watch: Callable[[IndexRepair], None] | None = None, who: Who | None = None) -> IndexRepair:
    """Throw the index away and make it again; `watch` receives the running report.

    Raises UnavailableError while jobs of this process hold leases: they find their way by it. Who starts
    meanwhile waits.
    """
    report, began_ns = IndexRepair(), home.world.clock.monotonic_ns()
    if watch is not None:
        watch(report)
    with home.arranging:
        if jobs := home.leases.held():
            raise UnavailableError(f"jobs are running that need the index: {', '.join(jobs)}",
                                   next_step="wait until they have ended")
        _rebuild(home, report)
    _record(home, report, who or Who("", ""))
    report.seconds = (home.world.clock.monotonic_ns() - began_ns) / 1e9
    return report


def _rebuild(home: Home, report: IndexRepair) -> None:
    home.index.reset()
    packs = FolderPacks(home.disk)
    try:
        there = packs.finished()
        report.packs = len(there)
        for pack_id in there:
            _take(home, packs, pack_id, report)
            report.packs_done += 1
    finally:
        packs.close()


def _take(home: Home, packs: FolderPacks, pack_id: bytes, report: IndexRepair) -> None:
    subject = f"packs/{pack_id.hex()}.pack"
    try:
        contents = pack_contents(packs.open(pack_id), pack_id, subject, home.keyring, home.retired)
    except FarkeepError as error:
        report.left_out.append((subject, error.message))
        return
    if contents.damage:
        report.walked.append((subject, contents.damage))
    report.left_out += [(shown_segment(name), what) for name, what in contents.left_out.items()]
    home.index.add_pack(pack_id, [row for row, _ in contents.rows], contents.chunk_rows())
    report.segments += len(contents.rows)


def _record(home: Home, report: IndexRepair, who: Who) -> None:
    """The index is a cache: that it was made again is worth a fact, not a failure when the log cannot take one."""
    try:
        require_newest(home)
        with recorded(home, "repair", who, ("index",), is_reading=True) as job:
            job.outcome = "done" if report.is_good else "partial"
            job.counters = {"packs": report.packs, "segments": report.segments, "left_out": len(report.left_out)}
    except FarkeepError as error:
        report.notes.append(f"this repair is not recorded: {error.message}")
