"""Keys of key epochs that were sent to a process of our own, which has no keyring."""

from __future__ import annotations

from collections.abc import Sequence

from shared.epochkeys import EpochKeys
from shared.errors import DamagedError


class SentKeys:
    """The key epochs that the leading process sent."""

    def __init__(self, epochs: Sequence[EpochKeys]) -> None:
        self._epochs = {keys.number: keys for keys in epochs}

    def epoch(self, number: int) -> EpochKeys:
        """The keys of one key epoch; raises DamagedError when it was not sent."""
        keys = self._epochs.get(number)
        if keys is None:
            raise DamagedError(f"a segment names key epoch {number}, which the keyring does not have",
                               next_step="run `farkeep key show` and `farkeep verify`")
        return keys
