"""The site's log: facts appended to a chain, kept in SQLite through the `eventsourcing` library, and their sum.

`ledger` is the door; nothing outside this package touches the library or the database. On the way in a fact passes its
aggregate (`register` names the aggregate of each kind; an aggregate refuses what contradicts its own past), the
`mapper` (which seals it under the key that `fact_keys` gives) and the `recorder` (which chains and signs it inside the
transaction that stores it). On the way out `reading` opens facts one by one and `history` folds them into a projection.

What the library would do by itself and this package does not let it do: import a module that a stored topic names
(`mapper` knows the topics of `shared.facts` only), take settings from environment variables, hand out `MAX(rowid)` as a
position, decompress without a bound, leave `synchronous` to the build of SQLite, keep time by itself.

Files below `<home>/log/`:

| file                  | content                                                                                |
| --------------------- | -------------------------------------------------------------------------------------- |
| log.db                | SQLite database, tables in `database`; the truth for decisions                         |
| log.db-wal, -shm      | SQLite's own, while the log is open and after a crash                                  |
| history               | sealed projection, layout in `history_cache`; may be lost at any time                  |
| log.db.aside-<number> | a damaged log.db that `rescue` replaced by what held of it; kept for people            |

SQLite writes log.db itself, past the seam of `siteagent.disk`: it is made durable by WAL with `synchronous=FULL`, set
and read back on every connection. The cache is written through the seam, without a sync.

A record() that has returned is on the disk. A crash before leaves the log as it was, or the whole append if SQLite had
already synced it; never a part of it. After a failed append this process appends nothing more.
"""
