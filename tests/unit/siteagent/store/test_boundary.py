"""Page boundaries: decided by keys alone, between bounds, the same wherever a stretch begins."""

from __future__ import annotations

from blake3 import blake3

from siteagent.store.boundary import FULL_MAX_BYTES, NOMINAL_MIN_BYTES, Gatherer

KEY = bytes(range(32))
ROW = 80


def _pages(keys: list[bytes], extra: int = 0, level: int = 0, key: bytes = KEY) -> list[list[bytes]]:
    pages: list[list[bytes]] = []
    gatherer = Gatherer[bytes](key, level, pages.append)
    for one in keys:
        gatherer.add(one, one, ROW, extra)
    gatherer.finish()
    return pages


def _keys(count: int, label: str = "key") -> list[bytes]:
    return [f"{label} {number:06}".encode() for number in range(count)]


def _ends(pages: list[list[bytes]]) -> set[bytes]:
    return {page[-1] for page in pages[:-1]}


def test_nothing_is_lost_and_pages_are_about_16_kib() -> None:
    keys = _keys(20_000)
    pages = _pages(keys)
    assert [one for page in pages for one in page] == keys
    sizes = [len(page) * ROW for page in pages[:-1]]
    assert min(sizes) >= NOMINAL_MIN_BYTES
    assert max(sizes) <= FULL_MAX_BYTES + ROW
    assert 10_000 < sum(sizes) / len(sizes) < 22_000


def test_a_boundary_is_a_key_whose_hash_is_small() -> None:
    keys = _keys(5000)
    limit = (1 << 64) // 128
    for page in _pages(keys)[:-1]:
        if len(page) * ROW < FULL_MAX_BYTES - ROW:
            assert int.from_bytes(blake3(b"\0" + page[-1], key=KEY).digest(8), "big") < limit


def test_values_do_not_move_boundaries() -> None:
    keys = _keys(5000)
    small, large = _ends(_pages(keys)), _ends(_pages(keys, extra=16))
    assert len(small & large) >= 0.9 * len(small)


def test_a_change_moves_boundaries_only_near_by() -> None:
    keys = _keys(5000)
    before = _pages(keys)
    changed = [*keys[:1000], b"key 001000a", *keys[1000:2000], *keys[2001:]]
    after = _pages(changed)
    differing = [page for page in after if page not in before]
    assert 1 <= len(differing) <= 6


def test_rows_with_large_values_are_cut_at_the_smallest_hash() -> None:
    keys = _keys(2000)
    pages = _pages(keys, extra=900)
    assert [one for page in pages for one in page] == keys
    for page in pages[:-1]:
        assert len(page) * (ROW + 900) <= FULL_MAX_BYTES + ROW + 900
    # The cut does not depend on where the stretch began: from any boundary on, the same pages follow.
    assert _pages(keys[len(pages[0]) :], extra=900) == pages[1:]


def test_a_page_of_few_huge_rows_is_closed_by_weight() -> None:
    pages = _pages(_keys(100), extra=3000)
    assert all(len(page) * (ROW + 3000) <= FULL_MAX_BYTES + ROW + 3000 for page in pages)


def test_levels_and_keys_have_boundaries_of_their_own() -> None:
    keys = _keys(5000)
    ends = [_ends(_pages(keys)), _ends(_pages(keys, level=1)), _ends(_pages(keys, key=b"k" * 32))]
    assert len(ends[0] & ends[1]) < len(ends[0]) / 4
    assert len(ends[0] & ends[2]) < len(ends[0]) / 4


def test_equal_keys_do_not_make_pages_without_end() -> None:
    pages = _pages([b"the same"] * 5000)
    assert sum(map(len, pages)) == 5000
    assert all(NOMINAL_MIN_BYTES <= len(page) * ROW <= FULL_MAX_BYTES + ROW for page in pages[:-1])
