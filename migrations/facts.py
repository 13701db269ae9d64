"""Upcasters: facts of older versions, read as if they had been recorded in the newest version of their kind.

The stored bytes stay what they are for ever; digests, chain and signatures cover them. When a kind of fact
(shared.factkinds) gets version n + 1, `FACT_UPCASTERS[topic, n]` turns the two encoded parts of version n into those of
version n + 1, and a golden log with facts of version n goes into the tests. A fact of version 1 is read through all
upcasters from 1 on. No kind has had a second version yet.
"""

from __future__ import annotations

from shared.factkinds import Upcaster

FACT_UPCASTERS: dict[tuple[str, int], Upcaster] = {}
