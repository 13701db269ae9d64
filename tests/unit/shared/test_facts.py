"""The register of facts is closed, versioned and bounded; every kind survives a round trip."""

from __future__ import annotations

import re

import msgspec
import pytest

import shared.factkinds
from shared.codec import encode
from shared.errors import BugError, DamagedError, HostileError, RefusedError
from shared.factkinds import KINDS, PART_LIMIT_BYTES, find_kind, is_newer, kind_of
from shared.facts import Fact, JobEnded, JobEndedSealed, plain_text
from shared.keyring import Keyring
from siteagent.ledger.register import AGGREGATES
from tests.support.determined import LabelledRandomness, StandingClock
from tests.support.ledgers import sample_parts

KEYRING = Keyring.create(bytes(32), None, LabelledRandomness("facts"), StandingClock())
PARTS = sample_parts(KEYRING)


def test_there_is_a_sample_an_aggregate_and_a_documented_row_for_every_kind() -> None:
    text = shared.factkinds.__doc__ or ""
    documented = re.findall(r"^\| ([a-z]+\.[a-z]+) +\| (\d+) +\| (\w+) +\| (\w+|-) ", text, re.M)
    registered = [
        (kind.topic, str(kind.version), kind.clear.__name__, kind.sealed.__name__ if kind.sealed else "-")
        for kind in KINDS.values()
    ]
    assert sorted(documented) == sorted(registered)
    assert set(PARTS) == set(KINDS) == set(AGGREGATES)


@pytest.mark.parametrize("topic", sorted(KINDS))
def test_parts_survive_a_round_trip(topic: str) -> None:
    kind, (clear, sealed) = KINDS[topic], PARTS[topic]
    assert kind_of(Fact(clear, sealed)) is kind
    assert kind.decode_clear(encode(clear)) == clear
    assert kind.decode_sealed(b"" if sealed is None else encode(sealed)) == sealed


@pytest.mark.parametrize("topic", sorted(KINDS))
def test_an_unknown_field_is_refused_and_not_dropped(topic: str) -> None:
    fields = msgspec.msgpack.decode(encode(PARTS[topic][0]))
    with pytest.raises(DamagedError, match="unknown field"):
        KINDS[topic].decode_clear(msgspec.msgpack.encode(fields | {"later": 1}))


@pytest.mark.parametrize("topic", sorted(set(KINDS) - {"clock.jumped", "log.readopted", "key.added"}))
def test_an_id_of_the_wrong_length_is_refused(topic: str) -> None:
    fields = msgspec.msgpack.decode(encode(PARTS[topic][0]))
    name = next(name for name, value in fields.items() if isinstance(value, bytes))
    with pytest.raises(DamagedError):
        KINDS[topic].decode_clear(msgspec.msgpack.encode(fields | {name: b"x" * 200}))


def test_a_part_that_is_too_long_is_hostile() -> None:
    with pytest.raises(HostileError):
        KINDS["job.ended"].decode_clear(bytes(PART_LIMIT_BYTES + 1))


def test_parts_of_two_kinds_do_not_make_a_fact() -> None:
    ended = JobEnded(job=bytes(16), outcome="done")
    for sealed in (None, PARTS["job.started"][1]):
        with pytest.raises(BugError):
            kind_of(Fact(ended, sealed))
    with pytest.raises(BugError):
        kind_of(Fact(JobEndedSealed()))


@pytest.mark.parametrize(("topic", "version"), [("job.ended", 2), ("job.vanished", 1), ("os:system", 1)])
def test_what_a_newer_farkeep_wrote_is_refused_as_such(topic: str, version: int) -> None:
    assert is_newer(topic, version)
    with pytest.raises(RefusedError, match="newer Farkeep") as caught:
        find_kind(topic, version)
    assert "update" in caught.value.next_step


def test_names_that_are_no_unicode_become_plain_text() -> None:
    name = b"odd \xff name".decode("utf-8", "surrogateescape")
    assert plain_text(name) == "odd \\udcff name"
    assert plain_text("Zoë") == "Zoë"
