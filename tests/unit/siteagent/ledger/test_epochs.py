"""The tree of log epochs: lineage and names by prefix."""

from __future__ import annotations

import pytest

from shared.chain import Position, PositionName
from shared.errors import RefusedError
from siteagent.ledger.epochs import LogEpoch, LogEpochs

SITE = b"s" * 16


def at(log_epoch: bytes, sequence: int) -> Position:
    return Position(SITE, log_epoch, sequence, bytes(32))


def epoch(name: str, sequence: int, parent: Position | None) -> LogEpoch:
    log_epoch = bytes.fromhex(name) * 16
    opened = Position(SITE, log_epoch, sequence, log_epoch)
    return LogEpoch(opened=opened, parent=parent, reason="asked", opener=bytes(32), time_ns=0)


ROOT = epoch("aa11", 1, None)
LEFT = epoch("aa22", 11, at(ROOT.id, 10))
RIGHT = epoch("bb33", 6, at(ROOT.id, 5))
LEAF = epoch("cc44", 16, at(LEFT.id, 15))
TREE = LogEpochs([ROOT, LEFT, RIGHT, LEAF])


def test_lineage_goes_from_the_root_to_the_log_epoch() -> None:
    assert TREE.lineage(LEAF.id) == [ROOT, LEFT, LEAF]
    assert TREE.lineage(RIGHT.id) == [ROOT, RIGHT]
    with pytest.raises(RefusedError):
        TREE.lineage(bytes(32))


def test_prefixes_must_name_one_log_epoch() -> None:
    site = SITE.hex()[:2]
    assert TREE.find(PositionName(site, "aa1", 1), "text") == ROOT.id
    for prefix, message in (("aa", "several"), ("dd", "no log epoch")):
        with pytest.raises(RefusedError, match=message):
            TREE.find(PositionName(site, prefix, 1), "text")
    with pytest.raises(RefusedError, match="no log epoch"):
        TREE.find(PositionName("00", "aa1", 1), "text")
