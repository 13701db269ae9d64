"""The error families of Farkeep, told apart by what the caller must do next.

Every error says three things: what happened (`message`), to what (`subject`) and what to do (`next_step`).
The command line prints all three and leaves with the family's exit code.
"""

from __future__ import annotations


class FarkeepError(Exception):
    """Base of all expected failures; never raised itself."""

    kind = "bug"
    exit_code = 70

    def __init__(self, message: str, *, subject: str = "", next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject
        self.next_step = next_step

    def __str__(self) -> str:
        parts = [self.message]
        if self.subject:
            parts.append(f"({self.subject})")
        return " ".join(parts)


class RefusedError(FarkeepError):
    """The request is understood and not allowed as it stands: change the request."""

    kind = "refused"
    exit_code = 1


class UsageError(FarkeepError):
    """The words of the command are wrong: correct them."""

    kind = "usage"
    exit_code = 2


class PartialError(FarkeepError):
    """The work was done in part; what is missing is named."""

    kind = "partial"
    exit_code = 3


class DamagedError(FarkeepError):
    """Stored bytes are not what was written: verify, repair, or fetch them from another holder."""

    kind = "damaged"
    exit_code = 4


class UnavailableError(FarkeepError):
    """Something needed is absent or busy just now: try again later."""

    kind = "unavailable"
    exit_code = 5


class ExhaustedError(FarkeepError):
    """Space, memory, quota or a limit is used up: make room."""

    kind = "exhausted"
    exit_code = 6


class HostileError(FarkeepError):
    """Input that no honest writer makes: do not trust where it came from."""

    kind = "hostile"
    exit_code = 7


class NewerFormatError(HostileError):
    """Stored bytes of a format that this build does not know. Whoever reads passes them over as it would hostile ones,
    for nothing of them can be used; the command is refused: update Farkeep."""

    kind = "refused"
    exit_code = 1


class BugError(FarkeepError):
    """Farkeep contradicts itself: report it."""

    kind = "bug"
    exit_code = 70
