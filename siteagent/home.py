"""A home: disk, keys, log and store of one site, opened together by its one owner process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from msgspec import Struct, field

from migrations.homes import HOME_MIGRATIONS, Migration, newest_version
from shared.chain import SignedHead
from shared.clock import Clock
from shared.errors import DamagedError, FarkeepError, RefusedError
from shared.keyfile import decode_key_file
from shared.keyring import Keyring
from shared.keyringfile import open_keyring, read_keyring
from shared.randomness import Randomness
from shared.secret import Secret
from siteagent.disk.disk import Disk
from siteagent.disk.durable import read_whole, write_durably
from siteagent.disk.local import LocalDisk
from siteagent.disk.mounts import network_kind
from siteagent.disk.owner import Owner, take_home
from siteagent.disk.reserve import RESERVE_BYTES, Reserve
from siteagent.ledger.high_water import HIGH_WATER_BYTES, Verdict, read_high_water
from siteagent.ledger.history import History
from siteagent.ledger.ledger import Ledger
from siteagent.ledger.log_check import check_log
from siteagent.ledger.rescue import Rescue, is_whole, rescue_log
from siteagent.ledger.state import SnapshotEntry
from siteagent.migration import Migrated, migrate
from siteagent.store.catalog import Catalog, Root
from siteagent.store.changes import ChangeFiles, Changes
from siteagent.store.index import FOLDER as INDEX_FOLDER
from siteagent.store.index import Index
from siteagent.store.layout import KEYRING_FILE, read_format, require_site
from siteagent.store.leases import Leases
from siteagent.store.pack import PACK_BYTES, Cited
from siteagent.store.packs import FolderPacks
from siteagent.store.reader import SegmentReader
from siteagent.store.retired import Retired
from siteagent.store.snapshots import SnapshotFiles
from siteagent.store.spots import mend_spots
from siteagent.store.successors import Successors

KEYRING_MAX_BYTES = 16 << 20
KEY_FILE_MAX_BYTES = 1 << 16
LOG_FOLDER = "log"


class World(Struct, frozen=True):
    """What is handed in from outside: time, chance, disks, and how to learn about mounts."""

    clock: Clock
    randomness: Randomness
    disk: Callable[[str], Disk] = LocalDisk
    network_kind: Callable[[str], str | None] = network_kind
    may_start_processes: bool = True
    migrations: tuple[Migration, ...] = HOME_MIGRATIONS
    """How homes of older formats become those of today."""
    pack_bytes: int = PACK_BYTES
    """How long a pack grows."""
    workers: int = 0
    """How many workers long jobs have: 0 one per processor, 1 none beside this process."""
    reserve_bytes: int = RESERVE_BYTES
    """How much room is kept at most for the way out of a full disk; 0: none."""

    @property
    def starts_processes(self) -> bool:
        """True when long jobs may start processes of their own."""
        return self.may_start_processes and self.workers != 1


class Access(Secret, frozen=True):
    """How to get at a home: its folder, key file, passphrase, and how long to wait for another owner."""

    home: str
    key_file: str = ""
    passphrase: bytes | None = None
    wait_s: float = 0.0
    may_migrate: bool = False
    """True when a home of an older format may be changed for good; what only adds files is done without."""

    @property
    def key_path(self) -> str:
        """Where the site's key file is."""
        return self.key_file or f"{self.home}.key"


class Home(Struct):
    """An open home."""

    access: Access
    world: World
    owner: Owner
    disk: Disk
    beside: Disk
    reserve: Reserve
    keyring: Keyring
    ledger: Ledger
    packs: FolderPacks
    index: Index
    reader: SegmentReader
    snapshots: SnapshotFiles
    successors: Successors
    retired: Retired
    changes: ChangeFiles
    leases: Leases
    migrated: Migrated
    """What was done when it was opened to bring it to the newest format."""
    arranging: AbstractContextManager[object] = field(default_factory=threading.RLock)
    """Held (again and again by one thread) while packs, index and what earlier runs left are brought in line, and from
    there to a job's name in `running`: nobody takes a job of this process for one that was cut off. Never held while
    leases are waited for; who holds `deciding` may take it, not the other way round."""
    running: dict[bytes, bool] = field(default_factory=dict)
    """Jobs of this process that have not ended; True for those that write segments."""
    deciding: AbstractContextManager[object] = field(default_factory=threading.Lock)
    """Held from asking which snapshots are wanted to recording what follows from it."""
    notes: list[str] = field(default_factory=list)
    rescue: Rescue | None = None
    """What was saved of a log that did not read (only in a home opened for repair)."""

    @property
    def path(self) -> str:
        """The home's folder."""
        return self.access.home

    def cited(self) -> Cited:
        """The head of the log, as packs cite it."""
        position = self.ledger.head.position
        return Cited(position.log_epoch, position.sequence, position.hash)

    def catalog(self, entry: SnapshotEntry) -> Catalog:
        """The tree of a snapshot; raises DamagedError when the fact about it cannot be read."""
        summary = entry.summary
        if summary is None:
            raise DamagedError("what is recorded of this snapshot cannot be read", subject=entry.id.hex(),
                               next_step="it was erased, or its key is missing: see `farkeep key show`")
        return Catalog(self.reader, Root(summary.root_page, summary.root_segment, summary.levels))

    def mend_index(self) -> int:
        """Correct what the index says of where segments lie; packs that the log knows count before others."""
        try:
            known = self.ledger.history().packs
        except FarkeepError:
            known = {}
        there = sorted(self.packs.finished(), key=lambda pack_id: (pack_id not in known, pack_id))
        return mend_spots(self.packs, there, self.index, self.retired)

    def note_changes(self) -> None:
        """Repeat beside the packs what facts say of superseded and swept segments; before anything of them goes."""
        changes, key_epoch = changes_of(self.ledger.history()), self.keyring.current.number
        self.reserve.retry(lambda: self.changes.write(changes, key_epoch))

    def follow_log(self, head: SignedHead) -> None:
        """After every append: what it says of segments is known, whatever fails next; then its head is noted outside.

        Who goes on after such a failure would else give up the segments that hold what was copied.
        """
        del head
        self.successors.refresh()
        self.retired.refresh()
        name, mark = os.path.basename(self.path) + ".head", self.ledger.high_water()
        self.reserve.retry(lambda: write_durably(self.beside, name, mark))

    def close(self) -> None:
        """Close everything and give the home back; harmless when called twice."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.owner.release)
            stack.callback(self.ledger.close)
            stack.callback(self.index.close)
            stack.callback(self.packs.close)

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def require_local(home: str, world: World) -> None:
    """Refuse a home on a network file system: locks and syncs there do not promise what a home needs."""
    kind = world.network_kind(home)
    if kind is not None:
        raise RefusedError(f"the home would lie on a network file system ({kind})", subject=home,
                           next_step="put the home on a local disk; partners get their copies by replication")


def open_home(access: Access, command: str, world: World) -> Home:
    """Become the owner of a home and open it.

    Raises RefusedError (no home, newer format, older format that waits for `farkeep migrate`, network file system,
    foreign or missing key), UnavailableError (in use), DamagedError (keyring or log do not read).
    """
    return _open(access, command, world, None)


def open_for_repair(access: Access, command: str, world: World, name_site: Callable[[SnapshotFiles], str]) -> Home:
    """Like `open_home`; a log that is missing or does not read to its end is first replaced by what can be saved of it.

    `name_site` finds the site's name for a log that has to begin anew. Raises like `open_home`, but for the log.
    """
    return _open(access, command, world, name_site)


def _open(access: Access, command: str, world: World, name_site: Callable[[SnapshotFiles], str] | None) -> Home:
    disk = world.disk(access.home)
    newest = newest_version(world.migrations)
    read_format(disk, access.home, newest)
    require_local(access.home, world)
    reserve = Reserve(disk, world.reserve_bytes)
    reserve.make_room()
    owner = take_home(access.home, command, world.clock, access.wait_s)
    rescue = None
    try:
        keyring = read_keys(access, disk, world)
        # Read again: whoever held the home until now may have migrated it.
        format_file = read_format(disk, access.home, newest)
        require_site(format_file, keyring.site_id, access.home)
        migrated = migrate(disk, access.home, format_file, keyring, world.migrations,
                           is_asked=access.may_migrate)  # fmt: skip
        beside = world.disk(os.path.dirname(access.home))
        if name_site is not None:
            rescue = _rescue(access, beside, keyring, world, lambda: name_site(SnapshotFiles(disk, keyring)))
        ledger = _open_ledger(access, beside, keyring, world)
    except BaseException:
        owner.release()
        raise
    packs = FolderPacks(disk)
    index = Index(os.path.join(access.home, INDEX_FOLDER))
    successors, retired = Successors(lambda: _superseded(ledger)), Retired(lambda: _retired(ledger))
    home = Home(access, world, owner, disk, beside, reserve, keyring, ledger, packs, index,
                SegmentReader(packs, index, keyring, successors), SnapshotFiles(disk, keyring), successors, retired,
                ChangeFiles(disk, keyring, keyring.site_id), Leases(retired), migrated, rescue=rescue)  # fmt: skip
    home.reader.mend_index = home.mend_index
    ledger.set_on_append(home.follow_log)
    ledger.set_on_full(reserve.give_up)
    return home


def changes_of(history: History) -> Changes:
    """What the log says of superseded and swept segments."""
    return Changes(list(history.superseded), list(history.swept_segments), list(history.swept),
                   list(history.packs_gone))  # fmt: skip


def _superseded(ledger: Ledger) -> list[tuple[bytes, bytes]]:
    """What was superseded; nothing while the log does not read: nothing may be written then either."""
    try:
        return ledger.history().superseded
    except FarkeepError:
        return []


def _retired(ledger: Ledger) -> list[bytes]:
    try:
        history = ledger.history()
    except FarkeepError:
        return []
    return [*history.swept_segments, *(old for _, old in history.superseded)]


def read_keys(access: Access, disk: Disk, world: World) -> Keyring:
    """Open the keyring with the site's key file; raises RefusedError with the way out when the key is missing."""
    try:
        data = read_whole(disk, KEYRING_FILE, limit_bytes=KEYRING_MAX_BYTES)
    except FileNotFoundError:
        raise DamagedError("the home's keyring is missing", subject=os.path.join(access.home, KEYRING_FILE),
                           next_step="put the file back from a copy of the home") from None
    body = read_keyring(data)
    folder, name = os.path.split(os.path.abspath(access.key_path))
    try:
        key = read_whole(world.disk(folder), name, limit_bytes=KEY_FILE_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise RefusedError("the site's key file is missing", subject=access.key_path,
                           next_step="name it with --key-file, or make a new one from the recovery shares: "
                                     "`farkeep key restore --recovery-share F...`") from None
    except PermissionError:
        raise RefusedError("this user may not read the site's key file", subject=access.key_path,
                           next_step="run as the user who made the home (or as root)") from None
    secret = decode_key_file(key, subject=access.key_path, site_id=body.site_id, passphrase=access.passphrase)
    return open_keyring(data, secret.site_secret, subject=KEYRING_FILE, randomness=world.randomness)


def _open_ledger(access: Access, beside: Disk, keyring: Keyring, world: World) -> Ledger:
    try:
        mark = read_whole(beside, os.path.basename(access.home) + ".head", limit_bytes=4 * HIGH_WATER_BYTES)
    except (FileNotFoundError, FarkeepError):
        mark = None
    folder = os.path.join(access.home, LOG_FOLDER)
    return Ledger.open(folder, keyring, world.clock, world.randomness, read_high_water(mark, keyring),
                       disk=world.disk(folder))  # fmt: skip


def _rescue(
    access: Access, beside: Disk, keyring: Keyring, world: World, name_site: Callable[[], str]
) -> Rescue | None:
    """Put a sound log in place of one that is missing or damaged; None when it is neither."""
    folder = os.path.join(access.home, LOG_FOLDER)
    try:
        ledger = _open_ledger(access, beside, keyring, world)
    except DamagedError:
        is_sound = False
    except RefusedError:
        # The version that a database says it has is one number without a check sum.
        if not is_whole(folder, keyring.site_id):
            raise
        is_sound = False
    else:
        is_sound = check_log(ledger).is_good
        with contextlib.suppress(FarkeepError):
            ledger.close()
    if is_sound:
        return None
    return rescue_log(folder, keyring, world.clock, world.randomness, site_name=name_site(), disk=world.disk(folder))


def is_read_only(home: Home) -> bool:
    """True when the log is proven to be older than what exists, or does not read: nothing may be written."""
    return home.ledger.verdict in (Verdict.REWOUND, Verdict.DAMAGED)
