"""The ledger: the one door to a site's log. Create or open it, record facts, read them, ask what they add up to.

Locking: one lock per ledger, held while recording and while folding; facts are read in pages, so a reader holds nothing
while its caller works. One process owns a home (`siteagent.disk.owner`), so the database has one writer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Self

from shared.chain import Position, SignedHead, parse_position
from shared.clock import Clock
from shared.errors import BugError, DamagedError, ExhaustedError, RefusedError
from shared.facts import (
    Fact,
    KeyAdded,
    LogOpened,
    LogOpenedSealed,
    OrganisationKeys,
    Subject,
    SubjectErased,
    SubjectErasedSealed,
)
from shared.keyring import Keyring
from shared.randomness import Randomness
from siteagent.disk.disk import Disk
from siteagent.disk.local import LocalDisk
from siteagent.ledger.appender import Appender
from siteagent.ledger.application import LedgerApplication
from siteagent.ledger.counted_time import CountedTime
from siteagent.ledger.database import LOG_FILE, LedgerDatastore
from siteagent.ledger.fact_keys import FactKeys
from siteagent.ledger.high_water import HighWater, Verdict, encode_high_water, judge
from siteagent.ledger.history import History
from siteagent.ledger.history_cache import HistoryCache
from siteagent.ledger.mapper import FactMapper
from siteagent.ledger.reading import FactReader, RecordedFact
from siteagent.ledger.recorder import ChainRecorder, Destruction
from siteagent.ledger.register import named_aggregate
from siteagent.ledger.state import empty_state
from siteagent.ledger.stored import ChainedFact
from siteagent.ledger.subject import SubjectRecord

OpeningReason = Literal["created", "unproven", "rewound", "asked"]
CACHED_TAIL_FACTS = 64
"""A cache is written when more facts than this came after the last one: replaying so many takes about 3 ms."""


class Ledger:
    """The open log of one site. Made by `create` or `open`; close it."""

    def __init__(
        self,
        folder: str,
        keyring: Keyring,
        clock: Clock,
        randomness: Randomness,
        disk: Disk | None,
        *,
        can_create: bool,
    ) -> None:
        self.path = os.path.join(folder, LOG_FILE)
        self.keyring = keyring
        self.verdict = Verdict.UNPROVEN
        self.home_inode = 0
        self._clock = clock
        self._randomness = randomness
        self._lock = threading.RLock()
        self._on_append: Callable[[SignedHead], None] | None = None
        self._keys = FactKeys(keyring, randomness)
        self._reader = FactReader(self._keys)
        self._disk: Disk = disk or LocalDisk(folder)
        self._cache = HistoryCache(self._disk, randomness)
        self._history: History | None = None
        self._appender: Appender | None = None
        self._cached_facts = 0
        self._datastore = LedgerDatastore(self.path, can_create=can_create)
        self.recorder = ChainRecorder(self._datastore, keyring.site_id, keyring.identity)
        mapper = FactMapper(keyring.site_id, self._keys, self._reader, randomness)
        self._application = LedgerApplication(mapper, self.recorder)

    @classmethod
    def create(
        cls,
        folder: str,
        keyring: Keyring,
        clock: Clock,
        randomness: Randomness,
        *,
        site_name: str,
        reason: OpeningReason = "created",
        home_inode: int | None = None,
        disk: Disk | None = None,
    ) -> Self:
        """Begin a log in `folder` (made when absent): its opening fact and all key records.

        `reason` is "rewound" when a site's lost log is begun again, to be filled from manifests by `repair log`.
        `disk` has `folder` as its root (default: the real one). A creation that was cut off before its first fact is
        done again. The caller syncs the folder above. Raises RefusedError when there is a log already.
        """
        (disk or LocalDisk(folder)).make_folder("")
        ledger = cls(folder, keyring, clock, randomness, disk, can_create=True)
        try:
            ledger.recorder.prepare_tables()
            if ledger.recorder.max_notification_id():
                raise RefusedError("there is a log already", subject=ledger.path, next_step="choose another home")
            facts = [ledger._opening(reason, site_name, ""), *_key_facts(keyring)]
            ledger.verdict = Verdict.FRESH
            ledger.home_inode = _home_inode(folder) if home_inode is None else home_inode
            ledger._append(facts, Destruction((), randomness.bits(32)))
            ledger._disk.sync_folder("")
        except BaseException:
            ledger._datastore.close()
            raise
        return ledger

    @classmethod
    def open(
        cls,
        folder: str,
        keyring: Keyring,
        clock: Clock,
        randomness: Randomness,
        high_water: HighWater | None = None,
        *,
        home_inode: int | None = None,
        disk: Disk | None = None,
    ) -> Self:
        """Open the log in `folder` and judge by the high-water mark how sure it is to be the newest (`verdict`).

        `home_inode` is that of the folder above (default: looked up). Raises RefusedError for another site's log or a
        newer Farkeep's, DamagedError for a missing, empty or damaged database, UnavailableError when it is in use.
        """
        path = os.path.join(folder, LOG_FILE)
        if not os.path.exists(path):
            raise DamagedError("the log is missing", subject=path,
                               next_step="put log.db back from a copy of the home, or run `farkeep repair log`")
        ledger = cls(folder, keyring, clock, randomness, disk, can_create=False)
        try:
            is_sound = ledger.recorder.load_head()
            ledger.home_inode = _home_inode(folder) if home_inode is None else home_inode
            ledger.verdict = ledger._judge(high_water) if is_sound else Verdict.DAMAGED
        except BaseException:
            ledger._datastore.close()
            raise
        return ledger

    @property
    def head(self) -> SignedHead:
        """The newest position, signed."""
        head = self.recorder.head
        if head is None:
            raise BugError("the log has no head", subject=self.path, next_step="report this")
        return head

    def high_water(self) -> bytes:
        """The high-water mark of the present head, to be written outside the home."""
        return encode_high_water(HighWater(self.head.position, self.home_inode), self.keyring.current)

    def set_on_append(self, callback: Callable[[SignedHead], None] | None) -> None:
        """Call back with the new head after every append, before `record` returns."""
        self._on_append = callback

    def set_on_full(self, callback: Callable[[], bool]) -> None:
        """Call back when a write to the log meets a full disk; True when there is room now: it is tried once more."""
        self.recorder.make_room = callback

    def now_ns(self) -> int:
        """Log time now: the clock's, and never before the newest fact."""
        last = self.history().last_stamp
        return max(self._clock.now_ns(), last.time_ns if last else 0)

    def counted(self) -> CountedTime:
        """Counted time now: what waiting times and ends of holds go by."""
        return self.history().counted.at(self._clock.now_ns())

    def use_keyring(self, keyring: Keyring) -> None:
        """Work with a rotated keyring; the caller records its new key records."""
        with self._lock:
            self.keyring = keyring
            self._keys.use(keyring)
            self.recorder.signer = keyring.identity

    def record(self, *facts: Fact) -> Position:
        """Append facts in one transaction; they are on the disk when this returns the position of the last one.

        Raises RefusedError while the verdict forbids writing or the log holds facts of a newer Farkeep, ExhaustedError,
        DamagedError or UnavailableError when the append failed (then nothing more can be recorded by this process).
        """
        if not facts:
            return self.head.position
        with self._lock:
            self._require_writable()
            return self._append(list(facts))

    def open_log_epoch(self, reason: OpeningReason, note: str = "", facts: Sequence[Fact] = ()) -> Position:
        """Open a new log epoch after the present head, go on in it, and return the new head.

        `facts` are recorded with it in one transaction. Allowed unless the log is damaged or holds facts of a newer
        Farkeep.
        """
        with self._lock:
            if self.verdict is Verdict.DAMAGED:
                self._require_writable()
            position = self._append([self._opening(reason, "", note), *facts])
            self.verdict = Verdict.FRESH
            return position

    def erase_subject(self, subject: Subject, reason: str) -> Position:
        """Destroy the fact keys and the name of a subject; what was sealed about it reads as erased from now on.

        The stored bytes are overwritten with zeros in the database; copies of the log elsewhere keep theirs until they
        are told. Raises RefusedError when there is no such subject.
        """
        with self._lock:
            self._require_writable()
            self._loaded_history()
            pseudonym = self._keys.pseudonym_of(subject)
            if pseudonym is None:
                raise RefusedError("nothing is recorded about this subject", subject=f"{subject.kind} {subject.name}",
                                   next_step="look at the names in `farkeep snapshots`")
            places = self.recorder.tables.places_of(named_aggregate(SubjectRecord, pseudonym), "subject.opened")
            fact = Fact(SubjectErased(pseudonym=pseudonym), SubjectErasedSealed(reason=reason))
            position = self._append([fact], Destruction(places, self._randomness.bits(32)))
            self._keys.forget(pseudonym)
            self._history = None
            self._cache.drop()
            self._datastore.checkpoint()
            return position

    def facts(self, after: Position | None = None, until: Position | None = None) -> Iterator[RecordedFact]:
        """The facts after one position up to and including another, in order (default: all).

        Raises RefusedError for a position this log does not contain, DamagedError at the first fact that does not read.
        """
        self._loaded_history()
        start = self.recorder.tables.require_place(after) if after else 0
        stop = self.recorder.tables.require_place(until) if until else None
        for fact in self.recorder.tables.pages(start, stop):
            yield self._reader.read(fact)

    def newest_facts(self, count: int, until: Position | None = None) -> list[RecordedFact]:
        """The last `count` facts up to a position (default: the head), oldest first; raises like `facts`."""
        self._loaded_history()
        stop = self.recorder.tables.require_place(until or self.head.position)
        return [self._reader.read(fact) for fact in self.recorder.tables.pages(max(0, stop - count), stop)]

    def subject_of(self, pseudonym: bytes) -> Subject | None:
        """Who is behind a pseudonym; None for the site itself, and for the erased and the unreadable."""
        self._loaded_history()
        return self._keys.subject_of(pseudonym)

    def read(self, fact: ChainedFact) -> RecordedFact:
        """Open one stored fact; raises DamagedError when it does not read."""
        return self._reader.read(fact)

    def history(self, as_of: Position | int | None = None) -> History:
        """What the log adds up to, now or as of a past position or log time (ns since 1970; both inclusive).

        The present one is one object that grows with the log: ask again after recording.
        """
        if as_of is None:
            return self._loaded_history()
        self._loaded_history()
        past = History(empty_state(self.keyring.site_id))
        for fact in self.facts(until=None if isinstance(as_of, int) else as_of):
            if isinstance(as_of, int) and fact.time_ns > as_of:
                break
            past.fold(fact)
        return past

    def contains(self, position: Position) -> bool:
        """Say whether this log holds exactly this fact at this place."""
        return self.recorder.tables.place_of(position) is not None

    def position(self, text: str) -> Position:
        """The position that `site/log-epoch/sequence` names; raises UsageError, or RefusedError for none or several."""
        name = parse_position(text)
        log_epoch = self._loaded_history().log_epochs.find(name, text)
        position = self.recorder.tables.position_at(log_epoch, name.sequence)
        if position is None:
            raise RefusedError("this log has no such position", subject=text, next_step="look at `farkeep events`")
        return position

    def checkpoint(self) -> None:
        """Move what was appended from the write-ahead file into the database, so that sizes on disk are final."""
        with self._lock:
            self._with_room(self._datastore.checkpoint)

    def _with_room(self, write: Callable[[], None]) -> None:
        try:
            write()
        except ExhaustedError:
            if not self.recorder.make_room():
                raise
            write()

    def close(self) -> None:
        """Keep the projection for the next time, and close the database; harmless when called twice."""
        with self._lock:
            history = self._history
            if history is not None and history.facts > self._cached_facts + CACHED_TAIL_FACTS:
                state = history.to_state(self._keys.opened_subjects(), sorted(self._keys.erased))
                self._cache.write(state, self.keyring, self.recorder.tables.cache_salt())
            self._history = None
            self._with_room(self._datastore.close_cleanly)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _judge(self, high_water: HighWater | None) -> Verdict:
        is_contained = high_water is not None and self.contains(high_water.position)
        verdict = judge(high_water, is_contained, self.home_inode)
        is_opener = self.head.public == self.keyring.identity.public
        return verdict if is_opener or verdict is not Verdict.FRESH else Verdict.UNPROVEN

    def _require_writable(self) -> None:
        if self.verdict is Verdict.UNPROVEN:
            raise BugError("the log is not proven to be the newest: a new log epoch must be opened first",
                           subject=self.path, next_step="report this")
        if self.verdict is Verdict.REWOUND:
            raise RefusedError("the log is older than its high-water mark: the home was put back from an old copy",
                               subject=self.path, next_step="run `farkeep repair log`; until then nothing is written")
        if self.verdict is Verdict.DAMAGED:
            raise DamagedError("the newest fact of the log does not read or is not signed", subject=self.path,
                               next_step="run `farkeep audit verify`, then `farkeep repair log`")

    def _opening(self, reason: OpeningReason, site_name: str, note: str) -> Fact:
        organisation = self.keyring.organisation
        clear = LogOpened(
            parent=self.recorder.head.position if self.recorder.head else None,
            opener=self.keyring.identity.public,
            random=self._randomness.bits(32),
            organisation=OrganisationKeys(
                id=organisation.id,
                recovery_public=organisation.recovery_public,
                root_public=organisation.root_public,
            ) if organisation else None,
            reason=reason,
        )  # fmt: skip
        sealed = LogOpenedSealed(
            site_name=site_name,
            organisation_name=organisation.name if organisation else "",
            organisation_signature=organisation.signature if organisation else b"",
            note=note,
        )
        return Fact(clear, sealed)

    def _append(self, facts: list[Fact], destruction: Destruction | None = None) -> Position:
        if self._appender is None:
            history = self._loaded_history()
            if history.newer:
                raise RefusedError(f"the log holds {history.newer} facts made by a newer Farkeep", subject=self.path,
                                   next_step="update Farkeep on this machine")
            self._appender = Appender(self._application, self._keys, self._clock, history.last_stamp)
        position = self._appender.append(facts, self.keyring.site_id, destruction)
        if self._on_append is not None:
            self._on_append(self.head)
        return position

    def _loaded_history(self) -> History:
        with self._lock:
            if self._history is None:
                self._history = self._cached_history() or History(empty_state(self.keyring.site_id))
            history = self._history
            start = self.recorder.tables.place_of(history.position) or 0
            for fact in self.recorder.tables.pages(start, None):
                history.fold(self._reader.read(fact))
            return history

    def _cached_history(self) -> History | None:
        state = self._cache.read(self.keyring, self.recorder.tables.cache_salt())
        if state is None or not self.contains(state.position):
            return None
        for opened in state.subjects:
            for opening in opened.openings:
                self._keys.learn(opening)
            self._keys.name(opened.pseudonym, opened.subject)
        self._keys.erased.update(state.erased)
        self._cached_facts = state.facts
        return History(state)


def _key_facts(keyring: Keyring) -> list[Fact]:
    return [Fact(KeyAdded(record=record)) for record in keyring.records]


def _home_inode(folder: str) -> int:
    return os.stat(os.path.dirname(os.path.abspath(folder))).st_ino
