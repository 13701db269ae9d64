"""The site's key file: the secret that opens its keyring, plain or protected by a passphrase.

| offset | size | meaning                                                             |
| ------ | ---- | ------------------------------------------------------------------- |
| 0      | 8    | "FARKSITE" (ASCII)                                                  |
| 8      | 1    | version, 1                                                          |
| 9      | 1    | protection: 0 plain, 1 Argon2id passphrase                          |
| 10     | 16   | site id                                                             |

Protection 0:

| offset | size | meaning                                                             |
| ------ | ---- | ------------------------------------------------------------------- |
| 26     | 32   | site secret                                                         |
| 58     | 16   | start of the BLAKE3 of bytes 0 to 58                                |

Protection 1 (Argon2id version 19, RFC 9106, 32 byte result):

| offset | size | meaning                                                             |
| ------ | ---- | ------------------------------------------------------------------- |
| 26     | 4    | memory in KiB, u32 big-endian, 8192 to 1048576                      |
| 30     | 4    | passes over it, u32 big-endian, 1 to 64                             |
| 34     | 1    | lanes, 1 to 16                                                      |
| 35     | 16   | salt, random                                                        |
| 51     | 48   | AES-256-GCM ciphertext of the site secret, and tag                  |
| 99     | 16   | start of the BLAKE3 of bytes 0 to 99                                |

Its key: BLAKE3 derive-key "farkeep 2026 key file passphrase v1" of the result; nonce zeros (the salt makes the key new
for every file); associated data: bytes 0 to 51. The digest at the end tells damage from a wrong passphrase.
A passphrase is the bytes of its file without one line end; no character set is assumed.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from msgspec import Struct

from shared.errors import BugError, DamagedError, HostileError, RefusedError, UnavailableError
from shared.randomness import Randomness
from shared.sealing import KEY_SIZE_BYTES, ONE_TIME_NONCE, derive, digest, open_sealed, seal
from shared.secret import Secret
from shared.wrapping import ID_SIZE_BYTES

MAGIC = b"FARKSITE"
VERSION = 1
PLAIN = 0
PASSPHRASE = 1
LIMIT_BYTES = 4096

_SALT_SIZE_BYTES = 16
_CHECK_SIZE_BYTES = 16
_SITE_ID_END = 26
_BOUND_END = 51
_SIZES_BYTES = {PLAIN: 74, PASSPHRASE: 115}


class Cost(Struct, frozen=True):
    """What one try of a passphrase costs, defender and thief alike; stored in the file, so it may grow."""

    memory_kib: int = 65536
    passes: int = 3
    lanes: int = 1

    def is_allowed(self) -> bool:
        """Say whether this build makes and opens key files of this cost."""
        return 8192 <= self.memory_kib <= 1 << 17 and 1 <= self.passes <= 8 and 1 <= self.lanes <= 16


class KeyFile(Secret, frozen=True):
    """What a key file says once opened."""

    site_id: bytes
    site_secret: bytes


def encode_plain(key_file: KeyFile) -> bytes:
    """Return the bytes of a key file that needs no passphrase; whoever reads them opens the site."""
    return _checked(_head(PLAIN, key_file) + key_file.site_secret)


def encode_protected(key_file: KeyFile, passphrase: bytes, randomness: Randomness, cost: Cost | None = None) -> bytes:
    """Return the bytes of a key file protected by `passphrase`; takes some time and `cost.memory_kib` of memory.

    Raises UnavailableError when this machine's cryptography library has no Argon2id.
    """
    cost = cost or Cost()
    if not cost.is_allowed():
        raise BugError(f"a key file cannot have this cost: {cost}", next_step="report this")
    salt = randomness.bits(_SALT_SIZE_BYTES)
    numbers = cost.memory_kib.to_bytes(4, "big") + cost.passes.to_bytes(4, "big") + bytes((cost.lanes,))
    bound = _head(PASSPHRASE, key_file) + numbers + salt
    return _checked(bound + seal(_passphrase_key(passphrase, salt, cost), ONE_TIME_NONCE, key_file.site_secret, bound))


def is_protected(data: bytes, *, subject: str) -> bool:
    """Say whether opening this key file takes a passphrase; raises as `decode_key_file` does."""
    return _checked_protection(data, subject) == PASSPHRASE


def site_of(data: bytes, *, subject: str) -> bytes:
    """Return the 16 byte id of the site a key file belongs to, without opening it."""
    _checked_protection(data, subject)
    return data[10:_SITE_ID_END]


def decode_key_file(
    data: bytes, *, subject: str, site_id: bytes | None = None, passphrase: bytes | None = None
) -> KeyFile:
    """Open a key file; `subject` is its path, `site_id` the site it must belong to, if known.

    A passphrase given for a plain file is not looked at. Raises RefusedError when it is no key file, another site's,
    made by a newer Farkeep, or the passphrase is missing or wrong; DamagedError when bytes were lost or changed;
    HostileError when it asks for unreasonable work.
    """
    protection = _checked_protection(data, subject)
    _require_site(data[10:_SITE_ID_END], site_id, subject)
    if protection == PLAIN:
        return KeyFile(site_id=data[10:_SITE_ID_END], site_secret=data[_SITE_ID_END : _SITE_ID_END + KEY_SIZE_BYTES])
    if passphrase is None:
        raise RefusedError("the key file is protected by a passphrase and none was given", subject=subject,
                           next_step="give --passphrase-file, or set FARKEEP_PASSPHRASE_FILE")
    key = _passphrase_key(passphrase, data[35:_BOUND_END], _stored_cost(data, subject))
    try:
        secret = open_sealed(key, ONE_TIME_NONCE, data[_BOUND_END:-_CHECK_SIZE_BYTES], data[:_BOUND_END],
                             subject=subject)
    except DamagedError as error:
        raise RefusedError("the passphrase does not open the key file", subject=subject,
                           next_step="give the right passphrase, or run `farkeep key restore` with the recovery shares",
                           ) from error
    return KeyFile(site_id=data[10:_SITE_ID_END], site_secret=secret)


def passphrase_of(data: bytes, *, subject: str) -> bytes:
    """Return the passphrase in the content of a passphrase file: all but one line end.

    Raises RefusedError when nothing is left or it is longer than 4096 bytes.
    """
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase or len(passphrase) > LIMIT_BYTES:
        raise RefusedError(f"a passphrase has 1 to {LIMIT_BYTES} bytes", subject=subject,
                           next_step="write the passphrase into the file, on one line")
    return passphrase


def _head(protection: int, key_file: KeyFile) -> bytes:
    if len(key_file.site_id) != ID_SIZE_BYTES or len(key_file.site_secret) != KEY_SIZE_BYTES:
        raise BugError("a key file's id or secret has a wrong length", next_step="report this")
    return MAGIC + bytes((VERSION, protection)) + key_file.site_id


def _checked(content: bytes) -> bytes:
    return content + digest(content)[:_CHECK_SIZE_BYTES]


def _checked_protection(data: bytes, subject: str) -> int:
    if data[:8] != MAGIC:
        raise RefusedError("this is not a site's key file", subject=subject,
                           next_step="give the right file with --key-file, or run `farkeep key restore`")
    if len(data) > 10 and (data[8] > VERSION or (data[8] == VERSION and data[9] not in _SIZES_BYTES)):
        raise RefusedError(f"a key file of version {data[8]}, protection {data[9]}, was made by a newer Farkeep",
                           subject=subject, next_step="update Farkeep on this machine")
    content = data[:-_CHECK_SIZE_BYTES]
    if len(data) < 10 or len(data) != _SIZES_BYTES.get(data[9]) or _checked(content) != data:
        raise DamagedError("the key file is damaged", subject=subject,
                           next_step="use a copy of the key file, or run `farkeep key restore` with recovery shares")
    return data[9]


def _require_site(found: bytes, wanted: bytes | None, subject: str) -> None:
    if wanted is not None and found != wanted:
        raise RefusedError(f"this key file belongs to site {found.hex()}, the home to site {wanted.hex()}",
                           subject=subject, next_step="give the home's own key file with --key-file")


def _stored_cost(data: bytes, subject: str) -> Cost:
    memory_kib, passes = int.from_bytes(data[26:30], "big"), int.from_bytes(data[30:34], "big")
    cost = Cost(memory_kib=memory_kib, passes=passes, lanes=data[34])
    if not cost.is_allowed():
        raise HostileError(f"a key file asks for {cost.memory_kib} KiB, {cost.passes} passes, {cost.lanes} lanes",
                           subject=subject, next_step="take a copy of the key file from a place you trust")
    return cost


def _passphrase_key(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    try:
        function = Argon2id(salt=salt, length=KEY_SIZE_BYTES, iterations=cost.passes, lanes=cost.lanes,
                            memory_cost=cost.memory_kib)
    except UnsupportedAlgorithm as error:
        raise UnavailableError("this machine's cryptography library has no Argon2id", subject="passphrase",
                               next_step="install the `cryptography` wheel from the package index") from error
    return derive("farkeep 2026 key file passphrase v1", function.derive(passphrase))
