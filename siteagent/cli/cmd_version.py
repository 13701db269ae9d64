"""`farkeep version`: the one command that touches no home."""

from __future__ import annotations

import sys

from shared.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser

    from siteagent.cli.session import Session


def add_options(parser: ArgumentParser, _: str) -> None:
    """No options of its own."""
    del parser


def run(session: Session) -> int:
    """Print the version. JSON: {version, python}."""
    output, session.is_noted = session.output, False
    output.document({"version": VERSION, "python": ".".join(map(str, sys.version_info[:3]))})
    if not output.has_document:
        output.stdout.write(f"farkeep {VERSION}\n".encode())
    return 0
