"""H/farkeep.log: a line per command, for who wants to know what ran here and how it ended.

It lies in clear in a home that tells a thief nothing else, so it holds no path, no name of a snapshot, no message: time
(UTC), command, outcome, exit code, duration, number of errors and warnings shown, and the sequence numbers of the facts
that were recorded meanwhile. `farkeep events` says the rest to who has the key.
"""

from __future__ import annotations

import os

from shared.errors import FarkeepError
from siteagent.cli.session import Session

FILE = "farkeep.log"
_OUTCOMES = {0: "done", 1: "refused", 2: "usage", 3: "partial", 4: "damaged", 5: "unavailable", 6: "exhausted",
             7: "hostile", 70: "bug", 130: "interrupted", 143: "interrupted", 141: "unread"}  # fmt: skip


def note_end(session: Session, code: int) -> None:
    """Add the line of a command that comes to its end; what keeps it from being written is no trouble to anybody."""
    home = session.named_home
    if not (session.is_noted and home) or not os.path.exists(os.path.join(home, "format")):
        return
    from siteagent.disk.boundedlog import BoundedLog

    try:
        BoundedLog(os.path.join(home, FILE)).append(_line(session, code))
    except (OSError, FarkeepError):
        return


def _line(session: Session, code: int) -> str:
    from siteagent.cli.moment import rfc3339

    output, figures = session.output, session.figures()
    words = [rfc3339(session.clock.now_ns() // 10**6 * 10**6), session.command.replace(" ", "-"),
             _OUTCOMES.get(code, "bug"), f"exit={code}", f"seconds={figures.seconds:.3f}",
             f"errors={output.errors}", f"warnings={output.warnings}"]  # fmt: skip
    if figures.facts:
        words.append(f"facts={figures.facts.start}-{figures.facts.stop - 1}")
    return " ".join(words)
