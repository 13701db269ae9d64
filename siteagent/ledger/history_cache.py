"""The projection kept between runs, sealed, so that opening a long log replays only its tail.

File `history` beside log.db, numbers big endian:

| offset | size   | meaning                                                                              |
| ------ | ------ | ------------------------------------------------------------------------------------ |
| 0      | 4      | magic "FKhc"                                                                         |
| 4      | 1      | version; raised whenever what `history` folds changes, so that it is folded again    |
| 5      | 4      | key epoch; a cache of another than the current one is not used, since what it could  |
|        |        | not open may be readable now                                                         |
| 9      | 12     | nonce, random                                                                        |
| 21     | n + 16 | AES-256-GCM ciphertext and tag of `state.State` (MessagePack)                      |

Key = BLAKE3 derive-key "farkeep 2026 history cache v1" of (fact key of the key epoch, cache salt); associated data =
bytes 0 to 20 and the site id. The salt stands in the database of the log and is replaced when a subject is erased, so
an older cache that survives somewhere on the disk opens no more. A cache that is missing, torn, older or foreign is no
error: the log is replayed.
"""

from __future__ import annotations

import struct

from shared.codec import decode, encode
from shared.epochkeys import EpochKeys
from shared.errors import FarkeepError
from shared.keyring import Keyring
from shared.randomness import Randomness
from shared.sealing import NONCE_SIZE_BYTES, derive, open_sealed, seal
from siteagent.disk.disk import Disk
from siteagent.disk.durable import read_whole, remove_quietly
from siteagent.ledger.state import State

CACHE_FILE = "history"
VERSION = 5
LIMIT_BYTES = 2**30

_MAGIC = b"FKhc"
_HEAD = struct.Struct(">4sBI12s")
_PART = CACHE_FILE + ".part"


class HistoryCache:
    """Reads and writes the cache of one log. `disk` has the log's folder as its root."""

    def __init__(self, disk: Disk, randomness: Randomness) -> None:
        self._disk = disk
        self._randomness = randomness

    def read(self, keyring: Keyring, salt: bytes) -> State | None:
        """The kept state, or None when there is none that can be used."""
        try:
            data = read_whole(self._disk, CACHE_FILE, limit_bytes=LIMIT_BYTES)
            if len(data) <= _HEAD.size or data[:4] != _MAGIC or data[4] != VERSION:
                return None
            _, _, key_epoch, nonce = _HEAD.unpack_from(data)
            if key_epoch != keyring.current.number:
                return None
            key = _key(keyring.current, salt)
            bound = data[: _HEAD.size] + keyring.site_id
            plain = open_sealed(key, nonce, memoryview(data)[_HEAD.size :], bound, subject=CACHE_FILE)
            return decode(plain, State, limit_bytes=LIMIT_BYTES, subject=CACHE_FILE)
        except (FarkeepError, OSError):
            return None

    def write(self, state: State, keyring: Keyring, salt: bytes) -> None:
        """Keep a state; on any trouble there is simply no cache."""
        keys = keyring.current
        nonce = self._randomness.bits(NONCE_SIZE_BYTES)
        head = _HEAD.pack(_MAGIC, VERSION, keys.number, nonce)
        sealed = seal(_key(keys, salt), nonce, encode(state), head + keyring.site_id)
        try:
            remove_quietly(self._disk, _PART)
            writer = self._disk.create(_PART)
            try:
                writer.append([head, sealed])
            finally:
                writer.close()
            self._disk.rename(_PART, CACHE_FILE)
        except (FarkeepError, OSError):
            # A full disk must not turn work that is already acknowledged into a failure.
            return

    def drop(self) -> None:
        """Remove the cache."""
        for name in (_PART, CACHE_FILE):
            remove_quietly(self._disk, name)


def _key(keys: EpochKeys, salt: bytes) -> bytes:
    return derive("farkeep 2026 history cache v1", keys.fact_key + salt)
