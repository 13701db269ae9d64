"""Feeding the decoders of shared and siteagent.ledger: each function takes any bytes, each list has sound ones."""

from __future__ import annotations

import os
from functools import partial

from shared import bodies, chain, codec, factkinds, keyfile, keyringfile, manifest, shares
from shared.bodies import Content, binding_of
from shared.chaincheck import ChainCheck, StoredFact
from shared.padding import padded_size
from shared.sealing import NONCE_SIZE_BYTES, digest, seal
from siteagent.ledger.state import State, empty_state, open_snapshot
from siteagent.restore.mark import Marks
from tests.support.material import golden_secret, goldens, key_material, log_rows
from tests.support.memory_disk import memory_disk
from tests.support.store_feeds import halves, try_each


def text_of(data: bytes) -> str:
    """Words as they come from a command line."""
    return os.fsdecode(data)


def feed_body(data: bytes) -> None:
    bodies.split_body(data, "fuzz")


def feed_opened_body(data: bytes) -> None:
    """A sealed part with any plaintext."""
    envelope = chain.decode_envelope(log_rows()[0][0])
    binding = binding_of(envelope)
    made = bodies.seal_body(binding, data[:64], Content(1, 2, data), key=b"k" * 32, key_number=1, nonce=bytes(12))
    bodies.open_body(bodies.split_body(made, "fuzz"), binding, b"k" * 32, "fuzz")


def feed_parts(data: bytes) -> None:
    """Every kind of fact is asked to read the same bytes."""
    try_each(*(partial(decoding, data) for kind in factkinds.KINDS.values() if kind.sealed
               for decoding in (kind.decode_clear, kind.decode_sealed)))  # fmt: skip


def feed_kind(data: bytes) -> None:
    factkinds.find_kind(text_of(data[1:]), data[0] if data else 0)


def part_examples() -> list[bytes]:
    by_kind = {chain.decode_envelope(envelope).kind: bodies.split_body(body, "").clear
               for envelope, _, body in log_rows()}  # fmt: skip
    return list(by_kind.values())


def owner_examples() -> list[bytes]:
    note = b'{"process": 7, "command": "backup", "since_ns": 1767225600000000000, "machine": "host"}'
    return [note, note.replace(b"1767", b"9" * 300), b"[" * 4096]


def feed_mark(data: bytes) -> None:
    """The mark of the root folder."""
    path = f"restores/{digest(b'/').hex()[:32]}"
    Marks(memory_disk({path: data}), b"s" * 32).is_marked("/")


def feed_chain(data: bytes) -> None:
    envelope, body = halves(data)
    rows = log_rows()
    check = ChainCheck()
    check.take(StoredFact(rows[0][0], rows[0][2], rows[0][1]))
    check.take(StoredFact(envelope, body, rows[1][1]))


def feed_manifest(data: bytes) -> None:
    keys = goldens()[0].keyring
    manifest.decode_manifest_header(data, subject="fuzz")
    manifest.decode_manifest(data, manifest_key=keys.epoch(1).manifest_key, subject="fuzz")


def feed_sealed_manifest(data: bytes) -> None:
    """Any body under a right seal."""
    keys, stored = goldens()[0].keyring, goldens()[0].files("snapshots/*.manifest")[0]
    head = stored[: manifest._HEAD.size]
    plain = data.ljust(padded_size(len(data)), b"\0")
    sealed = seal(keys.epoch(1).manifest_key, head[-NONCE_SIZE_BYTES:], plain, head)
    manifest.decode_manifest(head + sealed, manifest_key=keys.epoch(1).manifest_key, subject="fuzz")


def manifest_body_examples() -> list[bytes]:
    keys, found = goldens()[0].keyring, []
    for data in goldens()[0].files("snapshots/*.manifest"):
        epoch = keys.epoch(manifest.decode_manifest_header(data, subject="").key_epoch)
        body = codec.encode(manifest.decode_manifest(data, manifest_key=epoch.manifest_key, subject="").body)
        found.append(len(body).to_bytes(4, "big") + body)
    return found


def feed_key_file(data: bytes) -> None:
    """As it is, and with its checksum put right; the stored cost of a passphrase is bounded by its own test."""
    try_each(partial(_open_key_file, data), partial(_open_key_file, data[:-16] + digest(data[:-16])[:16]))


def _open_key_file(data: bytes) -> None:
    keyfile.is_protected(data, subject="fuzz")
    keyfile.site_of(data, subject="fuzz")
    keyfile.decode_key_file(data, subject="fuzz")


def feed_keyring(data: bytes) -> None:
    """As it is, and with its digest put right; opened by keys that are not its own."""
    made = data[:-64] + digest(data[:-64]) + data[-32:]
    try_each(partial(keyringfile.read_keyring, data), partial(keyringfile.read_keyring, made))
    try_each(partial(keyringfile.open_keyring, made, b"s" * 32),
             partial(keyringfile.recover_keyring, made, b"s" * 32, b"t" * 32),
             partial(keyringfile.open_keyring, data, golden_secret()))  # fmt: skip


def keyring_examples() -> list[bytes]:
    return [*goldens()[0].files("keyring"), key_material("keyring.bin")]


def settings_examples() -> list[bytes]:
    return [b'threads = 4\nnice = "3"\n', b"a=" + b"[" * 3000, b"a." * 2000 + b"a=1"]


def feed_share(data: bytes) -> None:
    text = text_of(data)
    shares.note_of(text)
    shares.combine([text, text, key_material("share-2.txt").decode(), key_material("share-1.txt").decode()])


def feed_state(data: bytes) -> None:
    found = codec.decode(data, State, limit_bytes=1 << 30, subject="fuzz")
    for row in found.snapshots[:10]:
        open_snapshot(row)


def state_examples() -> list[bytes]:
    return [codec.encode(empty_state(b"s" * 16))]
