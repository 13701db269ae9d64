"""What a home with damaged files must still promise: nothing wrong is ever read, and verify names what is lost."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from shared.errors import DamagedError, FarkeepError
from siteagent.home import Home
from siteagent.jobs.verify import DamagedSegment, VerifyReport, verify
from siteagent.ledger.state import SnapshotEntry
from siteagent.store.catalog import Catalog, Root
from siteagent.store.packs import FolderPacks
from siteagent.store.reader import SegmentReader
from siteagent.store.trace import Stretch
from tests.support.bounds import within_time
from tests.support.small_home import WHO, Read, SmallHome, read_around_damage

TIME_S = 30.0


@dataclass
class Examination:
    """What was found. `refused`: why the home does not open (empty: it does); `lost`: by snapshot, paths that do not
    read; `unlisted`: snapshots of which not every entry can be listed; `missing`: those not shown at all."""

    refused: str = ""
    report: VerifyReport | None = None
    lost: dict[bytes, set[bytes]] = field(default_factory=dict)
    unlisted: set[bytes] = field(default_factory=set)
    missing: set[bytes] = field(default_factory=set)

    @property
    def is_harmless(self) -> bool:
        """True when all is read right, and nothing is said to be damaged."""
        return not (self.refused or self.missing or self.lost or self.unlisted) and bool(
            self.report and self.report.is_good)  # fmt: skip


def examine(small: SmallHome) -> Examination:
    """Open, verify and read everything; raises AssertionError when a promise is broken."""
    with within_time(TIME_S):
        try:
            home = small.place.open()
        except FarkeepError as error:
            assert error.kind != "bug" and error.next_step, error
            return Examination(refused=error.message)
        try:
            return _examined(home, small)
        finally:
            with contextlib.suppress(FarkeepError):
                home.close()


def _examined(home: Home, small: SmallHome) -> Examination:
    found = Examination(report=verify(home, "read-data", who=WHO))
    try:
        entries = {entry.id: entry for entry in home.ledger.history().snapshots}
    except FarkeepError:
        entries = {}
    found.missing = small.truth.keys() - entries.keys()
    for snapshot, truth in {**small.truth, **small.swept}.items():
        if snapshot in entries:
            _read(home, entries[snapshot], truth, found)
    for snapshot in entries.keys() - small.truth.keys() - small.swept.keys():
        assert snapshot in small.strangers, "a snapshot came out of nowhere"
    _require_named(found, set(small.swept))
    return found


def catalog_with(entry: SnapshotEntry, reader: SegmentReader) -> Catalog:
    """A snapshot's tree through a reader that remembers nothing; raises DamagedError when its fact does not read."""
    if entry.summary is None:
        raise DamagedError("what is recorded of this snapshot cannot be read")
    return Catalog(reader, Root(entry.summary.root_page, entry.summary.root_segment, entry.summary.levels))


def read_anew(home: Home, entry: SnapshotEntry) -> tuple[Read, set[bytes], bool]:
    """A snapshot as `read_around_damage` has it, through a reader that remembers nothing; nothing when not even its
    root is known."""
    packs = FolderPacks(home.disk)
    reader = SegmentReader(packs, home.index, home.keyring, home.successors)
    try:
        return read_around_damage(catalog_with(entry, reader), reader)
    except FarkeepError:
        return {}, set(), False
    finally:
        packs.close()


def _read(home: Home, entry: SnapshotEntry, truth: Read, found: Examination) -> None:
    read, lost, is_listed = read_anew(home, entry)
    for path, value in read.items():
        assert value == truth.get(path), f"{path!r} of {entry.id.hex()} was read wrong"
    assert lost <= truth.keys(), "an entry came out of nowhere"
    if lost:
        found.lost[entry.id] = lost
    if not is_listed:
        found.unlisted.add(entry.id)
    elif truth.keys() - read.keys() - lost:
        raise AssertionError(f"{sorted(truth.keys() - read.keys() - lost)} are missing, and nothing was said")


def _require_named(found: Examination, swept: set[bytes]) -> None:
    """Everything that does not read is named by verify, with its snapshots."""
    report = found.report
    assert report is not None
    if found.missing or found.lost or found.unlisted:
        assert not report.is_good, "something is lost, and verify says that all is well"
    is_log_named = any("log" in subject for subject, _ in report.problems)
    assert is_log_named or not found.missing, "a snapshot is missing, and the log is not said to be damaged"
    for snapshot, paths in found.lost.items():
        if snapshot in swept:
            continue
        concerned = [each for each in report.damaged if snapshot in each.snapshots]
        unnamed = {path for path in paths if not any(_names(each, path) for each in concerned)}
        assert not unnamed, f"verify does not name {sorted(unnamed)} of {snapshot.hex()}: {report}"
    for snapshot in found.unlisted - swept:
        assert any(snapshot in each.snapshots and each.stretches for each in report.damaged) or is_log_named, report


def _names(damaged: DamagedSegment, path: bytes) -> bool:
    return path in damaged.paths or damaged.is_cut or any(_is_in(stretch, path) for stretch in damaged.stretches)


def _is_in(stretch: Stretch, path: bytes) -> bool:
    return path.startswith(stretch.folder.rstrip(b"/") + b"/") or path == stretch.folder
