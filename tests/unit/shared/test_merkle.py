"""Merkle roots: the tree of the docstring, worked out by hand."""

from __future__ import annotations

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from shared.merkle import LEAF_BYTES, digest_of, leaf_digest, root_of


def _leaf(data: bytes) -> bytes:
    return blake3(b"\0" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return blake3(b"\1" + left + right).digest()


def test_small_trees_by_hand() -> None:
    a, b, c, d, e = (_leaf(bytes((n,))) for n in range(5))
    assert leaf_digest(b"\0") == a
    assert root_of([]) == blake3(b"\2").digest()
    assert root_of([a]) == a
    assert root_of([a, b]) == _node(a, b)
    assert root_of([a, b, c]) == _node(_node(a, b), c)
    assert root_of([a, b, c, d, e]) == _node(_node(_node(a, b), _node(c, d)), e)


def test_golden_root() -> None:
    data = blake3(b"merkle").digest(200_000)
    assert digest_of([data]).hex() == "3a94f275f1513061bdd10b56bacbb04bd767d7e2d904f94af18069a4b9142d1c"


def test_a_digest_is_the_root_over_64_kib_leaves_however_the_parts_are_cut() -> None:
    data = blake3(b"parts").digest(3 * LEAF_BYTES + 5)
    leaves = [_leaf(data[at : at + LEAF_BYTES]) for at in range(0, len(data), LEAF_BYTES)]
    assert len(leaves) == 4
    expected = root_of(leaves)
    for cut in (0, 1, LEAF_BYTES, LEAF_BYTES + 7):
        assert digest_of([data[:cut], memoryview(data)[cut:]]) == expected
    assert digest_of([]) == digest_of([b""]) == root_of([])


@given(st.lists(st.binary(max_size=3), max_size=20), st.integers(0, 19), st.binary(max_size=3))
def test_every_leaf_counts(parts: list[bytes], at: int, other: bytes) -> None:
    changed = list(parts)
    if parts:
        changed[at % len(parts)] = other
    same = root_of([leaf_digest(part) for part in parts]) == root_of([leaf_digest(part) for part in changed])
    assert same == (parts == changed)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=9))
def test_a_node_is_never_taken_for_a_leaf(leaves: list[bytes]) -> None:
    assert root_of(leaves) != leaf_digest(leaves[0] + leaves[1])
    assert root_of(leaves) != root_of([*leaves, leaves[-1]])
