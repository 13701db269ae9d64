"""What an index may say that is not so. Each lie is prepared from what is true, and told later by writing rows only.

A lie changes rows of the open index of a home; the marks that a pack's rows are complete stay, so nothing is read again
because of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from siteagent.home import Home
from siteagent.store.index import Place, Spot
from siteagent.store.names import SegmentName
from siteagent.store.pack import read_trailer
from siteagent.store.table import Table

Lie = Callable[[], None]
NOWHERE = bytes(range(16))
NEVER = b"\x07" * 20


class Truth(Struct):
    """Where everything lies: spots and tables of all segments that read."""

    home: Home
    spots: dict[SegmentName, Spot]
    tables: dict[SegmentName, Table]
    kinds: dict[SegmentName, int]

    def chunks(self) -> Iterator[tuple[SegmentName, bytes]]:
        """Every chunk and page with its segment."""
        for name, table in self.tables.items():
            for place in range(len(table)):
                yield name, table.ids[place * 32 : place * 32 + 32]

    def say_chunks(self, rows: dict[bytes, Place]) -> None:
        """Write chunk rows."""
        chunks = [(row.segment, chunk_id, [row.depth]) for chunk_id, row in rows.items()]
        self.home.index.add_pack(NOWHERE, [], chunks)
        self.home.index.drop_pack(NOWHERE)


def truth(home: Home) -> Truth:
    """What is so."""
    found = Truth(home, {}, {}, {})
    for pack_id in home.packs.finished():
        about, rows = read_trailer(home.packs.open(pack_id), "a pack")
        for row in rows:
            if row.name in home.retired:
                continue
            found.spots[row.name] = Spot(pack_id, row.offset, row.length, row.table_length)
            found.tables[row.name] = home.reader.table(row.name).table
            found.kinds[row.name] = about.kind
    return found


def _turned(names: list[SegmentName]) -> dict[SegmentName, SegmentName]:
    return dict(zip(names, [*names[1:], *names[:1]], strict=True))


def other_segments(so: Truth) -> Lie:
    """Every chunk lies in another segment, which exists and reads."""
    other = _turned(list(so.tables))
    rows = {chunk_id: Place(other[name], 0, 0) for name, chunk_id in so.chunks()}
    return lambda: so.say_chunks(rows)


def other_kinds(so: Truth) -> Lie:
    """Chunks lie among pages, and pages among chunks."""
    by_kind = {kind: name for name, kind in so.kinds.items()}
    rows = {chunk_id: Place(next((by_kind[kind] for kind in by_kind if kind != so.kinds[name]), NEVER), 0, 0)
            for name, chunk_id in so.chunks()}  # fmt: skip
    return lambda: so.say_chunks(rows)


def segments_that_never_were(so: Truth) -> Lie:
    """Every chunk lies in a segment of no run."""
    rows = {chunk_id: Place(NEVER, 0, 0) for _, chunk_id in so.chunks()}
    return lambda: so.say_chunks(rows)


def chunks_that_never_were(so: Truth) -> Lie:
    """There are chunks of which nobody has heard."""
    rows = {bytes([number]) * 32: Place(name, number, 9) for number, name in enumerate(so.tables)}
    return lambda: so.say_chunks(rows)


def other_spots(so: Truth) -> Lie:
    """Every segment lies where another one lies."""
    other = _turned(list(so.spots))
    return lambda: so.home.index.move({name: so.spots[other[name]] for name in so.spots})


def other_packs(so: Truth) -> Lie:
    """Every segment lies at its place in another pack."""
    packs = _turned(sorted({spot.pack_id for spot in so.spots.values()}))
    rows = {name: replace(spot, pack_id=packs[spot.pack_id]) for name, spot in so.spots.items()}
    return lambda: so.home.index.move(rows)


def lost_packs(so: Truth) -> Lie:
    """Every segment lies in a pack that is not there."""
    return lambda: so.home.index.move({name: replace(spot, pack_id=NOWHERE) for name, spot in so.spots.items()})


def shifted(so: Truth) -> Lie:
    """Every segment lies a little further on."""
    return lambda: so.home.index.move({name: replace(spot, offset=spot.offset + 64) for name, spot in so.spots.items()})


def endless(so: Truth) -> Lie:
    """Places that no file can have, lengths that no memory can hold."""
    most = 2**32 - 1
    rows = {name: replace(spot, offset=2**64 - 1) if number % 2 else replace(spot, length=most, table_length=most)
            for number, (name, spot) in enumerate(so.spots.items())}  # fmt: skip
    return lambda: so.home.index.move(rows)


def too_short(so: Truth) -> Lie:
    """Segments without a body, and without a table."""
    rows = {name: replace(spot, length=spot.table_length, table_length=number % 2)
            for number, (name, spot) in enumerate(so.spots.items())}  # fmt: skip
    return lambda: so.home.index.move(rows)


def no_spots(so: Truth) -> Lie:
    """Nobody knows where any segment lies."""
    return lambda: so.home.index.drop_segments(so.spots)


def half_the_spots(so: Truth) -> Lie:
    """Nobody knows where every other segment lies."""
    return lambda: so.home.index.drop_segments(list(so.spots)[::2])


def emptied(so: Truth) -> Lie:
    """Nothing is known at all, but that the packs were read."""
    def tell() -> None:
        packs = so.home.index.packs()
        so.home.index.reset()
        for pack_id in packs:
            so.home.index.add_pack(pack_id, [], [])

    return tell


def broken(so: Truth) -> Lie:
    """No look-up succeeds any more."""
    return lambda: so.home.index._give_up()


LIES = (other_segments, other_kinds, segments_that_never_were, chunks_that_never_were, other_spots, other_packs,
        lost_packs, shifted, endless, too_short, no_spots, half_the_spots, emptied, broken)  # fmt: skip
