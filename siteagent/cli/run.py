"""Running one command: words in, exit code out, every failure said in the same way.

| exit code | kind        | meaning                                                                                  |
| --------- | ----------- | ---------------------------------------------------------------------------------------- |
| 0         |             | done                                                                                     |
| 1         | refused     | understood and not allowed as it stands                                                  |
| 2         | usage       | the words are wrong                                                                      |
| 3         | partial     | done in part; what is missing is named                                                   |
| 4         | damaged     | stored bytes are not what was written                                                    |
| 5         | unavailable | something is absent or busy                                                              |
| 6         | exhausted   | space, memory or a limit is used up                                                      |
| 7         | hostile     | input that no honest writer makes                                                        |
| 70        | bug         | Farkeep contradicts itself                                                               |
| 130, 143  | interrupted | by SIGINT, by SIGTERM: what was acknowledged stands, the home is given back              |
| 141       |             | nobody reads standard output any more: said to nobody, as the shell says it of SIGPIPE   |
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from importlib import import_module

from shared.errors import BugError, ExhaustedError, FarkeepError, RefusedError, UnavailableError
from siteagent.cli.commandlog import note_end
from siteagent.cli.output import Output
from siteagent.cli.parser import COMMANDS, HelpAsked, parse, wants_json
from siteagent.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from siteagent.home import World

PIPE_CLOSED = 141
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


def run_process(words: Sequence[str]) -> int:
    """Run a command as this process: real streams, signals, environment; ends the process."""
    # A core file would hold keys and contents.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    error_stream = sys.stderr
    is_dumb = os.environ.get("TERM") == "dumb"
    has_colour = error_stream.isatty() and not is_dumb and not os.environ.get("NO_COLOR")
    output = Output(sys.stdout.buffer, error_stream, has_colour=has_colour, is_dumb=is_dumb)
    code = run(words, output, os.environ)
    if code == PIPE_CLOSED or not os.environ.get("FARKEEP_DEBUG"):
        # Everything is closed and flushed; taking the interpreter apart would only take time (12 ms of 240 measured).
        os._exit(code)
    return code


def run(words: Sequence[str], output: Output, environment: Mapping[str, str], world: World | None = None) -> int:
    """Run a command and return its exit code; `world` replaces clock, randomness and disks."""
    begun = list[Session]()
    code = _ended(words, output, environment, world, begun)
    for session in begun:
        note_end(session, code)
    return code


def _ended(words: Sequence[str], output: Output, environment: Mapping[str, str], world: World | None,
           begun: list[Session]) -> int:
    """Run a command to whatever end it comes; the exit code. `begun` receives its session."""
    output.is_json = wants_json(words)
    try:
        try:
            code = _dispatch(words, output, environment, world, begun)
            output.flush()
            return code
        except Exception as error:
            failure = as_failure(error)
            if isinstance(failure, BugError) and (environment.get("FARKEEP_DEBUG") or _is_verbose(words)):
                _trace(error, output)
            output.failure(failure)
            output.flush()
            return failure.exit_code
        except KeyboardInterrupt as interrupt:
            return _interrupted(interrupt, output)
    except BrokenPipeError:
        return PIPE_CLOSED


def _dispatch(words: Sequence[str], output: Output, environment: Mapping[str, str], world: World | None,
              begun: list[Session]) -> int:
    try:
        parsed = parse(words)
    except HelpAsked as asked:
        if output.is_json:
            output.document({"help": asked.text})
        else:
            output.stdout.write(asked.text.encode())
        return 0
    options = parsed.options
    output.is_json, output.is_jsonl = options.json, options.jsonl and not options.json
    output.is_quiet, output.verbosity = options.quiet, options.verbose
    module = import_module(f"siteagent.cli.{COMMANDS[parsed.command].module}")
    session = Session(parsed.command, options, output, environment, world)
    begun.append(session)
    code: int = module.run(session)
    if output.verbosity:
        _say_figures(session)
    return code


def _say_figures(session: Session) -> None:
    from siteagent.cli.sizes import shown_duration, shown_size

    figures = session.figures()
    facts = f", facts {figures.facts.start} to {figures.facts.stop - 1} recorded" if figures.facts else ""
    session.output.detail(f"{session.command}: {shown_duration(figures.seconds)} in all, "
                          f"{shown_size(figures.bytes_read)} read from packs by this process{facts}")


def as_failure(error: Exception) -> FarkeepError:
    """The typed error for any exception; BrokenPipeError is raised again."""
    if isinstance(error, FarkeepError):
        return error
    if isinstance(error, BrokenPipeError):
        raise error
    if isinstance(error, MemoryError):
        return ExhaustedError("there is not enough memory", next_step="end other programs, then run it again")
    if isinstance(error, OSError) and error.errno is not None:
        return _system_failure(error)
    return BugError("this is a bug in Farkeep", subject=f"{type(error).__name__}: {error}",
                    next_step="run it again with -v and report what it says; what was acknowledged is safe")


def _system_failure(error: OSError) -> FarkeepError:
    subject = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    message = f"the system says: {error.strerror}"
    if error.errno in _FULL:
        return ExhaustedError(message, subject=subject, next_step="make room, then run it again")
    if error.errno in _FORBIDDEN:
        return RefusedError(message, subject=subject, next_step="run as a user who may, or choose another place")
    return UnavailableError(message, subject=subject, next_step="check this path and its disk, then run it again")


def _interrupt(number: int, _: FrameType | None) -> None:
    # A second signal ends the process at once: every state on the disk is one that a crash may leave.
    signal.signal(number, signal.SIG_DFL)
    raise Interrupted(number)


def _interrupted(interrupt: KeyboardInterrupt, output: Output) -> int:
    known = interrupt if isinstance(interrupt, Interrupted) else Interrupted(signal.SIGINT)
    error = UnavailableError(str(known), next_step="run it again: it goes on from what was stored")
    output.failure(error, kind="interrupted")
    output.flush()
    return known.exit_code


def _is_verbose(words: Sequence[str]) -> bool:
    return any(word in ("-v", "-vv", "--verbose") for word in words)


def _trace(error: Exception, output: Output) -> None:
    import traceback

    from shared.names import shown

    for line in "".join(traceback.format_exception(error)).splitlines():
        output.stderr.write(shown(line) + "\n")
