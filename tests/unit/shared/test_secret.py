"""Values with key material must not show it, in whatever way they are printed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from shared.epochkeys import EpochKeys
from shared.keyfile import KeyFile
from shared.keyring import DomainKeys
from shared.organisation import RecoveryKeys
from shared.secret import Secret
from shared.signing import Identity
from siteagent.store.pipeline import SealingKeys
from siteagent.store.sealprocess import Setup
from siteagent.store.writer import RunKeys

KEY = b"xyzzy secret words: thirty-two.."
EPOCH = EpochKeys(1, KEY, KEY, KEY, KEY)
DOMAIN = DomainKeys(b"d", KEY, KEY, KEY)
VALUES = [EPOCH, DOMAIN, KeyFile(b"s", KEY), RecoveryKeys(KEY, b"p", Identity(KEY)), RunKeys(b"s", EPOCH, DOMAIN),
          SealingKeys(b"s", b"d", EPOCH, {1: KEY}), Setup(b"s", b"d", b"r", EPOCH, {"1": KEY}, 9)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_shows_no_key(value: Secret) -> None:
    drawn = io.StringIO()
    Console(file=drawn).print(value, [value])
    for text in (repr(value), str(value), f"{[value]}", drawn.getvalue()):
        assert type(value).__name__ in text
        assert "xyzzy" not in text and KEY.hex()[:8] not in text
