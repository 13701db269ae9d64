"""The agent's only writer of files: a small seam that tests replace to record, stop and fail every call.

`disk` names what may be asked of a home's file system, `local` is the real thing, `durable` composes primitive calls
into steps that survive a crash, `confined` writes restored trees below a folder handle, `reserve` keeps room for the
way out of a full disk, `owner` holds a home's lock, `mounts` tells network file systems apart. SQLite and RocksDB
write their own files below the home: the log is made durable by SQLite itself (`synchronous=FULL`), the index may be
lost at any time.
"""
