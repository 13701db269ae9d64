"""The golden files of keys (`tests/golden/keys`): one site, its organisation, shares and key files, from a fixed label.

`python -m tests.support.golden_keys` writes files that are missing. A file that exists is never written again: it
stands for what users already have, and only a new version of a format adds files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from shared.keyfile import Cost, KeyFile, encode_plain, encode_protected
from shared.keyring import Keyring
from shared.keyringfile import encode_keyring
from shared.organisation import Organisation, create, encode_organisation
from shared.shares import split
from tests.support.determined import LabelledRandomness, StandingClock

FOLDER = Path(__file__).parent.parent / "golden" / "keys"
PASSPHRASE = b"correct horse battery staple"
PURPOSE = "subject of the golden files"
SUBJECT_SECRET = bytes(range(32))


@dataclass(frozen=True)
class GoldenSite:
    """Everything the golden files are made of."""

    seed: bytes
    site_secret: bytes
    organisation: Organisation
    keyring: Keyring
    files: dict[str, bytes]


def golden_site() -> GoldenSite:
    """Make the site of the golden files with the encoders of today."""
    randomness = LabelledRandomness("farkeep golden keys 1")
    seed, site_secret = randomness.bits(32), randomness.bits(32)
    organisation = create("Zoë & Partners", seed)
    clock = StandingClock()
    keyring = Keyring.create(site_secret, organisation, randomness, clock).rotated(randomness, clock)
    key_file = KeyFile(site_id=keyring.site_id, site_secret=site_secret)
    files = {
        "organisation.json": encode_organisation(organisation),
        "keyring.bin": encode_keyring(keyring),
        "keyfile-plain.bin": encode_plain(key_file),
        "keyfile-passphrase.bin": encode_protected(key_file, PASSPHRASE, randomness, Cost(8192, 1, 1)),
        "vectors.json": _vectors(seed, site_secret, keyring),
    }
    for number, text in enumerate(split(seed, organisation, 2, 3, randomness), 1):
        files[f"share-{number}.txt"] = text.encode()
    return GoldenSite(seed, site_secret, organisation, keyring, files)


def _vectors(seed: bytes, site_secret: bytes, keyring: Keyring) -> bytes:
    wraps = [
        {"recipient": wrap.recipient, "recipient_id": wrap.recipient_id.hex(), "sealed": wrap.sealed.hex()}
        for wrap in keyring.wrap(SUBJECT_SECRET, PURPOSE)
    ]
    domain = keyring.default_domain
    values = {
        "seed": seed.hex(),
        "site_secret": site_secret.hex(),
        "site_id": keyring.site_id.hex(),
        "identity": keyring.identity.public.hex(),
        "signature": keyring.identity.sign("golden", b"message").hex(),
        "epochs": [
            [keys.number, *(key.hex() for key in (keys.seal_key, keys.manifest_key, keys.fact_key, keys.mark_key))]
            for keys in (keyring.epoch(1), keyring.epoch(2))
        ],
        "domain": [key.hex() for key in (domain.id, domain.chunk_id_key, domain.page_id_key, domain.boundary_key)],
        "wraps": wraps,
    }
    return json.dumps(values, indent=1).encode() + b"\n"


def write_missing() -> None:
    """Write the golden files that do not exist yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in golden_site().files.items():
        if not (FOLDER / name).exists():
            (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    write_missing()
