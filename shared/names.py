"""Names people give and names people see.

NAME of a series of snapshots: `[A-Za-z0-9._-]{1,64}`, never `latest`, never all hex digits (it could be an id).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.errors import UsageError
from shared.sealing import digest

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEX = re.compile(r"[0-9a-fA-F]+")
_NAME_MAX = 64
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]"
)


def check_name(name: str) -> str:
    """Return `name` when it may name a series of snapshots; raises UsageError."""
    if not _NAME.fullmatch(name) or name == "latest" or _HEX.fullmatch(name):
        raise UsageError("this cannot be a name", subject=shown(name),
                         next_step="use 1 to 64 of A-Z a-z 0-9 . _ -, not `latest` and not only hex digits")
    return name


def is_name(text: str) -> bool:
    """True when `text` may name a series of snapshots."""
    return bool(_NAME.fullmatch(text)) and text != "latest" and not _HEX.fullmatch(text)


def default_name(site: str, paths: Sequence[bytes]) -> str:
    """The site's name and the slug of the paths; long ones are cut and made unique by a digest."""
    joined = "_".join([site, *(path.decode("utf-8", "replace").strip("/") or "root" for path in paths)])
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", joined).strip("-") or "backup"
    if len(slug) > _NAME_MAX or not is_name(slug):
        slug = f"{slug[: _NAME_MAX - 9]}-{digest(joined.encode('utf-8', 'surrogateescape')).hex()[:8]}"
    return slug if is_name(slug) else f"n-{slug[: _NAME_MAX - 2]}"


def shown(text: str | bytes) -> str:
    """A name as it may reach a terminal: no control, direction or half character; those become `\\x..` or `\\u....`."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return _CONTROL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
