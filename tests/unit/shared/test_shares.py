"""Recovery shares: texts for paper, combining them, and every way to get it wrong."""

from __future__ import annotations

import itertools
import re

import pytest
from blake3 import blake3
from shamir_mnemonic import combine_mnemonics, shamir

from shared.errors import DamagedError, HostileError, RefusedError
from shared.organisation import create
from shared.shares import combine, note_of, resplit, split
from tests.support.determined import LabelledRandomness

SEED = bytes(range(32))
ORGANISATION = create("Zoë & Partners: North #1", SEED)
TEXTS = split(SEED, ORGANISATION, 2, 3, LabelledRandomness("shares"))
OTHER = split(SEED, ORGANISATION, 2, 3, LabelledRandomness("other shares"))


def words(text: str) -> list[str]:
    between = text.split("Words:")[1].split("Checksum:")[0]
    return [token for token in between.split() if token.isalpha()]


def with_word(text: str, place: int, word: str) -> str:
    old = words(text)[place]
    return text.replace(f"{place + 1:2}. {old:<10}", f"{place + 1:2}. {word:<10}").replace(
        f"{place + 1:2}. {old}\n", f"{place + 1:2}. {word}\n")


@pytest.mark.parametrize(("threshold", "count"), [(2, 3), (3, 5), (2, 2), (1, 1), (16, 16)])
def test_enough_shares_give_the_seed(threshold: int, count: int) -> None:
    texts = split(SEED, ORGANISATION, threshold, count, LabelledRandomness("n"))
    assert len(texts) == count
    for chosen in itertools.islice(itertools.combinations(texts, threshold), 10):
        assert combine(chosen[::-1]) == SEED
    assert combine(texts) == SEED


def test_the_text_says_what_it_is() -> None:
    lines = TEXTS[1].splitlines()
    assert lines[0] == "FARKEEP RECOVERY SHARE, version 1"
    assert "Organisation: Zoë & Partners: North #1" in lines
    assert f"Recovery key: {ORGANISATION.recovery_key_id.hex()}" in lines
    assert "Share: 2 of 3" in lines
    assert "Needed: 2" in lines
    assert f"Set: {note_of(TEXTS[1]).set_id:04x}" in lines
    assert len(words(TEXTS[1])) == 33
    assert max(map(len, lines)) <= 95


def test_a_note_tells_all_but_the_words() -> None:
    notes = [note_of(text) for text in TEXTS]
    assert [(note.index, note.threshold) for note in notes] == [(1, 2), (2, 2), (3, 2)]
    assert len({note.set_id for note in notes}) == 1


def test_words_alone_suffice_also_in_another_tool() -> None:
    bare = [" ".join(words(text)) for text in TEXTS]
    assert combine(bare[:2]) == SEED
    assert combine([bare[0].upper(), TEXTS[2]]) == SEED
    assert combine_mnemonics(bare[1:]) == SEED


def test_a_retyped_text_may_differ_in_case_spaces_and_empty_lines() -> None:
    lines = [line for line in TEXTS[0].splitlines() if line and not line.startswith("#")]
    retyped = "\ufeff" + "\r\n".join("  " + "   ".join(line.upper().split()) for line in lines)
    assert combine([retyped, TEXTS[1]]) == SEED
    decomposed = TEXTS[0].replace("ë", "e\u0308")
    assert combine([decomposed, TEXTS[1]]) == SEED


def test_too_few_shares_are_refused_and_counted() -> None:
    with pytest.raises(RefusedError, match=r"2 different shares of set [0-9a-f]{4} are needed, 1 given") as caught:
        combine(TEXTS[:1], ["/media/share-1.txt"])
    assert caught.value.subject == "/media/share-1.txt"
    with pytest.raises(RefusedError, match="no recovery share"):
        combine([])


def test_a_repeated_share_counts_once() -> None:
    with pytest.raises(RefusedError, match="more than once"):
        combine([TEXTS[0], " ".join(words(TEXTS[0]))])
    assert combine([TEXTS[0], TEXTS[0], TEXTS[1]]) == SEED


def test_shares_of_two_sets_are_refused_by_name() -> None:
    with pytest.raises(RefusedError, match="different sets") as caught:
        combine([TEXTS[0], OTHER[1]], ["a.txt", "b.txt"])
    assert f"a.txt: set {note_of(TEXTS[0]).set_id:04x}" in caught.value.subject
    assert f"b.txt: set {note_of(OTHER[0]).set_id:04x}" in caught.value.subject


def same_set_id(text: str, other_randomness: str) -> list[str]:
    """Another split whose set id happens to be the same."""

    class Repeated(LabelledRandomness):
        def bits(self, size_bytes: int) -> bytes:
            return (note_of(text).set_id << 1).to_bytes(2, "big") if size_bytes == 2 else super().bits(size_bytes)

    return split(b"o" * 32, create("Other", b"o" * 32), 2, 3, Repeated(other_randomness))


def test_two_splits_with_one_set_id_do_not_give_a_false_seed() -> None:
    twin = same_set_id(TEXTS[0], "twin")
    with pytest.raises(RefusedError, match="two different shares are number 1"):
        combine([TEXTS[0], twin[0]])
    with pytest.raises(DamagedError, match="another split"):
        combine([TEXTS[0], twin[1]])


@pytest.mark.parametrize("place", [0, 4, 17, 32])
def test_a_mistyped_word_is_named_by_its_place_only(place: int) -> None:
    text = with_word(TEXTS[0], place, "farkeep")
    with pytest.raises(DamagedError, match=f"word {place + 1} is not in the list") as caught:
        combine([text, TEXTS[1]], ["share-1.txt", "share-2.txt"])
    assert caught.value.subject == "share-1.txt"


@pytest.mark.parametrize("place", [0, 4, 17, 32])
def test_a_wrong_word_of_the_list_is_told(place: int) -> None:
    word = "academic" if words(TEXTS[0])[place] != "academic" else "acid"
    with pytest.raises(DamagedError, match="do not fit their own checksum") as caught:
        combine([with_word(TEXTS[0], place, word), TEXTS[1]])
    assert not set(words(TEXTS[0])) & set(caught.value.message.split()) - {"one", "is", "or", "two"}


def test_swapped_and_missing_words_are_told() -> None:
    first = words(TEXTS[0])
    with pytest.raises(DamagedError, match="two are swapped"):
        combine([" ".join([*first[:10], first[11], first[10], *first[12:]]), TEXTS[1]])
    with pytest.raises(DamagedError, match="32 words instead of 33"):
        combine([" ".join(first[:-1]), TEXTS[1]])
    with pytest.raises(DamagedError, match="0 words instead of 33"):
        combine(["", TEXTS[1]])


@pytest.mark.parametrize(("old", "new"), [
    ("Organisation: Zoë", "Organisation: Zoe"), ("1 of 3", "1 of 4"), ("Recovery key: ", "Recovery key: 0"),
    ("Checksum: ", "Checksum: 0"), ("Recovery key: ", "Recovery key: \udc80"), ("Zoë", "Zo\ud800"),
])
def test_a_mistyped_heading_is_told_apart_from_words(old: str, new: str) -> None:
    with pytest.raises(DamagedError, match="words are sound"):
        combine([TEXTS[0].replace(old, new), TEXTS[1]])


@pytest.mark.parametrize(("old", "new"), [("Share: 1", "Share: 2"), ("Needed: 2", "Needed: 3"), ("Set: ", "Set: 0")])
def test_a_heading_over_other_words_is_told(old: str, new: str) -> None:
    with pytest.raises(DamagedError, match="do not belong to these words"):
        combine([TEXTS[0].replace(old, new), TEXTS[1]])


def with_checksum(text: str) -> str:
    """The text with the checksum that the format's table asks for."""
    fields = [line.lower() for line in text.splitlines()[2:7]]
    checksum = blake3("\n".join([*fields, "words: " + " ".join(words(text))]).encode()).digest()[:4].hex()
    return re.sub("Checksum: .*", f"Checksum: {checksum}", text)


def test_the_checksum_is_the_one_of_the_table() -> None:
    assert with_checksum(TEXTS[0]) == TEXTS[0]


def test_a_sound_heading_of_another_recovery_key_is_told() -> None:
    text = with_checksum(TEXTS[0].replace(ORGANISATION.recovery_key_id.hex(), "0" * 32))
    with pytest.raises(DamagedError, match="another recovery key"):
        combine([text, TEXTS[1]])


@pytest.mark.parametrize("lost", ["Organisation:", "Set:", "Words:", "Checksum:"])
def test_a_lost_line_is_told(lost: str) -> None:
    text = "\n".join(line for line in TEXTS[0].splitlines() if not line.startswith(lost))
    with pytest.raises(DamagedError, match="incomplete"):
        combine([text, TEXTS[1]])


def test_truncation_anywhere_is_told() -> None:
    end = TEXTS[0].index("#")
    for place in range(0, end - 10, 23):
        with pytest.raises(DamagedError):
            combine([TEXTS[0][:place], TEXTS[1]])


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(RefusedError, match="newer Farkeep"):
        combine([TEXTS[0].replace("version 1", "version 2"), TEXTS[1]])


def test_an_endless_text_is_hostile() -> None:
    with pytest.raises(HostileError):
        combine(["academic " * 2000])


@pytest.mark.parametrize(("threshold", "count"), [(1, 3), (4, 3), (0, 0), (2, 17), (-1, 3)])
def test_numbers_without_sense_are_refused(threshold: int, count: int) -> None:
    with pytest.raises(RefusedError, match="cannot be split"):
        split(SEED, ORGANISATION, threshold, count, LabelledRandomness("n"))


def test_a_seed_of_another_organisation_is_not_split() -> None:
    with pytest.raises(RefusedError, match="another organisation"):
        split(b"x" * 32, ORGANISATION, 2, 3, LabelledRandomness("n"))


def test_splitting_again_gives_a_new_set_of_the_same_seed() -> None:
    again = resplit(TEXTS[1:], ORGANISATION, 3, 5, LabelledRandomness("again"))
    assert len(again) == 5
    assert note_of(again[0]).set_id != note_of(TEXTS[0]).set_id
    assert combine(again[2:]) == SEED
    with pytest.raises(RefusedError, match="different sets"):
        combine([TEXTS[0], again[0], again[1]])


def test_splitting_again_never_repeats_the_set_id() -> None:
    again = resplit(TEXTS[:2], ORGANISATION, 2, 3, LabelledRandomness("shares"))
    assert note_of(again[0]).set_id != note_of(TEXTS[0]).set_id


def test_the_handed_in_randomness_decides_and_the_library_keeps_its_own() -> None:
    source = shamir.RANDOM_BYTES
    assert split(SEED, ORGANISATION, 2, 3, LabelledRandomness("shares")) == TEXTS
    assert source is shamir.RANDOM_BYTES


def test_the_words_of_another_secret_length_are_refused() -> None:
    (shares,) = shamir.generate_mnemonics(1, [(2, 2)], bytes(16))
    with pytest.raises(DamagedError, match="20 words instead of 33"):
        combine(shares)
