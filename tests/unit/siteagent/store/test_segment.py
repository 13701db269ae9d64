"""Segments: sealing and opening, what every byte of header and body is bound to, bounds, and golden bytes."""

from __future__ import annotations

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.epochkeys import EpochKeys
from shared.errors import DamagedError, HostileError, NewerFormatError
from shared.padding import padded_size
from siteagent.store.names import segment_name, shown_segment
from siteagent.store.segment import (
    BODY_BYTES_MAX,
    DATA,
    HEADER_BYTES,
    TABLE_BYTES_MAX,
    Sealer,
    open_body,
    open_segment,
    open_table,
    parse_header,
)

KEYS = EpochKeys(3, b"s" * 32, b"m" * 32, b"f" * 32, b"k" * 32)
SEALER = Sealer(b"site" * 4, b"domain--" * 2, KEYS, b"run-of-16-bytes!")
TABLE = b"a table"
FRAMES: list[bytes | memoryview] = [b"first frame", b"second"]


def _sealed(number: int = 5) -> bytes:
    return b"".join(SEALER.seal(DATA, number, TABLE, FRAMES).parts)


def _open(data: bytes, keys: EpochKeys = KEYS) -> tuple[bytes, bytes]:
    header = parse_header(data, "test")
    table, body = open_segment(header, memoryview(data)[HEADER_BYTES:], keys)
    return table, bytes(body)


def test_a_segment_opens_to_what_was_sealed() -> None:
    data = _sealed()
    header = parse_header(data, "test")
    assert (header.kind, header.site, header.domain) == (DATA, b"site" * 4, b"domain--" * 2)
    assert (header.key_epoch, header.run, header.number, header.bases) == (3, b"run-of-16-bytes!", 5, 0)
    assert header.name == segment_name(b"run-of-16-bytes!", 5)
    assert shown_segment(header.name) == b"run-of-16-bytes!".hex() + "-5"
    assert header.length == len(data)
    table, body = _open(data)
    assert table == TABLE
    assert body == b"first framesecond".ljust(512, b"\0")
    sealed_table = data[HEADER_BYTES : HEADER_BYTES + header.table_length]
    assert open_table(header, sealed_table, KEYS) == TABLE
    assert bytes(open_body(header, data[HEADER_BYTES + header.table_length :], KEYS)) == body


def test_golden_segment() -> None:
    """The bytes of a segment are for ever."""
    data = _sealed()
    assert data[:80].hex() == (
        "464b7367" "01010101" + (b"site" * 4).hex() + (b"domain--" * 2).hex() + "03000000"
        + b"run-of-16-bytes!".hex() + "05000000" "10020000" "10020000" "00000000" "00000000"
    )  # fmt: skip
    assert blake3(data).hexdigest() == "0761cac4bf0ca565527724d1bcc56d9a404044d3e0bcbc506a3efcec36dc3ced"
    digest = SEALER.seal(DATA, 5, TABLE, FRAMES).digest()
    assert digest.hex() == "4210311d29f302b9ae748de198c44a419285417fabd445d687320ac2465821fc"


def test_the_seals_are_those_of_the_byte_table() -> None:
    """Opened by hand, from the words of the module's docstring alone."""
    data = _sealed()
    table_length, body_length = int.from_bytes(data[64:68], "little"), int.from_bytes(data[68:72], "little")
    material = KEYS.seal_key + data[44:60] + data[60:64] + data[5:6] + data[80:112]
    nonce = (5).to_bytes(12, "big")
    plain = []
    for context, start, length in (
        ("farkeep 2026 segment table v1", 176, table_length),
        ("farkeep 2026 segment body v1", 176 + table_length, body_length),
    ):
        key = blake3(material, derive_key_context=context).digest()
        plain.append(AESGCM(key).decrypt(nonce, data[start : start + length], data[:176]))
    assert plain[0] == (len(TABLE).to_bytes(4, "little") + TABLE).ljust(512, b"\0")
    assert plain[1] == b"".join(FRAMES).ljust(512, b"\0")
    assert blake3(data[:80] + plain[0] + plain[1], key=KEYS.mark_key).digest() == data[80:112]


def test_lengths_are_padded_inside_the_seal() -> None:
    for size in (1, 511, 513, 4000, 100_000):
        header = parse_header(b"".join(SEALER.seal(DATA, 1, b"t", [bytes(size)]).parts), "test")
        assert header.body_length == padded_size(size) + 16


def test_every_changed_byte_is_noticed() -> None:
    data = _sealed()
    for at in range(len(data)):
        spoilt = bytearray(data)
        spoilt[at] ^= 0x10
        with pytest.raises((DamagedError, HostileError)):
            _open(bytes(spoilt))


def test_table_and_body_cannot_change_places() -> None:
    data = _sealed()
    header = parse_header(data, "test")
    half = HEADER_BYTES + header.table_length
    with pytest.raises(DamagedError):
        _open(data[:HEADER_BYTES] + data[half:] + data[HEADER_BYTES:half])


def test_another_key_epoch_opens_nothing() -> None:
    with pytest.raises(DamagedError):
        _open(_sealed(), EpochKeys(3, b"x" * 32, b"m" * 32, b"f" * 32, b"k" * 32))


def test_t_is_compared_with_the_key_it_was_made_with() -> None:
    """Seals that open do not suffice: t is made with a key of its own."""
    with pytest.raises(DamagedError, match="not what was sealed"):
        _open(_sealed(), EpochKeys(3, b"s" * 32, b"m" * 32, b"f" * 32, b"x" * 32))


def test_equal_content_under_two_numbers_has_nothing_in_common() -> None:
    one, two = _sealed(5), _sealed(6)
    assert one[HEADER_BYTES:] != two[HEADER_BYTES:]
    assert one == _sealed(5)


def test_headers_with_absurd_lengths_or_of_a_newer_format_are_refused() -> None:
    data = _sealed()
    for at, length in ((64, TABLE_BYTES_MAX + 1), (68, BODY_BYTES_MAX + 1), (64, 15), (68, 0)):
        with pytest.raises(HostileError, match="absurd"):
            parse_header(data[:at] + length.to_bytes(4, "little") + data[at + 4 :], "test")
    for at in (4, 6, 7):
        with pytest.raises(NewerFormatError, match="newer"):
            parse_header(data[:at] + b"\2" + data[at + 1 :], "test")
    for short in (b"", data[: HEADER_BYTES - 1], b"FKsx" + data[4:]):
        with pytest.raises(DamagedError, match="no segment begins here"):
            parse_header(short, "test")
