"""The keys that seal facts: one per subject and number, wrapped in the log itself; of the site from its key epochs.

A subject has a random pseudonym and a random fact key. Both are made by the fact `subject.opened`, whose stored body
holds the wraps of the key and, sealed under it, the subject's name: destroying that body leaves neither name nor key.
When the key epoch rotates, the next fact about a subject opens a new key (the next number) under the same pseudonym.

Facts about the site itself are sealed under BLAKE3 derive-key "farkeep 2026 site facts v1" of the key epoch's fact key.
"""

from __future__ import annotations

import msgspec

from shared.chain import NO_ID
from shared.errors import DamagedError
from shared.facts import Subject, SubjectOpened
from shared.keyrecord import KEY_EPOCH
from shared.keyring import TO_KEY_EPOCH, Keyring
from shared.randomness import Randomness
from shared.sealing import KEY_SIZE_BYTES, derive


class OpenedSubject(msgspec.Struct, frozen=True):
    """A subject that facts can be recorded about: its pseudonym, and the key openings of the log, oldest first."""

    subject: Subject
    pseudonym: bytes
    openings: tuple[SubjectOpened, ...]


class FactKeys:
    """What is known of subjects and their keys, as the log is read."""

    def __init__(self, keyring: Keyring, randomness: Randomness) -> None:
        self._randomness = randomness
        self._openings: dict[bytes, dict[int, SubjectOpened]] = {}
        self._subjects: dict[bytes, Subject] = {}
        self._pseudonyms: dict[Subject, bytes] = {}
        self._keys: dict[tuple[bytes, int], bytes | None] = {}
        self.erased: set[bytes] = set()
        self.use(keyring)

    def use(self, keyring: Keyring) -> None:
        """Work with this keyring from now on."""
        self._keyring = keyring
        self._keys.clear()
        epochs = {record.number: record.id for record in keyring.records if record.kind == KEY_EPOCH}
        self._current_epoch_id = epochs[max(epochs)]

    def learn(self, opened: SubjectOpened) -> None:
        """Take in the clear part of a `subject.opened` read from the log (or about to be recorded)."""
        self._openings.setdefault(opened.pseudonym, {})[opened.number] = opened
        self._keys.pop((opened.pseudonym, opened.number), None)

    def unlearn(self, opened: SubjectOpened) -> None:
        """Take back a `learn` whose recording failed."""
        self._keys.pop((opened.pseudonym, opened.number), None)
        openings = self._openings[opened.pseudonym]
        del openings[opened.number]
        if not openings:
            self._drop(opened.pseudonym)

    def name(self, pseudonym: bytes, subject: Subject) -> None:
        """Take in the name that was sealed in a `subject.opened`."""
        self._subjects[pseudonym] = subject
        self._pseudonyms[subject] = pseudonym

    def forget(self, pseudonym: bytes) -> None:
        """A subject is erased: drop its keys and its name."""
        self.erased.add(pseudonym)
        self._drop(pseudonym)

    def _drop(self, pseudonym: bytes) -> None:
        for number in self._openings.pop(pseudonym, {}):
            self._keys.pop((pseudonym, number), None)
        subject = self._subjects.pop(pseudonym, None)
        if subject is not None and self._pseudonyms.get(subject) == pseudonym:
            del self._pseudonyms[subject]

    def pseudonym_of(self, subject: Subject | None) -> bytes | None:
        """The pseudonym of a subject that has one (zeros for the site itself)."""
        return NO_ID if subject is None else self._pseudonyms.get(subject)

    def subject_of(self, pseudonym: bytes) -> Subject | None:
        """Who is behind a pseudonym, when it is known."""
        return self._subjects.get(pseudonym)

    def opened_subjects(self) -> list[OpenedSubject]:
        """All subjects with their key openings, for the cache of the projection."""
        return [
            OpenedSubject(subject, pseudonym, tuple(self._openings[pseudonym].values()))
            for pseudonym, subject in self._subjects.items()
        ]

    def is_current(self, pseudonym: bytes) -> bool:
        """Say whether the newest key of a subject was wrapped in the current key epoch."""
        newest = self._openings.get(pseudonym, {}).get(self._newest_number(pseudonym))
        return newest is not None and any(
            wrap.recipient == TO_KEY_EPOCH and wrap.recipient_id == self._current_epoch_id for wrap in newest.wraps
        )

    def new_opening(self, subject: Subject) -> SubjectOpened:
        """Draw a fact key for a subject: its first under a new pseudonym, or the next one under the one it has."""
        pseudonym = self._pseudonyms.get(subject) or self._randomness.bits(16)
        number = self._newest_number(pseudonym) + 1
        wraps = self._keyring.wrap(self._randomness.bits(KEY_SIZE_BYTES), _purpose(pseudonym, number))
        return SubjectOpened(pseudonym=pseudonym, number=number, wraps=wraps)

    def sealing_key(self, pseudonym: bytes) -> tuple[int, bytes]:
        """Number and key to seal a new fact about a subject; raises DamagedError when there is none that opens."""
        number = self._keyring.current.number if pseudonym == NO_ID else self._newest_number(pseudonym)
        key = self.opening_key(pseudonym, number)
        if key is None:
            raise DamagedError("the fact key of a subject cannot be opened", subject=f"subject {pseudonym.hex()}",
                               next_step="run `farkeep audit verify`; take the keyring from another copy of the home")
        return number, key

    def opening_key(self, pseudonym: bytes, number: int) -> bytes | None:
        """The key that a stored fact was sealed under; None when it is erased or not known here."""
        name = (pseudonym, number)
        if name not in self._keys:
            self._keys[name] = self._site_key(number) if pseudonym == NO_ID else self._subject_key(pseudonym, number)
        return self._keys[name]

    def _newest_number(self, pseudonym: bytes) -> int:
        return max(self._openings.get(pseudonym, {}), default=0)

    def _site_key(self, number: int) -> bytes | None:
        try:
            return derive("farkeep 2026 site facts v1", self._keyring.epoch(number).fact_key)
        except DamagedError:
            return None

    def _subject_key(self, pseudonym: bytes, number: int) -> bytes | None:
        opened = self._openings.get(pseudonym, {}).get(number)
        if opened is None:
            return None
        try:
            return self._keyring.unwrap(opened.wraps, _purpose(pseudonym, number))
        except DamagedError:
            return None


def _purpose(pseudonym: bytes, number: int) -> str:
    return f"fact key {number} of subject {pseudonym.hex()}"
