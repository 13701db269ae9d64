"""A stored body opens only unchanged, in its own place, under its own key; its length tells little."""

from __future__ import annotations

import msgspec
import pytest

from shared.bodies import BODY_LIMIT_BYTES, Binding, Content, open_body, seal_body, split_body
from shared.errors import DamagedError, FarkeepError, HostileError, RefusedError

BINDING = Binding(site=b"s" * 16, fact_id=b"f" * 16, subject=b"p" * 16, kind="job.ended", kind_version=1)
CONTENT = Content(time_ns=-5, wall_ns=2**62, sealed=b"sealed part")
KEY, NONCE = b"k" * 32, b"n" * 12
BODY = seal_body(BINDING, b"clear part", CONTENT, key=KEY, key_number=7, nonce=NONCE)


def test_a_body_opens_to_what_was_sealed() -> None:
    body = split_body(BODY, "here")
    assert (body.key_number, body.clear, body.nonce) == (7, b"clear part", NONCE)
    assert open_body(body, BINDING, KEY, "here") == CONTENT


def test_the_bytes_are_those_of_the_table() -> None:
    assert BODY[:10] == bytes.fromhex("01 01 00000007 0000000a")
    assert BODY[10:20] == b"clear part"
    assert BODY[20:32] == NONCE
    assert len(BODY) == 32 + 64 + 16


def test_every_changed_byte_is_noticed() -> None:
    for at in range(len(BODY)):
        changed = bytearray(BODY)
        changed[at] ^= 1
        with pytest.raises(FarkeepError):
            open_body(split_body(bytes(changed), "here"), BINDING, KEY, "here")


def test_every_shortened_body_is_noticed() -> None:
    for size_bytes in range(len(BODY)):
        with pytest.raises(FarkeepError):
            open_body(split_body(BODY[:size_bytes], "here"), BINDING, KEY, "here")


@pytest.mark.parametrize(
    "changes",
    [{"site": b"t" * 16}, {"fact_id": b"g" * 16}, {"subject": b"q" * 16}, {"kind": "job.endee"}, {"kind_version": 2}],
)
def test_a_body_in_another_place_does_not_open(changes: dict[str, object]) -> None:
    binding = msgspec.structs.replace(BINDING, **changes)
    with pytest.raises(DamagedError):
        open_body(split_body(BODY, "here"), binding, KEY, "here")


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(DamagedError):
        open_body(split_body(BODY, "here"), BINDING, b"K" * 32, "here")


def test_lengths_are_padded_from_64_bytes_on() -> None:
    contents = [msgspec.structs.replace(CONTENT, sealed=bytes(size)) for size in range(400)]
    sizes = [len(seal_body(BINDING, b"", content, key=KEY, key_number=1, nonce=NONCE)) for content in contents]
    assert len({size - 38 for size in sizes[:45]}) == 1
    assert sizes[0] - 38 == 64
    assert len(set(sizes)) < 30


@pytest.mark.parametrize("at", [0, 1])
def test_a_newer_version_or_algorithm_is_refused(at: int) -> None:
    changed = bytearray(BODY)
    changed[at] = 2
    with pytest.raises(RefusedError, match="newer Farkeep"):
        split_body(bytes(changed), "here")


def test_a_body_that_is_too_long_is_hostile() -> None:
    with pytest.raises(HostileError):
        split_body(bytes(BODY_LIMIT_BYTES + 1), "here")
