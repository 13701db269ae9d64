"""Merkle roots over BLAKE3, so that a holder without keys can check a part against a digest of the whole.

leaf = BLAKE3(0x00 || bytes), node = BLAKE3(0x01 || left || right); an odd node at the end of a level moves up as it is
(RFC 6962 shape for power-of-two splits of the left side); the root of no leaves is BLAKE3(0x02).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from blake3 import blake3

LEAF_BYTES = 64 * 1024


def leaf_digest(data: bytes | memoryview) -> bytes:
    """Digest of one leaf."""
    hasher = blake3(b"\x00")
    hasher.update(data)
    return hasher.digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf digests, in order."""
    if not leaves:
        return blake3(b"\x02").digest()
    level = list(leaves)
    while len(level) > 1:
        pairs = [blake3(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            pairs.append(level[-1])
        level = pairs
    return level[0]


def digest_of(parts: Iterable[bytes | memoryview]) -> bytes:
    """Merkle root over the 64 KiB leaves of the concatenated `parts`."""
    data = b"".join(parts)
    view = memoryview(data)
    return root_of([leaf_digest(view[at : at + LEAF_BYTES]) for at in range(0, len(data), LEAF_BYTES)])
