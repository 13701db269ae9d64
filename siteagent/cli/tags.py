"""Tags as people write them."""

from __future__ import annotations

from shared.errors import UsageError

_TAG_MAX = 100


def check_tag(tag: str) -> str:
    """Return `tag` when it may be given to a snapshot; raises UsageError."""
    if not (0 < len(tag) <= _TAG_MAX and tag.isprintable()):
        raise UsageError(f"a tag has 1 to {_TAG_MAX} printable characters", subject=tag, next_step="write another tag")
    return tag
