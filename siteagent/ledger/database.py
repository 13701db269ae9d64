"""The SQLite database of a log: its tables, its settings (each set and read back), and its errors in our families.

| table      | column             | content                                                                      |
| ---------- | ------------------ | ---------------------------------------------------------------------------- |
| log_epochs | number             | 1, 2, ...: stands for the log epoch in this file                             |
|            | id                 | 32 bytes: hash of the opening fact                                           |
|            | opener             | 32 bytes: Ed25519 public key that signs its heads                            |
| facts      | place              | order in this file; never leaves it                                          |
|            | log_epoch          | log_epochs.number (for an opening fact: of the epoch it opens)               |
|            | sequence           | as in the envelope; unique within a log epoch                                |
|            | hash               | 32 bytes, `shared.chain.hash_envelope`                                       |
|            | aggregate          | 16 bytes, as in the envelope                                                 |
|            | aggregate_version  | as in the envelope; unique within an aggregate                               |
|            | envelope           | `shared.chain.Envelope`                                                      |
|            | signature          | of the head, for the last fact of an append; else empty                      |
| bodies     | place, body        | `shared.bodies`; apart, so that one can go while the chain still holds       |
| settings   | name, value        | "cache salt": 32 random bytes mixed into the key of the history cache        |

`application_id` is "FKlg", `user_version` 1. Pages are 4096 bytes, deleted content is overwritten with zeros.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import ConnectionPoolClosedError
from eventsourcing.sqlite import SQLiteConnection, SQLiteConnectionPool, SQLiteDatastore

from shared.errors import BugError, DamagedError, ExhaustedError, FarkeepError, RefusedError, UnavailableError

LOG_FILE = "log.db"
APPLICATION_ID = int.from_bytes(b"FKlg", "big")
USER_VERSION = 1
SYNCHRONOUS_FULL = 2
BUSY_WAIT_S = 1.0
"""How long a statement waits for another program; a home has one owner, so there should be none."""

TABLES = (
    "CREATE TABLE IF NOT EXISTS log_epochs (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
    " opener BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS facts (place INTEGER PRIMARY KEY, log_epoch INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL, hash BLOB NOT NULL, aggregate BLOB NOT NULL, aggregate_version INTEGER NOT NULL,"
    " envelope BLOB NOT NULL, signature BLOB NOT NULL)",
    "CREATE UNIQUE INDEX IF NOT EXISTS facts_by_position ON facts (log_epoch, sequence)",
    "CREATE UNIQUE INDEX IF NOT EXISTS facts_by_aggregate ON facts (aggregate, aggregate_version)",
    "CREATE TABLE IF NOT EXISTS bodies (place INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {USER_VERSION}",
)

# Name, value to set, value that must be read back. Page size comes first: it cannot change once a database is in WAL.
_SETTINGS: tuple[tuple[str, str, object], ...] = (
    ("page_size", "4096", None),
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", SYNCHRONOUS_FULL),
    ("fullfsync", "ON", 1),
    ("checkpoint_fullfsync", "ON", 1),
    ("secure_delete", "ON", 1),
    ("trusted_schema", "OFF", 0),
    ("cell_size_check", "ON", 1),
)
_PLAIN = frozenset(b"/-_.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_VERIFY = "run `farkeep audit verify`; fetch the log again from a partner or an older copy, then `farkeep repair log`"
_AGAIN = "what was recorded before is safe; then run the command again"


class LedgerPool(SQLiteConnectionPool):
    """Connections of which each has every setting, set and read back."""

    def _create_connection(self) -> SQLiteConnection:
        connection = sqlite3.connect(
            self.db_name, uri=True, check_same_thread=False, isolation_level=None, timeout=BUSY_WAIT_S
        )
        try:
            for name, value, expected in _SETTINGS:
                connection.execute(f"PRAGMA {name} = {value}")
                found = connection.execute(f"PRAGMA {name}").fetchone()[0]
                if expected is not None and found != expected:
                    raise UnavailableError(f"the database of the log cannot be made safe: {name} is {found}",
                                           subject=self.db_name, next_step="put the home on a local file system")
        except BaseException:
            connection.close()
            raise
        connection.row_factory = sqlite3.Row
        return SQLiteConnection(sqlite_conn=connection, max_age=self.max_age)


class LedgerDatastore(SQLiteDatastore):
    """The library's datastore over our connections to one file."""

    def __init__(self, path: str, *, can_create: bool) -> None:
        self.path = path
        self._uri = database_uri(path, can_create=can_create)
        super().__init__(db_name=":memory:")
        self.pool = LedgerPool(db_name=self._uri)

    def reset(self) -> None:
        """Close all connections after a failed transaction: closing rolls back what the library left half done."""
        self.pool.close()
        self.pool = LedgerPool(db_name=self._uri)

    def checkpoint(self) -> None:
        """Move everything from the write-ahead log into the file and empty it."""
        with database_errors(self.path), self.get_connection(commit=True) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close_cleanly(self) -> None:
        """Checkpoint and close; harmless when called twice."""
        if not self.pool.closed:
            self.checkpoint()
        self.close()


def database_uri(path: str, *, can_create: bool) -> str:
    """The URI of a database file (https://www.sqlite.org/uri.html); every unusual byte of the path is escaped."""
    escaped = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in os.fsencode(path))
    return f"file:{escaped}?mode={'rwc' if can_create else 'rw'}"


@contextlib.contextmanager
def database_errors(path: str) -> Iterator[None]:
    """Turn the library's and SQLite's errors into the family that says what to do."""
    try:
        yield
    except FarkeepError:
        raise
    except (EventSourcingError, sqlite3.Error) as error:
        raise _typed_error(error, path) from error
    except UnicodeDecodeError as error:
        # What SQLite says of a damaged schema quotes it, and Python cannot make text of that.
        raise DamagedError("the database of the log is damaged: its schema does not read", subject=path,
                           next_step=_VERIFY) from error


def _typed_error(error: BaseException, path: str) -> FarkeepError:
    if isinstance(error, ConnectionPoolClosedError):
        return BugError("the log is used after it was closed", subject=path, next_step="report this")
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, sqlite3.Error):
        cause = cause.__cause__
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    text = str(cause or error)
    if code == sqlite3.SQLITE_FULL:
        return ExhaustedError(f"no space left for the log: {text}", subject=path, next_step=f"free space; {_AGAIN}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return UnavailableError(f"the log is in use by another program: {text}", subject=path,
                                next_step="end that program, or wait for it")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH):
        return UnavailableError(f"the log cannot be opened for writing: {text}", subject=path,
                                next_step="run as the user who made the home; check permissions and the file system")
    if code == sqlite3.SQLITE_IOERR:
        return DamagedError(f"the disk refused to read or write the log: {text}", subject=path,
                            next_step=f"check the disk (dmesg, smartctl); {_AGAIN}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR):
        return DamagedError(f"the database of the log is damaged: {text}", subject=path, next_step=_VERIFY)
    if code == sqlite3.SQLITE_NOMEM:
        return ExhaustedError("no memory left for the log", subject=path, next_step=f"free memory; {_AGAIN}")
    return BugError(f"the database of the log refused a statement: {text}", subject=path, next_step="report this")


def check_version(application_id: int, user_version: int, path: str) -> None:
    """Raise RefusedError for a log of a newer Farkeep, DamagedError for a database that is no log."""
    if application_id != APPLICATION_ID or user_version < 1:
        raise DamagedError("this database is not a log of Farkeep", subject=path, next_step=_VERIFY)
    if user_version > USER_VERSION:
        raise RefusedError(f"a log of version {user_version} was made by a newer Farkeep", subject=path,
                           next_step="update Farkeep on this machine")
