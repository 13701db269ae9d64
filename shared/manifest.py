"""The manifest of a snapshot: a file that repeats the fact `snapshot.taken` whole, so a lost log can be made again.

File, numbers big endian:

| offset | size   | meaning                                                                                  |
| ------ | ------ | ---------------------------------------------------------------------------------------- |
| 0      | 4      | magic "FKmf"                                                                             |
| 4      | 1      | version, 1                                                                               |
| 5      | 1      | algorithm of the seal: 1 = AES-256-GCM                                                   |
| 6      | 2      | flags, 0                                                                                 |
| 8      | 16     | site id                                                                                  |
| 24     | 16     | snapshot id                                                                              |
| 40     | 4      | key epoch                                                                                |
| 44     | 88     | log head it was written after: site (16), log epoch (32), sequence (8), hash (32)        |
| 132    | 12     | nonce, random                                                                            |
| 144    | n + 16 | ciphertext and tag                                                                       |

Key = manifest key of the key epoch; associated data = bytes 0 to 143. Plaintext: length of the body (4), body
(MessagePack of `ManifestBody`), zeros up to the next Padme size of at least 512 bytes. The digest that the fact names
is the BLAKE3 of the whole file.
"""

from __future__ import annotations

import struct

import msgspec

from shared.chain import POSITION_BYTES, Position, decode_position
from shared.codec import decode, encode
from shared.errors import DamagedError, HostileError, RefusedError
from shared.factkinds import PART_LIMIT_BYTES
from shared.facts import PackRef, SnapshotTaken
from shared.padding import padded_size
from shared.sealing import AES_256_GCM, NONCE_SIZE_BYTES, TAG_SIZE_BYTES, digest, open_sealed, seal
from shared.summary import Digest, Id, SnapshotSummary

MAGIC = b"FKmf"
VERSION = 1
MANIFEST_LIMIT_BYTES = 3 * PART_LIMIT_BYTES

_HEAD = struct.Struct(f">4sBBH16s16sI{POSITION_BYTES}s12s")
_LENGTH = struct.Struct(">I")
_VERIFY = "run `farkeep verify`; fetch the manifest again from another holder"


class ManifestHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The clear header: which snapshot of which site, sealed in which key epoch, written after which log head."""

    site: bytes
    snapshot: bytes
    key_epoch: int
    written_after: Position


class ManifestBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything of the fact except the manifest's own digest. `subject`: name of the source the fact belongs to."""

    run: Id
    reach: Digest
    packs: tuple[PackRef, ...]
    summary: SnapshotSummary
    subject: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """A manifest as read or to be written."""

    header: ManifestHeader
    body: ManifestBody

    def to_fact(self, manifest_digest: bytes) -> SnapshotTaken:
        """The clear part of the fact that commits this snapshot (its sealed part is `body.summary`)."""
        return SnapshotTaken(
            snapshot=self.header.snapshot,
            manifest=manifest_digest,
            reach=self.body.reach,
            key_epoch=self.header.key_epoch,
            run=self.body.run,
            packs=self.body.packs,
        )


def encode_manifest(manifest: Manifest, *, manifest_key: bytes, nonce: bytes) -> bytes:
    """The bytes of the file; `nonce` must be 12 fresh random bytes."""
    header = manifest.header
    head = _HEAD.pack(MAGIC, VERSION, AES_256_GCM, 0, header.site, header.snapshot, header.key_epoch,
                      header.written_after.encode(), nonce)  # fmt: skip
    body = encode(manifest.body)
    plain = _LENGTH.pack(len(body)) + body
    plain += bytes(padded_size(len(plain)) - len(plain))
    return head + seal(manifest_key, nonce, plain, head)


def manifest_digest(data: bytes) -> bytes:
    """The digest (32 bytes) of a manifest's file that its fact names."""
    return digest(data)


def decode_manifest_header(data: bytes, *, subject: str) -> ManifestHeader:
    """Read the clear header of a manifest's file (its first 144 bytes are enough; nothing here proves them).

    Raises RefusedError for a newer version, DamagedError for something that is no manifest.
    """
    if len(data) < _HEAD.size or data[:4] != MAGIC:
        raise DamagedError("this is not a manifest, or it is cut short", subject=subject, next_step=_VERIFY)
    _, version, algorithm, flags, site, snapshot, key_epoch, written_after, _ = _HEAD.unpack_from(data)
    if version > VERSION or (version == VERSION and (algorithm > AES_256_GCM or flags)):
        raise RefusedError(f"a manifest of version {version} was made by a newer Farkeep", subject=subject,
                           next_step="update Farkeep on this machine")
    if version != VERSION or algorithm != AES_256_GCM:
        raise DamagedError("the header of a manifest is malformed", subject=subject, next_step=_VERIFY)
    return ManifestHeader(
        site=site, snapshot=snapshot, key_epoch=key_epoch, written_after=decode_position(written_after)
    )


def decode_manifest(data: bytes, *, manifest_key: bytes, subject: str) -> Manifest:
    """Open a manifest's file with the manifest key of the key epoch its header names.

    Raises HostileError when it is too long, RefusedError when made by a newer Farkeep, DamagedError when it does not
    open.
    """
    if len(data) > MANIFEST_LIMIT_BYTES:
        raise HostileError(f"a manifest of {len(data)} bytes is longer than {MANIFEST_LIMIT_BYTES}", subject=subject,
                           next_step=_VERIFY)
    header = decode_manifest_header(data, subject=subject)
    if len(data) < _HEAD.size + TAG_SIZE_BYTES + _LENGTH.size:
        raise DamagedError("a manifest is cut short", subject=subject, next_step=_VERIFY)
    head, nonce = data[: _HEAD.size], data[_HEAD.size - NONCE_SIZE_BYTES : _HEAD.size]
    plain = open_sealed(manifest_key, nonce, data[_HEAD.size :], head, subject=subject)
    (size_bytes,) = _LENGTH.unpack_from(plain)
    if len(plain) < _LENGTH.size + size_bytes:
        raise DamagedError("the body of a manifest is cut short", subject=subject, next_step=_VERIFY)
    body = plain[_LENGTH.size : _LENGTH.size + size_bytes]
    return Manifest(header, decode(body, ManifestBody, limit_bytes=MANIFEST_LIMIT_BYTES, subject=subject))
