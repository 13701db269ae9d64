"""Recovery shares on paper: the organisation's recovery seed split by SLIP-39, one text file per share.

The words are SLIP-0039 shares (Shamir's secret sharing over GF(256), one group, no passphrase, "extendable" flag set,
iteration exponent 0), 33 words for the 32 byte seed, with that standard's checksum over the words of each share. The
words alone suffice to recover, in any tool that follows the standard; the lines above them say what they are for.

A share file is UTF-8 text, at most 8 KiB; lines that start with "#" and empty lines mean nothing:

| line                                | meaning                                                             |
| ----------------------------------- | ------------------------------------------------------------------- |
| "FARKEEP RECOVERY SHARE, version 1" | the format                                                          |
| "Organisation: <name>"              |                                                                     |
| "Recovery key: <32 digits>"         | start of the BLAKE3 of the recovery public key, hexadecimal         |
| "Set: <4 digits>"                   | SLIP-39 identifier, hexadecimal: shares of one set fit together     |
| "Share: <i> of <n>"                 | from 1                                                              |
| "Needed: <k>"                       | how many shares of the set recover the seed                         |
| "Words:", then lines of words       | numbers and full stops beside the words are decoration              |
| "Checksum: <8 digits>"              | start of the BLAKE3 of the text below, hexadecimal                  |

Text under the checksum: the five lines "Organisation" to "Needed", then "words: " and all words, each line in Unicode
form NFC, lower case and with single spaces, joined by line feeds.

A split leaves earlier sets valid: the seed stays the same, so old shares have to be destroyed by their holders.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence

from msgspec import Struct
from shamir_mnemonic import shamir
from shamir_mnemonic.share import Share
from shamir_mnemonic.utils import MnemonicError
from shamir_mnemonic.wordlist import WORD_INDEX_MAP

from shared.errors import DamagedError, HostileError, RefusedError
from shared.organisation import Organisation, recovery_keys, require_seed
from shared.randomness import Randomness
from shared.sealing import KEY_SIZE_BYTES, digest
from shared.secret import Secret
from shared.wrapping import public_key_id

VERSION = 1
LIMIT_BYTES = 8192
COUNT_LIMIT = 16
WORD_COUNT = 33

_TITLE = f"FARKEEP RECOVERY SHARE, version {VERSION}"
_TITLE_PATTERN = re.compile(r"farkeep recovery share, version ([0-9]{1,4})")
_FIELDS = ("organisation", "recovery key", "set", "share", "needed")
_DECORATION = "0123456789.,:;()"
_WORDS_PER_LINE = 4
_ADVICE = """\
# Keep this paper secret and apart from the others. Any {needed} shares of this set open every
# backup of the organisation; fewer open nothing. To use it: type the words, in order, into a
# text file (the other lines may be left out), then run
#   farkeep key restore --recovery-share FILE --recovery-share FILE..."""

# The library draws from one module-wide source; it is swapped, under this lock, while a seed is split.
_library_lock = threading.Lock()


class ShareNote(Struct, frozen=True):
    """What may be shown and recorded of a share: everything but its words."""

    set_id: int
    index: int
    threshold: int


class _Read(Secret, frozen=True):
    subject: str
    share: Share
    recovery_key_id: str | None

    @property
    def note(self) -> ShareNote:
        return ShareNote(self.share.identifier, self.share.index + 1, self.share.member_threshold)


def split(
    seed: bytes, organisation: Organisation, threshold: int, count: int, randomness: Randomness
) -> list[str]:
    """Split the recovery seed of `organisation` so that any `threshold` of `count` shares recover it.

    Returns the texts of `share-1.txt`, `share-2.txt`... Raises RefusedError for another organisation's seed and for
    numbers that make no sense (allowed: 2 <= threshold <= count <= 16, and 1 of 1).
    """
    require_seed(organisation, seed)
    return _split(seed, organisation, threshold, count, randomness, other_set=None)


def combine(texts: Sequence[str], subjects: Sequence[str] | None = None) -> bytes:
    """Return the 32 byte recovery seed from the texts of enough shares: whole share files or their words alone.

    `subjects` name the texts in messages (paths of their files). Raises DamagedError when a text was mistyped,
    RefusedError when the shares are too few or of several sets.
    """
    return _combined(_read_all(texts, subjects))


def resplit(
    texts: Sequence[str],
    organisation: Organisation,
    threshold: int,
    count: int,
    randomness: Randomness,
    subjects: Sequence[str] | None = None,
) -> list[str]:
    """Combine the shares of one set and split the same seed into a new set with other numbers; raises as both do."""
    reads = _read_all(texts, subjects)
    seed = _combined(reads)
    require_seed(organisation, seed)
    return _split(seed, organisation, threshold, count, randomness, other_set=reads[0].share.identifier)


def note_of(text: str, *, subject: str = "share") -> ShareNote:
    """Return what may be shown of a share; raises DamagedError when its text was mistyped."""
    return _read(text, subject).note


def _split(
    seed: bytes, organisation: Organisation, threshold: int, count: int, randomness: Randomness, other_set: int | None
) -> list[str]:
    if not (2 <= threshold <= count <= COUNT_LIMIT or threshold == count == 1):
        raise RefusedError(f"a seed cannot be split {threshold} of {count}", subject="recovery shares",
                           next_step=f"choose 2 <= needed <= shares <= {COUNT_LIMIT}, for instance 2/3 or 3/5")
    set_id = other_set
    while set_id == other_set:
        set_id = int.from_bytes(randomness.bits(2), "big") >> 1
    secret = shamir.EncryptedMasterSecret.from_master_secret(
        seed, passphrase=b"", identifier=set_id, extendable=True, iteration_exponent=0
    )
    with _library_lock:
        library_source = shamir.RANDOM_BYTES
        shamir.RANDOM_BYTES = randomness.bits
        try:
            (shares,) = shamir.split_ems(1, [(threshold, count)], secret)
        finally:
            shamir.RANDOM_BYTES = library_source
    return [_text(share, organisation, count) for share in shares]


def _text(share: Share, organisation: Organisation, count: int) -> str:
    words = share.words()
    fields = [
        f"Organisation: {organisation.name}",
        f"Recovery key: {organisation.recovery_key_id.hex()}",
        f"Set: {share.identifier:04x}",
        f"Share: {share.index + 1} of {count}",
        f"Needed: {share.member_threshold}",
    ]
    numbered = [f"{number:2}. {word:<10}" for number, word in enumerate(words, 1)]
    rows = [
        "  " + "".join(numbered[at : at + _WORDS_PER_LINE]).rstrip() for at in range(0, len(words), _WORDS_PER_LINE)
    ]
    checksum = _checksum([_plain(line) for line in fields], words)
    advice = _ADVICE.format(needed=share.member_threshold)
    return "\n".join((_TITLE, "", *fields, "", "Words:", *rows, "", f"Checksum: {checksum}", "", advice, ""))


def _checksum(fields: Sequence[str], words: Sequence[str]) -> str:
    text = "\n".join((*fields, "words: " + " ".join(words)))
    # A byte that is no text makes another checksum, not an error of its own.
    return digest(text.encode(errors="backslashreplace"))[:4].hex()


def _plain(line: str) -> str:
    return " ".join(unicodedata.normalize("NFC", line).lower().split())


def _read_all(texts: Sequence[str], subjects: Sequence[str] | None) -> list[_Read]:
    names = subjects or [f"share text {number}" for number in range(1, len(texts) + 1)]
    return [_read(text, name) for text, name in zip(texts, names, strict=True)]


def _read(text: str, subject: str) -> _Read:
    if len(text) > LIMIT_BYTES:
        raise HostileError(f"a share's text is longer than {LIMIT_BYTES} characters", subject=subject,
                           next_step="give the text file of one share")
    lines = [_plain(line) for line in text.removeprefix("\ufeff").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or not lines[0].startswith("farkeep"):
        return _Read(subject, _share(lines, subject), None)
    _require_version(lines[0], subject)
    return _read_file(lines[1:], subject)


def _require_version(title: str, subject: str) -> None:
    found = _TITLE_PATTERN.fullmatch(title)
    if found is None:
        raise _mistyped("the first line is not that of a recovery share", subject)
    if int(found[1]) != VERSION:
        raise RefusedError(f"a recovery share of version {found[1]} was made by a newer Farkeep", subject=subject,
                           next_step="update Farkeep on this machine, or give a text with the words alone")


def _read_file(lines: list[str], subject: str) -> _Read:
    keys = [line.partition(":")[0] for line in lines]
    if keys[:6] != [*_FIELDS, "words"] or keys[-1] != "checksum":
        raise _mistyped("the lines of a recovery share are incomplete or out of order", subject)
    share = _share([lines[5].removeprefix("words:"), *lines[6:-1]], subject)
    values = dict(line.split(": ", 1) for line in lines[:5] if ": " in line)
    stated = (values.get("set"), values.get("share", "").split(" of ")[0], values.get("needed"))
    if stated != (f"{share.identifier:04x}", str(share.index + 1), str(share.member_threshold)):
        raise _mistyped("the lines above the words do not belong to these words", subject)
    if lines[-1] != f"checksum: {_checksum(lines[:5], share.words())}":
        raise _mistyped("the words are sound, but a line above them or the checksum is mistyped", subject)
    return _Read(subject, share, values.get("recovery key"))


def _share(lines: Sequence[str], subject: str) -> Share:
    # Messages name places, never words: they may be recorded where others read.
    words = [word for line in lines for token in line.split() if (word := token.strip(_DECORATION))]
    for place, word in enumerate(words, 1):
        if word not in WORD_INDEX_MAP:
            raise _mistyped(f"word {place} is not in the list of words", subject)
    if len(words) != WORD_COUNT:
        raise _mistyped(f"{len(words)} words instead of {WORD_COUNT}", subject)
    try:
        return Share.from_mnemonic(" ".join(words))
    except MnemonicError:
        raise _mistyped("the words do not fit their own checksum: one is wrong, or two are swapped", subject) from None


def _combined(reads: Sequence[_Read]) -> bytes:
    if not reads:
        raise RefusedError("no recovery share was given", subject="recovery shares",
                           next_step="give one --recovery-share FILE for every share")
    _require_one_set(reads)
    by_index: dict[int, _Read] = {}
    for read in reads:
        first = by_index.setdefault(read.share.index, read)
        if first.share != read.share:
            raise RefusedError(f"two different shares are number {read.note.index} of set {read.note.set_id:04x}",
                               subject=f"{first.subject}, {read.subject}",
                               next_step="give the shares of one split only")
    threshold = reads[0].share.member_threshold
    if len(by_index) < threshold:
        raise RefusedError(_too_few(len(by_index), len(reads), threshold, reads[0].share.identifier),
                           subject=", ".join(read.subject for read in reads),
                           next_step="bring more shares of this set; each counts once")
    return _seed([by_index[index] for index in sorted(by_index)][:threshold])


def _require_one_set(reads: Sequence[_Read]) -> None:
    if len({read.share.group_parameters() for read in reads}) == 1:
        return
    sets = ", ".join(f"{read.subject}: set {read.note.set_id:04x}, needs {read.note.threshold}" for read in reads)
    raise RefusedError("the shares are of different sets and do not fit together", subject=sets,
                       next_step="give shares of one set only: the number after `Set:` is the same on all of them")


def _too_few(different: int, given: int, threshold: int, set_id: int) -> str:
    repeated = "; the same share was given more than once" if given > different else ""
    return f"{threshold} different shares of set {set_id:04x} are needed, {different} given{repeated}"


def _seed(reads: Sequence[_Read]) -> bytes:
    group = shamir.ShareGroup()
    subjects = ", ".join(read.subject for read in reads)
    try:
        for read in reads:
            group.add(read.share)
        seed = shamir.recover_ems({reads[0].share.group_index: group}).decrypt(b"")
    except MnemonicError:
        raise _mistyped("the shares do not give a seed together: one is of another split", subjects) from None
    if len(seed) != KEY_SIZE_BYTES:
        raise _mistyped("the shares give a seed of another length: Farkeep did not write them", subjects)
    key_id = public_key_id(recovery_keys(seed).public).hex()
    if any(read.recovery_key_id not in (None, key_id) for read in reads):
        raise _mistyped("the shares give another recovery key than their heading names", subjects)
    return bytes(seed)


def _mistyped(message: str, subject: str) -> DamagedError:
    return DamagedError(f"a recovery share cannot be used: {message}", subject=subject,
                        next_step="compare the text with the paper, word by word")
