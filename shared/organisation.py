"""An organisation: the public halves of its recovery key and of its root, signed by the root.

One recovery seed (32 bytes, split in shares on paper) gives everything, by BLAKE3 derive-key:

| context                                       | gives                                                   |
| --------------------------------------------- | ------------------------------------------------------- |
| "farkeep 2026 organisation recovery key v1"   | X25519 private key: unwraps what sites wrapped to it    |
| "farkeep 2026 organisation root v1"           | Ed25519 seed: signs the organisation, grants, successors |
| "farkeep 2026 organisation id v1"             | first 16 bytes: the id                                  |

`organisation.json`, UTF-8, at most 4 KiB, one object with exactly these members:

| member          | meaning                                                 |
| --------------- | ------------------------------------------------------- |
| format          | "farkeep-organisation"                                  |
| version         | 1                                                       |
| id              | 32 hexadecimal digits                                   |
| name            | 1 to 100 printable characters                           |
| recovery_public | X25519 public key, 64 hexadecimal digits                |
| root_public     | Ed25519 public key, 64 hexadecimal digits               |
| signature       | 128 hexadecimal digits, purpose "organisation", by the root |

Signed message: version (1 byte), id (16), recovery_public (32), root_public (32), name (UTF-8, the rest).
The file is public; what makes it trustworthy is who handed it over, so commands show its `fingerprint`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.errors import DamagedError, HostileError, RefusedError
from shared.sealing import KEY_SIZE_BYTES, derive, digest
from shared.secret import Secret
from shared.signing import Identity, check_signature
from shared.wrapping import ID_SIZE_BYTES, exchange_public, public_key_id

VERSION = 1
LIMIT_BYTES = 4096
NAME_LIMIT_CHARACTERS = 100

_FORMAT = "farkeep-organisation"
_PURPOSE = "organisation"


class Organisation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The public half of an organisation; valid when `is_signed()`."""

    id: bytes
    name: str
    recovery_public: bytes
    root_public: bytes
    signature: bytes

    @property
    def recovery_key_id(self) -> bytes:
        """The 16 byte id that wraps to the recovery key carry."""
        return public_key_id(self.recovery_public)

    @property
    def fingerprint(self) -> str:
        """Eight groups of four hexadecimal digits over both public keys, to be compared by voice."""
        text = digest(self.id + self.recovery_public + self.root_public)[:16].hex()
        return " ".join(text[at : at + 4] for at in range(0, len(text), 4))

    def is_signed(self) -> bool:
        """Say whether the root named here signed exactly this."""
        message = _message(self.id, self.name, self.recovery_public, self.root_public)
        return check_signature(self.root_public, _PURPOSE, message, self.signature)


class RecoveryKeys(Secret, frozen=True):
    """The private half of an organisation, for as long as its shares are combined in memory."""

    private: bytes
    public: bytes
    root: Identity


class _Text(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: str
    version: int
    id: str
    name: str
    recovery_public: str
    root_public: str
    signature: str


def recovery_keys(seed: bytes) -> RecoveryKeys:
    """Derive the recovery key pair and the root from the 32 byte recovery `seed`."""
    if len(seed) != KEY_SIZE_BYTES:
        raise RefusedError(f"a recovery seed has {KEY_SIZE_BYTES} bytes, not {len(seed)}",
                           next_step="combine shares that Farkeep wrote")
    private = derive("farkeep 2026 organisation recovery key v1", seed)
    root = Identity(derive("farkeep 2026 organisation root v1", seed))
    return RecoveryKeys(private=private, public=exchange_public(private), root=root)


def create(name: str, seed: bytes) -> Organisation:
    """Create the organisation `name` of the 32 byte recovery `seed`, signed by its root; same input, same result.

    Raises RefusedError for a name that is empty, too long or not printable.
    """
    if not _is_name(name):
        raise RefusedError(f"an organisation's name has 1 to {NAME_LIMIT_CHARACTERS} printable characters",
                           subject=repr(name), next_step="choose another name")
    keys = recovery_keys(seed)
    organisation_id = derive("farkeep 2026 organisation id v1", seed)[:ID_SIZE_BYTES]
    message = _message(organisation_id, name, keys.public, keys.root.public)
    return Organisation(
        id=organisation_id,
        name=name,
        recovery_public=keys.public,
        root_public=keys.root.public,
        signature=keys.root.sign(_PURPOSE, message),
    )


def require_seed(organisation: Organisation, seed: bytes) -> RecoveryKeys:
    """Return the private half of `organisation`; raises RefusedError when `seed` is another organisation's."""
    keys = recovery_keys(seed)
    if keys.public != organisation.recovery_public or keys.root.public != organisation.root_public:
        raise RefusedError(
            "the recovery shares belong to another organisation",
            subject=f"organisation {organisation.name!r}, {organisation.fingerprint}",
            next_step="bring the shares whose heading names this organisation",
        )
    return keys


def encode_organisation(organisation: Organisation) -> bytes:
    """Return the text of `organisation.json`."""
    text = _Text(
        format=_FORMAT,
        version=VERSION,
        id=organisation.id.hex(),
        name=organisation.name,
        recovery_public=organisation.recovery_public.hex(),
        root_public=organisation.root_public.hex(),
        signature=organisation.signature.hex(),
    )
    return msgspec.json.format(msgspec.json.encode(text), indent=2) + b"\n"


def decode_organisation(data: bytes, *, subject: str = "organisation.json") -> Organisation:
    """Read the text of `organisation.json` and check its signature.

    Raises HostileError when it is too long or not signed by the root it names, RefusedError when it is something else
    or made by a newer Farkeep, DamagedError when a member is missing or malformed.
    """
    if len(data) > LIMIT_BYTES:
        raise HostileError(f"an organisation's file of {len(data)} bytes is longer than {LIMIT_BYTES}", subject=subject,
                           next_step="fetch the file again from the organisation's administrators")
    _require_version(data, subject)
    try:
        text = msgspec.json.decode(data, type=_Text)
        organisation = Organisation(
            id=_unhex(text.id, ID_SIZE_BYTES),
            name=text.name,
            recovery_public=_unhex(text.recovery_public, KEY_SIZE_BYTES),
            root_public=_unhex(text.root_public, KEY_SIZE_BYTES),
            signature=_unhex(text.signature, 64),
        )
    except (msgspec.DecodeError, ValueError) as error:
        raise _damaged(f"an organisation's file cannot be read: {error}", subject) from error
    if not _is_name(organisation.name):
        raise _damaged("an organisation's file holds a name that cannot be shown", subject)
    if not organisation.is_signed():
        raise HostileError("an organisation's file is not signed by the root it names: it was changed", subject=subject,
                           next_step="fetch the file again from the organisation's administrators")
    return organisation


def _require_version(data: bytes, subject: str) -> None:
    try:
        members: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise _damaged(f"an organisation's file is not JSON: {error}", subject) from error
    if not isinstance(members, dict) or members.get("format") != _FORMAT:
        raise RefusedError("this is not an organisation's file", subject=subject,
                           next_step="give the `organisation.json` that `farkeep init --recovery-out` wrote")
    version = members.get("version")
    if isinstance(version, int) and version > VERSION:
        raise RefusedError(f"an organisation's file of version {version} was made by a newer Farkeep", subject=subject,
                           next_step="update Farkeep on this machine")
    if version != VERSION:
        raise _damaged("an organisation's file states no valid version", subject)


def _message(organisation_id: bytes, name: str, recovery_public: bytes, root_public: bytes) -> bytes:
    return b"".join((bytes((VERSION,)), organisation_id, recovery_public, root_public, name.encode()))


def _unhex(text: str, size_bytes: int) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != size_bytes or value.hex() != text:
        raise ValueError(f"expected {2 * size_bytes} lower-case hexadecimal digits")
    return value


def _is_name(name: str) -> bool:
    return 0 < len(name) <= NAME_LIMIT_CHARACTERS and name.isprintable() and name == name.strip()


def _damaged(message: str, subject: str) -> DamagedError:
    return DamagedError(message, subject=subject,
                        next_step="fetch the file again from the organisation's administrators")
