"""A worker process that never finishes its first request: its parent goes away meanwhile (siteagent.disk.child)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from siteagent.disk.child import serve


class Request(msgspec.Struct):
    """Anything."""


def _answer(_: Request) -> Iterable[Request]:
    yield Request()
    while True:
        pass


def main() -> int:
    """Serve."""
    serve(Request, _answer)
    return 0
