"""How much of a list is wanted."""

from __future__ import annotations

from shared.errors import UsageError


def check_limit(limit: int | None, what: str = "entries") -> int | None:
    """The value of `--limit`; raises UsageError for a negative one."""
    if limit is not None and limit < 0:
        raise UsageError(f"this is no number of {what}", subject=f"--limit {limit}", next_step="give 0 or more")
    return limit
