"""Every byte read is checked: whatever bit of whatever file of a home changes, wrong data is never returned, never
filled with zeros and never passed over in silence; `verify` names what is damaged, and which paths and snapshots
suffer."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import DamagedError
from siteagent.store.reader import SegmentReader
from tests.support.examination import Examination, examine
from tests.support.farkeep import Farkeep
from tests.support.material import Spots
from tests.support.small_decoders import HARMLESS, REFUSED, SILENT, SmallDecoders
from tests.support.small_home import SmallHome
from tests.support.tally import Tally

SHORT_FLIPS, SHORT_WHOLE, SHORT_COMMANDS, SHORT_FILES = 2000, 30, 10, 30
LONG_COMMANDS = 20_000
LOG_SHARE = 0.08
"""Of the flips through decoders in the short form: a database takes much longer than all else."""
ALWAYS_REFUSED = frozenset({"pack", "manifest", "reach", "changes", "keyring", "key file"})
NAMED = frozenset({"pack", "manifest", "reach", "changes", "log", "keyring", "key file", "format"})
"""What verify, or opening the home, has to name when its decoder refuses it."""
PARTS = 8
"""The long form is cut into parts, so that several processes share it."""
EVERY_PART = range(PARTS if os.environ.get("FARKEEP_TEST_LONG") == "1" else 1)


@pytest.fixture(scope="module")
def decoders(made_once: SmallHome, tmp_path_factory: pytest.TempPathFactory) -> SmallDecoders:
    """The home's files, one by one."""
    return SmallDecoders(made_once, tmp_path_factory.mktemp("log"))


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def _some_flips(small: SmallHome, chance: random.Random) -> Iterator[tuple[Path, int]]:
    """A file, then a bit of it: small files are tried as often as large ones; the log less often."""
    paths = [path for path, data in small.saved.items() if data and small.kind(path) != "index"]
    for _ in range(SHORT_FLIPS):
        is_log = chance.random() < LOG_SHARE
        path = chance.choice([one for one in paths if (small.kind(one) == "log") == is_log])
        yield path, chance.randrange(8 * len(small.saved[path]))


def _all_flips(small: SmallHome, part: int) -> Iterator[tuple[Path, int]]:
    for path, data in small.saved.items():
        if small.kind(path) != "index":
            yield from ((path, bit) for bit in range(part, 8 * len(data), PARTS))


def test_it_is_small_and_holds_every_kind_of_file(small: SmallHome, decoders: SmallDecoders) -> None:
    kinds = Counter(small.kind(path) for path in small.saved)
    assert kinds.keys() == decoders.kinds() | {"index"}
    assert "other" not in kinds
    assert sum(map(len, small.saved.values())) < 300_000
    assert len(small.truth) == 3
    assert examine(small).is_harmless


@pytest.mark.parametrize("part", EVERY_PART)
def test_every_bit_counts_in_its_file(
    part: int, small: SmallHome, decoders: SmallDecoders, seed: int, is_long_run: bool, tally: Tally
) -> None:
    """Each bit through the decoder of its file; what is not refused means what it meant. Of a pack only the segment
    with the bit suffers."""
    outcomes = Counter[tuple[str, str]]()
    flips = _all_flips(small, part) if is_long_run else _some_flips(small, random.Random(seed))
    for path, bit in flips:
        kind, data = small.kind(path), _flipped(small.saved[path], bit)
        outcome = decoders.judge(path, data)
        assert outcome == REFUSED or kind not in ALWAYS_REFUSED or decoders.is_retired(path, bit >> 3), (path, bit)
        if kind == "pack":
            _require_contained(decoders, path, data, bit >> 3)
        outcomes[kind, outcome] += 1
    for kind in decoders.kinds() - SILENT:
        assert outcomes[kind, REFUSED], f"no flip of any {kind} was refused"
    tally("bit flips through the decoder of a file", sum(outcomes.values()))
    tally("bit flips proven to be harmless", sum(n for (_, outcome), n in outcomes.items() if outcome == HARMLESS))


def _require_contained(decoders: SmallDecoders, path: Path, data: bytes, offset: int) -> None:
    damaged, home_of_bit = decoders.damaged_segments(path, data), decoders.segment_at(path, offset)
    if home_of_bit is None:
        assert damaged is None, f"{path.name}, byte {offset}: header or trailer changed, and the trailer reads"
    elif not decoders.is_retired(path, offset):
        assert damaged == {home_of_bit}, f"{path.name}, byte {offset}: not only its own segment suffers"


@pytest.mark.parametrize("part", range(2))
def test_a_home_with_one_bit_changed_reads_right_or_says_what_is_lost(
    part: int, small: SmallHome, decoders: SmallDecoders, seed: int, is_long_run: bool, tally: Tally
) -> None:
    """The whole way: open, verify, read every entry of every snapshot; what its decoder refuses is named by verify."""
    chance = random.Random(f"{seed} whole {part}")
    found = Counter[tuple[str, bool]]()
    for _ in range(SHORT_WHOLE // 2 * (100 if is_long_run else 1)):
        path = _a_file(small, chance)
        bit = chance.randrange(8 * len(small.saved[path]))
        data = _flipped(small.saved[path], bit)
        is_refused = small.kind(path) in NAMED and decoders.judge(path, data) == REFUSED
        path.write_bytes(data)
        examination = _examined(small, f"{path.name}, bit {bit}")
        assert not is_refused or _is_named(examination, small, path), (path, bit, examination)
        found[small.kind(path), examination.is_harmless] += 1
        small.put_back()
    assert sum(found.values())
    tally("bit flips in a home opened and read whole", sum(found.values()))


def _is_named(examination: Examination, small: SmallHome, path: Path) -> bool:
    """True when the home was refused, or verify names this file, or (of a pack) what lies in it."""
    if examination.refused:
        return True
    report = examination.report
    subject = "log" if small.kind(path) == "log" else path.name
    return bool(report and (any(subject in found for found, _ in report.problems)
                            or (small.kind(path) == "pack" and report.damaged)))  # fmt: skip


def _a_file(small: SmallHome, chance: random.Random) -> Path:
    """Packs as often as all other kinds together."""
    kinds = sorted({small.kind(path) for path, data in small.saved.items() if data})
    kind = "pack" if chance.random() < 0.5 else chance.choice(kinds)
    return chance.choice([path for path, data in small.saved.items() if data and small.kind(path) == kind])


def _examined(small: SmallHome, what: str) -> Examination:
    try:
        return examine(small)
    except BaseException as error:
        error.add_note(what)
        raise


@pytest.mark.parametrize("part", range(2))
def test_a_file_replaced_as_a_whole_is_noticed(
    part: int, small: SmallHome, decoders: SmallDecoders, seed: int, is_long_run: bool, tally: Tally
) -> None:
    """Swapped for another of its kind, cut, emptied, doubled, extended, older, another home's, gone."""
    changes = [(path, what, data) for path in small.saved for what, data in _other_contents(small, path)]
    chance = random.Random(f"{seed} files")
    chance.shuffle(changes)
    chosen = (changes if is_long_run else changes[:SHORT_FILES])[part::2]
    for path, what, data in chosen:
        kind = small.kind(path)
        is_refused = kind in NAMED and _is_bad(decoders, path, data)
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        examination = _examined(small, f"{path.name}: {what}")
        assert not is_refused or _is_named(examination, small, path), (path, what, examination)
        small.put_back()
    tally("files replaced as a whole", len(chosen))


@pytest.mark.parametrize("kind", sorted(NAMED - {"changes"}))
def test_a_file_that_is_gone_is_named(kind: str, small: SmallHome, tally: Tally) -> None:
    """By its own name, whatever else follows from it."""
    path = next(path for path in small.saved if small.kind(path) == kind)
    path.unlink()
    examination = _examined(small, f"{path.name} is gone")
    subjects = [subject for subject, _ in examination.report.problems] if examination.report else []
    assert examination.refused or any(path.name in subject for subject in subjects)
    tally("files replaced as a whole", 1)


@pytest.mark.parametrize("damage", ["gone", "all zeros"])
def test_what_any_pack_takes_along_is_named(damage: str, small: SmallHome, tally: Tally) -> None:
    """Paths and snapshots, also through deltas whose bases were superseded by what is in that pack."""
    packs = [path for path in small.saved if small.kind(path) == "pack"]
    for path in packs:
        path.unlink()
        if damage != "gone":
            path.write_bytes(bytes(len(small.saved[path])))
        report = _examined(small, f"{path.name}: {damage}").report
        assert report is not None
        assert all(each.snapshots for each in report.damaged), report.damaged
        small.put_back()
    tally("files replaced as a whole", len(packs))


def _is_bad(decoders: SmallDecoders, path: Path, data: bytes | None) -> bool:
    """True when a file's content is refused, or is sound and another one's. Changes may come later."""
    if data is None:
        return path.parent.name != "changes"
    try:
        return decoders.judge(path, data) == REFUSED
    except AssertionError:
        return True


def _other_contents(small: SmallHome, path: Path) -> Iterator[tuple[str, bytes | None]]:
    data, kind = small.saved[path], small.kind(path)
    yield "gone", None
    if not data:
        return
    yield from (("emptied", b""), ("cut by a byte", data[:-1]), ("cut in half", data[: len(data) // 2]),
                ("doubled", data * 2), ("extended by zeros", data + bytes(4096)), ("all zeros", bytes(len(data))),
                ("its second half alone", data[len(data) // 2 :]))  # fmt: skip
    if path in small.older and small.older[path] != data:
        yield "older", small.older[path]
    others = [other for other in small.saved if small.kind(other) == kind and other != path]
    yield from ((f"swapped for {other.name}", small.saved[other]) for other in others[:3] if small.saved[other] != data)
    if path in small.cloned:
        yield "of a cloned home", small.cloned[path]
    yield from (("of a cloned home", one) for one in small.cloned_of_kind(kind)[:2])


def test_a_segment_in_the_place_of_another_is_not_taken_for_it(small: SmallHome) -> None:
    """Whatever the index says of where segments lie."""
    with small.place.open() as home:
        one, other = sorted(home.index.segments())[:2]
        spots = Spots({one: home.reader.spot(other), other: home.reader.spot(one)})
        reader = SegmentReader(home.packs, spots, home.keyring)
        for read in (reader.table, reader.segment, reader.open_whole):
            with pytest.raises(DamagedError):
                read(one)


@pytest.mark.parametrize("part", EVERY_PART)
def test_the_command_line_says_what_is_damaged(
    part: int, small: SmallHome, seed: int, is_long_run: bool, tally: Tally, tmp_path: Path
) -> None:
    """`verify` and `restore` after a flip: exit codes, one document, no traceback; success only with everything there.
    In the long form 20 000 flips within the processes of the tests, else a few in processes of their own."""
    chance = random.Random(f"{seed} commands {part}")
    count = LONG_COMMANDS // PARTS if is_long_run else SHORT_COMMANDS
    codes = Counter[int]()
    of_no_weight = next(path for path in small.saved if small.kind(path) == "command log")
    for number in range(count):
        path = _a_file(small, chance) if number else of_no_weight
        bit = chance.randrange(8 * len(small.saved[path]))
        path.write_bytes(_flipped(small.saved[path], bit))
        try:
            codes[_command_line(small, tmp_path / str(number), is_long_run)] += 1
        except BaseException as error:
            error.add_note(f"{path.name}, bit {bit}")
            raise
        small.put_back()
    assert codes[4] and codes[0], codes
    tally("bit flips through the command line", count)


def _command_line(small: SmallHome, target: Path, is_in_process: bool) -> int:
    def run(*words: str | Path) -> tuple[int, object]:
        if is_in_process:
            code, stdout, stderr = small.command(*words)
        else:
            result = Farkeep(small.place.home).run(*words, check=False)
            code, stdout, stderr = result.exit_code, result.stdout, result.stderr
        assert "Traceback" not in stderr and code in (0, 1, 3, 4, 5, 7), (words, code, stderr)
        return code, json.loads(stdout)

    verified, document = run("verify", "--read-data")
    if verified == 4:
        assert isinstance(document, dict)
        assert document.get("damaged") or document.get("problems") or document.get("error")
    snapshot = list(small.truth)[-1]
    restored, _ = run("restore", snapshot.hex(), "--to", target)
    files = {path.relative_to(target).as_posix().encode(): path.read_bytes()
             for path in target.rglob("*") if path.is_file() and not path.is_symlink()}  # fmt: skip
    root = small.place.path("").lstrip(b"/")
    wanted = {path.lstrip(b"/"): value[3] for path, value in small.truth[snapshot].items()
              if value[0][0] == 1}  # type: ignore[index]
    for name, content in files.items():
        full = name if name in wanted else root.rstrip(b"/") + b"/" + name
        assert wanted.get(full) == content, f"{name!r} was restored wrong"
    if restored == 0:
        assert len(files) == len(wanted), "a restore said all is done, and something is missing"
    assert verified or not restored, "verify found nothing, and a restore fails"
    return verified
