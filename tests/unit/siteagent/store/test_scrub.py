"""Checking segments: each way in which one can be wrong is found at the depth that can find it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from shared.errors import DamagedError, FarkeepError, HostileError
from shared.keyring import Keyring
from siteagent.store.names import SegmentName, segment_name
from siteagent.store.pack import PackHeader, Row
from siteagent.store.packwalk import pack_contents, walk_pack
from siteagent.store.scrub import Scrub, check_head, check_whole
from siteagent.store.segment import CATALOG, DATA, HEADER_BYTES, Sealer
from siteagent.store.table import Table, encode_table
from tests.support.homes import incompressible
from tests.support.stores import RUN, MemoryPack, keyring, make_pack, seal_chunks

PACK = b"pack" * 4
BASES = segment_name(b"b" * 16, 1), segment_name(b"b" * 16, 2)


@pytest.fixture(scope="module")
def keys() -> Keyring:
    return keyring()


def _three(keys: Keyring, *, has_trailer: bool = True) -> tuple[MemoryPack, PackHeader, list[Row]]:
    segments = [seal_chunks(keys, number, [incompressible(f"chunk {number}", 3000), b"second"]) for number in (1, 2, 3)]
    return make_pack(keys, PACK, segments, has_trailer=has_trailer)


def _flip(pack: MemoryPack, at: int) -> MemoryPack:
    data = bytearray(pack.data)
    data[at] ^= 1
    return MemoryPack(data)


def test_a_sound_segment_passes_at_both_depths(keys: Keyring) -> None:
    pack, about, rows = _three(keys)
    for row in rows:
        assert check_head(pack, about, row, keys) == check_whole(pack, about, row, keys)


def test_every_byte_is_covered_by_one_depth_or_the_other(keys: Keyring) -> None:
    pack, about, rows = make_pack(keys, PACK, [seal_chunks(keys, 1, [b"small"])])
    row = rows[0]
    for at in range(row.offset, row.offset + row.length):
        spoilt = _flip(pack, at)
        with pytest.raises(FarkeepError):
            check_whole(spoilt, about, row, keys)
        if at < row.offset + HEADER_BYTES + row.table_length:
            with pytest.raises(FarkeepError):
                check_head(spoilt, about, row, keys)


def test_a_chunk_that_is_not_what_its_id_says_is_found_by_hashing_only(keys: Keyring) -> None:
    """Seals, t and digest are right: a writer with bad memory made it so."""
    pack, about, rows = make_pack(keys, PACK, [seal_chunks(keys, 1, [b"one", b"two"], ids=[b"i" * 32, b"j" * 32])])
    check_head(pack, about, rows[0], keys)
    with pytest.raises(DamagedError, match="not what its id says"):
        check_whole(pack, about, rows[0], keys)


def test_a_header_that_names_other_bases_than_the_table_is_damage(keys: Keyring) -> None:
    """A holder without keys goes by the header alone."""
    domain, table = keys.default_domain, encode_table(Table([], b"", [], [], bases=BASES[:1], closure=BASES[:1]))
    for named in ((), BASES[1:], BASES):
        segment = Sealer(keys.site_id, domain.id, keys.current, RUN).seal(DATA, 1, table, [], named)
        pack, about, rows = make_pack(keys, PACK, [segment])
        for check in (check_head, check_whole):
            with pytest.raises(DamagedError, match="other bases"):
                check(pack, about, rows[0], keys)


def test_pages_are_hashed_with_the_key_of_pages(keys: Keyring) -> None:
    pack, about, rows = make_pack(keys, PACK, [seal_chunks(keys, 1, [b"a page"], kind=CATALOG)], kind=CATALOG)
    check_whole(pack, about, rows[0], keys)


def test_trailer_and_segment_must_agree(keys: Keyring) -> None:
    pack, about, rows = _three(keys)
    one, two, _ = rows
    wrong = [
        (about, replace(one, name=two.name)),
        (about, replace(one, offset=two.offset)),
        (about, replace(one, table_length=one.table_length - 1)),
        (about, replace(one, length=one.length - 1)),
        (replace(about, kind=CATALOG), one),
        (replace(about, site=bytes(16)), one),
    ]
    for header, row in wrong:
        for check in (check_head, check_whole):
            with pytest.raises((DamagedError, HostileError)):
                check(pack, header, row, keys)
    with pytest.raises(DamagedError, match="digest"):
        check_whole(pack, about, replace(one, digest=bytes(32)), keys)


def test_a_kind_of_a_later_version_is_not_called_good(keys: Keyring) -> None:
    pack, about, rows = make_pack(keys, PACK, [seal_chunks(keys, 1, [b"parity"], kind=3)], kind=3)
    with pytest.raises(HostileError, match="kind 3"):
        check_whole(pack, about, rows[0], keys)


def _scrubbed(keys: Keyring, pack: MemoryPack, about: PackHeader, rows: list[Row], *,
              whole: bool, suspects: Iterable[SegmentName] = ()) -> Scrub:
    scrub = Scrub(keys, lambda _: whole, suspects)
    try:
        scrub.pack(pack, about, rows)
    finally:
        scrub.close()
    return scrub


def test_a_scrub_counts_and_names_what_is_damaged(keys: Keyring) -> None:
    pack, about, rows = _three(keys)
    spoilt = _flip(pack, rows[1].offset + rows[1].length - 1)
    result = _scrubbed(keys, spoilt, about, rows, whole=True).result
    assert (result.segments, result.whole) == (3, 3)
    assert result.bytes_read == sum(row.length for row in rows)
    assert set(result.damaged) == {rows[1].name}
    assert [row.name in result.present for row in rows] == [True, False, True]
    heads = _scrubbed(keys, spoilt, about, rows, whole=False).result
    assert (heads.segments, heads.whole, heads.damaged) == (3, 0, {})
    assert heads.bytes_read == sum(HEADER_BYTES + row.table_length for row in rows)


def test_suspects_are_read_whole_and_proven_or_damaged(keys: Keyring) -> None:
    pack, about, rows = _three(keys)
    names = {rows[0].name, rows[1].name}
    result = _scrubbed(keys, pack, about, rows, whole=False, suspects=names).result
    assert (result.whole, result.proven, result.damaged) == (2, names, {})
    spoilt = _flip(pack, rows[1].offset + rows[1].length - 1)
    result = _scrubbed(keys, spoilt, about, rows, whole=False, suspects=names).result
    assert (result.proven, set(result.damaged)) == ({rows[0].name}, {rows[1].name})


def test_many_segments_pass_through_the_threads_in_bounded_number(keys: Keyring) -> None:
    pack, about, rows = make_pack(keys, PACK, [seal_chunks(keys, n, [b"%d" % n]) for n in range(1, 101)])
    result = _scrubbed(keys, pack, about, rows[::-1], whole=True).result
    assert (result.segments, result.damaged, len(result.present)) == (100, {}, 100)


def test_a_pack_without_a_trailer_is_walked(keys: Keyring) -> None:
    pack, _, rows = _three(keys, has_trailer=False)
    contents = pack_contents(pack, PACK, "pack", keys)
    assert "no trailer" in contents.damage
    assert [row for row, _ in contents.rows] == rows
    assert [name for name, _, _ in contents.chunk_rows()] == [row.name for row in rows]


def test_a_trailer_is_believed_for_what_its_headers_confirm(keys: Keyring) -> None:
    pack, _, rows = _three(keys)
    spoilt = _flip(pack, rows[1].offset + 44)
    contents = pack_contents(spoilt, PACK, "pack", keys)
    assert contents.damage == ""
    assert [row for row, _ in contents.rows] == [rows[0], rows[2]]
    assert set(contents.left_out) == {rows[1].name}


@pytest.mark.parametrize("where", ["magic", "length", "table", "body", "pack header"])
def test_a_walk_goes_on_after_damage(keys: Keyring, where: str) -> None:
    pack, _, rows = _three(keys, has_trailer=False)
    start = rows[1].offset
    at = {"magic": start, "length": start + 70, "table": start + HEADER_BYTES, "body": start + rows[1].length - 1,
          "pack header": 3}[where]
    found = [row for row, _ in walk_pack(_flip(pack, at), PACK, "pack", keys)]
    assert found == (rows if where == "pack header" else [rows[0], rows[2]])


def test_a_walk_takes_no_segment_that_is_cut_off(keys: Keyring) -> None:
    pack, _, rows = _three(keys, has_trailer=False)
    for missing in (1, 600, rows[2].length - 1):
        found = walk_pack(MemoryPack(pack.data[: pack.size_bytes - missing]), PACK, "pack", keys)
        assert [row for row, _ in found] == rows[:2]


def test_a_walk_through_a_pack_full_of_false_starts_ends(keys: Keyring) -> None:
    pack, _, rows = make_pack(keys, PACK, [seal_chunks(keys, 1, [b"real"])], has_trailer=False)
    noise = MemoryPack(pack.data + bytearray(b"FKsg" * 100_000))
    assert [row for row, _ in walk_pack(noise, PACK, "pack", keys)] == rows


def test_a_segment_found_across_a_window_edge(keys: Keyring) -> None:
    sealed = seal_chunks(keys, 9, [b"far away"])
    for gap in ((1 << 20) - 2, 1 << 20, (1 << 20) + 1):
        data = bytearray(128) + bytearray(gap) + b"".join(sealed.parts)
        found = walk_pack(MemoryPack(data), PACK, "pack", keys)
        assert [row.name for row, _ in found] == [segment_name(RUN, 9)]
        assert found[0][0].offset == 128 + gap


def test_a_foreign_pack_gives_nothing(keys: Keyring) -> None:
    pack, _, _ = _three(keyring("another site"), has_trailer=False)
    assert walk_pack(pack, PACK, "pack", keys) == []
