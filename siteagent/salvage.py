"""What earlier runs left behind, dealt with when an owner is about to write.

- What a prune gave up by a fact and did not come to remove is removed.
- The index is brought in line with the packs that are there.
- Finished packs that no fact names belong to a run that was cut off: their segments are opened and checked, and a fact
  makes them count as present, so the next try goes on from there. Their cited head must be in the log: otherwise the
  log was rewound, and nothing is written before `repair log`.
- Keys that stand in the keyring only (a rotation was cut off) become facts before anything is sealed under them.
- The cut-off run's abandonment becomes a fact; only then its unfinished packs and its manifest are removed.

All of it follows from facts and from what lies on the disk, so a crash in the middle leaves the same to do: what was
removed stays removed, what was recorded is not recorded again, the rest is found once more. In a process where another
job already writes, that job has done all this, and what looks cut off is its own work: see `Home.arranging`.
"""

from __future__ import annotations

from contextlib import suppress

from shared.chain import Position
from shared.decisions import PacksReplaced
from shared.errors import DamagedError, FarkeepError, RefusedError
from shared.facts import (
    Fact,
    JobEnded,
    JobEndedSealed,
    KeyAdded,
    PackRef,
    PacksStored,
    RunAbandoned,
    RunAbandonedSealed,
)
from shared.manifest import decode_manifest_header
from siteagent.home import Home, changes_of
from siteagent.ledger.high_water import Verdict
from siteagent.ledger.state import JobEntry, SnapshotEntry
from siteagent.store.clearing import Clearing
from siteagent.store.layout import KEYRING_FILE
from siteagent.store.names import SegmentName, run_of
from siteagent.store.pack import Cited, PackHeader, Row, pack_root, read_trailer
from siteagent.store.segment import HEADER_BYTES, KIND_NAMES, open_segment, open_table, parse_header
from siteagent.store.table import Table, decode_table

_Headers = dict[bytes, tuple[PackHeader, list[Row]] | None]
"""Header and segments of packs by id; None where the trailer does not read."""


def refresh_index(home: Home) -> int:
    """Bring the index in line with the packs that are there; returns the number of packs read again."""
    count = 0
    with home.arranging:
        there, known = set(home.packs.finished()), home.index.packs()
        for pack_id in known - there:
            home.index.drop_pack(pack_id)
        # What was given up first: where another pack holds the same segments, that one is to be read.
        gone = _packs_gone(home) if there - known else set()
        for pack_id in sorted(there - known, key=lambda pack_id: (pack_id not in gone, pack_id)):
            try:
                index_pack(home, pack_id)
                count += 1
            except FarkeepError as error:
                home.notes.append(f"pack {pack_id.hex()} could not be indexed: {error}")
    return count


def _packs_gone(home: Home) -> set[bytes]:
    try:
        return set(home.ledger.history().packs_gone)
    except FarkeepError:
        return set()


def index_pack(home: Home, pack_id: bytes) -> None:
    """Add a pack's rows from its trailer and its sealed tables; segments that do not open are left out."""
    header, rows = read_trailer(home.packs.open(pack_id), f"packs/{pack_id.hex()}.pack")
    good: list[tuple[Row, Table]] = []
    for row in rows:
        if row.name in home.retired:
            continue
        try:
            good.append((row, _table(home, pack_id, row)))
        except FarkeepError as error:
            home.notes.append(f"a segment could not be indexed: {error}")
    home.index.add_pack(
        header.pack_id, [row for row, _ in good],
        ((row.name, table.ids, [table.frames[frame].depth for frame in table.chunk_frames]) for row, table in good),
    )  # fmt: skip


def _table(home: Home, pack_id: bytes, row: Row) -> Table:
    data = home.packs.open(pack_id).read_at(row.offset, HEADER_BYTES + row.table_length)
    header = parse_header(data, f"packs/{pack_id.hex()}.pack")
    if header.name != row.name or header.table_length != row.table_length:
        raise DamagedError("a pack's trailer and its segments disagree", subject=f"packs/{pack_id.hex()}.pack",
                           next_step="run `farkeep verify --read-data`")
    return decode_table(open_table(header, data[HEADER_BYTES:], home.keyring.epoch(header.key_epoch)))


def prepare_writing(home: Home) -> None:
    """Do all that must be done before a job may write.

    Who will write segments holds `home.arranging` until its job is in `home.running`: another job that prepares would
    else take its files for litter. Raises RefusedError when the log was rewound, DamagedError when it does not read.
    """
    with home.arranging:
        _prepare(home)


def _prepare(home: Home) -> None:
    headers = require_newest(home)
    _require_newest_keys(home)
    _settle(home, headers)
    if home.ledger.verdict is Verdict.UNPROVEN:
        home.ledger.open_log_epoch("unproven")
    if any(list(home.running.values())):
        # A job of this process that writes has dealt with all this; what is unfinished now is its own.
        refresh_index(home)
        return
    cut_off = [job for job in home.ledger.history().open_jobs if job.job not in home.running]
    _clear_packs(home, cut_off)
    refresh_index(home)
    facts = [*_unrecorded_keys(home), *_adoption(home, headers, cut_off)]
    unfinished = home.packs.unfinished()
    for job in cut_off:
        facts.append(Fact(JobEnded(job=job.job, outcome="failed"), JobEndedSealed(message="it was cut off")))
        if job.run:
            facts.append(Fact(RunAbandoned(run=job.run, packs=tuple(unfinished)),
                              RunAbandonedSealed(reason="the job was cut off")))  # fmt: skip
    home.ledger.record(*facts)
    _clean(home, unfinished)


def _require_newest_keys(home: Home) -> None:
    """Refuse a keyring that was put back from an old copy: a rotation would give a number of a key epoch twice."""
    own = {(record.kind, record.id) for record in home.keyring.records}
    lacking = [record for record in home.ledger.history().keys if (record.kind, record.id) not in own]
    if lacking:
        what = f"key epoch {lacking[0].number}" if lacking[0].number else f"a key of kind {lacking[0].kind}"
        raise RefusedError(f"the keyring is older than the log: it lacks {what}", subject=KEYRING_FILE,
                           next_step="put the newest keyring and its key file back; until then only reading is "
                                     "possible")


def _clear_packs(home: Home, cut_off: list[JobEntry]) -> None:
    gone = set(home.ledger.history().packs_gone) & set(home.packs.finished())
    is_cut_off = any(job.kind == "prune" for job in cut_off)
    if (gone or is_cut_off) and not home.leases.held():
        home.note_changes()
        clearing = Clearing(home.packs, home.index, gone, home.retired)
        clearing.delete_gone()
        if is_cut_off:
            clearing.punch_all()
        home.notes += clearing.notes


def _settle(home: Home, headers: _Headers) -> None:
    """Make durable what a command that was cut off gave a name and did not sync any more: facts will rest on it."""
    if headers:
        home.packs.settle()
    # The last name that a migration gives is that of the format file.
    if home.world.migrations or _unrecorded_keys(home) or not home.ledger.history().snapshot_ids:
        home.disk.sync_folder("")


def require_newest(home: Home) -> _Headers:
    """Raise what `prepare_writing` raises when the log is older than what lies beside it, or does not read.

    Returns what the packs that the log does not know say of themselves.
    """
    with home.arranging:
        return _required_newest(home)


def _required_newest(home: Home) -> _Headers:
    _require_writable(home)
    history = home.ledger.history()
    # A pack that came back from an older copy proves nothing against a log that gave it up.
    known = history.packs.keys() | history.packs_gone
    unknown = [pack_id for pack_id in home.packs.finished() if pack_id not in known]
    headers = {pack_id: _header(home, pack_id) for pack_id in unknown}
    _require_cited(home, [found[0].cited for found in headers.values() if found])
    _require_manifests_cited(home)
    if any(written > known for written, known in
           zip(home.changes.written(), changes_of(home.ledger.history()).counts(), strict=True)):
        raise rewound(home, "segments were swept or superseded later")
    return headers


def _require_writable(home: Home) -> None:
    if home.ledger.verdict is Verdict.REWOUND:
        raise rewound(home, "its high-water mark is newer than it")
    if home.ledger.verdict is Verdict.DAMAGED:
        raise DamagedError("the log does not read to its end", subject=home.ledger.path,
                           next_step="run `farkeep audit verify`, then `farkeep repair log`")


def rewound(home: Home, proof: str) -> RefusedError:
    """The refusal to write over a log that was put back from an old copy."""
    return RefusedError(f"the log is older than what lies beside it: {proof}", subject=home.ledger.path,
                        next_step="run `farkeep repair log` to take the newer snapshots back; until then only reading "
                                  "is possible")


def _header(home: Home, pack_id: bytes) -> tuple[PackHeader, list[Row]] | None:
    try:
        return read_trailer(home.packs.open(pack_id), f"packs/{pack_id.hex()}.pack")
    except FarkeepError as error:
        home.notes.append(f"pack {pack_id.hex()} does not read and is left alone: {error}")
        return None


def _require_cited(home: Home, cited: list[Cited]) -> None:
    for head in set(cited):
        if not home.ledger.contains(Position(home.keyring.site_id, head.log_epoch, head.sequence, head.hash)):
            raise rewound(home, "a pack cites a later position")


def _require_manifests_cited(home: Home) -> None:
    there = home.snapshots.manifests()
    # Those of swept snapshots may be removed at this moment; the log that swept them contains what they cite.
    known = {*home.ledger.history().snapshot_ids, *home.ledger.history().swept}
    for snapshot in there:
        if snapshot in known:
            continue
        data = home.snapshots.manifest_bytes(snapshot)
        after = decode_manifest_header(data, subject=f"snapshots/{snapshot.hex()}.manifest").written_after
        if not home.ledger.contains(after):
            raise rewound(home, "a manifest cites a later position")


def _unrecorded_keys(home: Home) -> list[Fact]:
    known = {(record.kind, record.id) for record in home.ledger.history().keys}
    return [Fact(KeyAdded(record=record)) for record in home.keyring.records if (record.kind, record.id) not in known]


def _adoption(home: Home, headers: _Headers, cut_off: list[JobEntry]) -> list[Fact]:
    """Facts that make packs count which are whole and which no fact names.

    A pack of a run that is over is a copy of segments which are still where they were: its job did not come to say so.
    """
    history = home.ledger.history()
    copier = next((job.job for job in cut_off if job.kind in ("prune", "repair")), None)
    open_runs, copies = {job.run for job in cut_off if job.run}, list[PackRef]()
    by_run: dict[bytes, list[PackRef]] = {}
    for pack_id, found in headers.items():
        if found is None or not found[1] or pack_id in history.packs_gone or not _is_sound(home, pack_id, found[1]):
            continue
        header, rows = found
        run = run_of(rows[0].name)
        size_bytes = home.packs.size(pack_id) or 0
        pack = PackRef(id=pack_id, kind=KIND_NAMES.get(header.kind, "data"), size_bytes=size_bytes,
                       root=pack_root(rows), segments=len(rows))  # fmt: skip
        if copier is not None and run not in open_runs:
            copies.append(pack)
        elif run not in history.runs_abandoned:
            by_run.setdefault(run, []).append(pack)
    facts = [Fact(PacksStored(run=run, packs=tuple(packs))) for run, packs in by_run.items()]
    if copier is not None and copies:
        facts.append(Fact(PacksReplaced(job=copier, packs=tuple(copies), removed=())))
    return facts


def _is_sound(home: Home, pack_id: bytes, rows: list[Row]) -> bool:
    """True when every segment of a pack opens."""
    pack = home.packs.open(pack_id)
    for row in rows:
        try:
            data = pack.read_at(row.offset, row.length)
            header = parse_header(data, f"packs/{pack_id.hex()}.pack")
            open_segment(header, memoryview(data)[HEADER_BYTES:], home.keyring.epoch(header.key_epoch))
        except FarkeepError as error:
            home.notes.append(f"pack {pack_id.hex()} of a run that was cut off is not taken over: {error}")
            return False
    return True


def _clean(home: Home, unfinished: list[bytes]) -> None:
    for pack_id in unfinished:
        home.packs.delete(pack_id)
    # Asked in this order: whoever registers a lease after it is told that what was swept is gone.
    is_read = bool(home.leases.held())
    history = home.ledger.history()
    home.snapshots.remove_others({*history.snapshot_ids, *(history.swept if is_read else ())})


def unusable_segments(home: Home) -> frozenset[SegmentName]:
    """Segments that no new snapshot may rely on: found damaged, in a pack that is not there, or in one that no fact
    names (it is not sound, or its run was given up)."""
    damaged = set(home.ledger.history().damaged)
    damaged |= home.successors.before(damaged)
    doubtful = set(home.packs.finished()) ^ home.ledger.history().packs.keys()
    if doubtful:
        spots = ((name, home.index.spot(name)) for name in home.index.segments())
        damaged.update(name for name, spot in spots if spot is None or spot.pack_id in doubtful)
    return frozenset(damaged)


def unreadable_segments(home: Home, entry: SnapshotEntry) -> frozenset[SegmentName]:
    """Segments that did not read in this process, after a look at the tables of all that a snapshot needs."""
    with suppress(FarkeepError):
        for name in home.successors.closed(home.snapshots.segments(entry.id, entry.taken.reach)):
            with suppress(FarkeepError):
                home.reader.table(name)
    return frozenset(home.reader.damaged | home.successors.before(home.reader.damaged))
