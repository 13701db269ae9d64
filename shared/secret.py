"""Values that hold secrets: they show their name and nothing else, whoever prints, logs or formats them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Secret(Struct, frozen=True):
    """Base of values that hold key material."""

    def __repr__(self) -> str:
        """The type's name alone."""
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Nothing: rich would show every field."""
        return []
