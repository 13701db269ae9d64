"""Padme: round sizes up so that a length tells little, at a cost of 12 % at most and about 1 % for a megabyte.

Source: Nikitin, Barman, Lueks, Underwood, Hubaux, Ford: "Reducing Metadata Leakage from Encrypted Files and
Communication with PURBs" (PETS 2019), section 4. Padding bytes are zeros; the true length is stored inside the seal.
"""

from __future__ import annotations

FLOOR_BYTES = 512


def padded_size(size_bytes: int, floor_bytes: int = FLOOR_BYTES) -> int:
    """The padded size for `size_bytes`: never less than it, never less than `floor_bytes`."""
    if size_bytes <= floor_bytes:
        return floor_bytes
    exponent = size_bytes.bit_length() - 1
    kept_bits = exponent.bit_length()
    mask = (1 << (exponent - kept_bits)) - 1
    return (size_bytes + mask) & ~mask
